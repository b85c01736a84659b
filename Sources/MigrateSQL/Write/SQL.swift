package import MigrateDiagnostics

/// SQL written in Swift as it shall be read in the log.
///
/// Interpolation decides by type: an ``Identifier`` is quoted, a ``Parameter`` bound, a user's expression keeps its position, a
/// list goes a line an item under the first. A `String` does not compile: quote it as an identifier, bind it as a parameter,
/// write it as a ``Literal``, or parse it as an expression.
package struct SQL: Sendable {
  package indirect enum Piece: Sendable {
    /// The compiler's own words; their lines are indented to where the SQL begins.
    case text(String)
    /// A name, a type, a constant: no byte of it is touched, since a line may end inside of it.
    case verbatim(String)
    case parameter(Parameter)
    /// The number of the run, not known before it begins.
    case run
    /// A user's text, verbatim, or what stands in its place; `range` is where in `fragment` it comes from.
    case source(String, fragment: SourceFragment, range: Range<Int>)
    /// Items under one another, at the column of the first.
    case lines([SQL], separator: String)
    /// SQL of its own lines, which are indented to where it begins.
    case block(SQL)
  }

  package private(set) var pieces: [Piece]

  package init(pieces: [Piece]) { self.pieces = pieces }

  package static func + (left: SQL, right: SQL) -> SQL { SQL(pieces: left.pieces + right.pieces) }
}

extension SQL: ExpressibleByStringInterpolation {
  package init(stringLiteral value: String) { pieces = [.text(value)] }

  package init(stringInterpolation: StringInterpolation) { pieces = stringInterpolation.pieces }

  package struct StringInterpolation: StringInterpolationProtocol {
    fileprivate var pieces: [Piece] = []

    package init(literalCapacity: Int, interpolationCount: Int) {}

    package mutating func appendLiteral(_ literal: String) { pieces.append(.text(literal)) }

    package mutating func appendInterpolation(_ name: Identifier) { pieces.append(.verbatim(name.quoted)) }

    package mutating func appendInterpolation(_ name: QualifiedName) {
      pieces.append(.verbatim("\(name.schema.quoted).\(name.name.quoted)"))
    }

    package mutating func appendInterpolation(_ parameter: Parameter) { pieces.append(.parameter(parameter)) }

    package mutating func appendInterpolation(_ literal: Literal) { pieces.append(.verbatim(literal.quoted)) }

    package mutating func appendInterpolation(_ type: TypeName) { pieces.append(.verbatim(type.spelling)) }

    package mutating func appendInterpolation(_ number: Int) { pieces.append(.text(String(number))) }

    package mutating func appendInterpolation(_ sql: SQL) { pieces.append(.block(sql)) }

    /// Items separated by a comma, a line each, aligned under the first.
    package mutating func appendInterpolation(lines: [SQL]) { pieces.append(.lines(lines, separator: ",")) }

    /// Items separated by a comma, on one line.
    package mutating func appendInterpolation(list: [SQL]) {
      for (index, item) in list.enumerated() {
        if index > 0 { pieces.append(.text(", ")) }
        pieces.append(.block(item))
      }
    }
  }
}

/// A type as PostgreSQL spells it, from `format_type`: trusted, since only the database says it.
package struct TypeName: Sendable, Hashable {
  package let spelling: String

  package init(trusted spelling: String) { self.spelling = spelling }

  package static let bigint = TypeName(trusted: "bigint")
  package static let integer = TypeName(trusted: "integer")
  package static let text = TypeName(trusted: "text")
  package static let oid = TypeName(trusted: "oid")
}

/// A value that is bound when the statement runs, and never written into its text.
package struct Parameter: Sendable, Hashable {
  /// What the value is: `after.1`, `size`, `epoch`, `:multiplier`. One role is one `$n` in a statement.
  package let role: String
  /// What it is cast to where it stands, so that its meaning does not depend on what surrounds it.
  package let type: TypeName

  package init(_ role: String, _ type: TypeName) {
    self.role = role
    self.type = type
  }
}

/// A text constant in SQL.
package struct Literal: Sendable, Hashable {
  package let text: String

  package init(_ text: String) { self.text = text }

  /// In single quotes, which are doubled inside. Works on bytes, for the reason given at ``Identifier/quoted``. A backslash is
  /// an ordinary character, since every transaction pins `standard_conforming_strings`.
  package var quoted: String {
    let quote = UInt8(ascii: "'")
    let escaped = text.utf8.flatMap { $0 == quote ? [quote, quote] : [$0] }
    return String(decoding: [quote] + escaped + [quote], as: UTF8.self)
  }
}
