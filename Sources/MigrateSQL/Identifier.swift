/// A name as PostgreSQL stores it: 1 to 63 bytes of UTF-8 without NUL.
///
/// PostgreSQL cuts a longer name without a word, and two names meet; here it is refused. Equality is by bytes, as there:
/// to `String ==`, "é" composed and decomposed are one name. Source: PostgreSQL manual, 4.1.1 (NAMEDATALEN - 1 bytes).
public struct Identifier: Sendable {
  /// The name without quotes.
  public let name: String

  /// - Throws: ``InvalidIdentifier`` when `name` breaks one of the rules above.
  public init(_ name: String) throws(InvalidIdentifier) {
    guard (1...63).contains(name.utf8.count) else { throw .length(bytes: name.utf8.count) }
    guard !name.utf8.contains(0) else { throw .containsNUL }
    self.name = name
  }

  /// A name that this program made up or that the catalog gave: known to keep the rules.
  package init(trusted name: String) {
    self.name = name
  }

  /// The name in double quotes, always, so that no caller needs the list of reserved words. Works on bytes: a quote under
  /// a combining accent is one `Character`, which `replacing("\"", with:)` passes over, and the name would end early.
  package var quoted: String {
    let quote = UInt8(ascii: "\"")
    let escaped = name.utf8.flatMap { $0 == quote ? [quote, quote] : [$0] }
    return String(decoding: [quote] + escaped + [quote], as: UTF8.self)
  }
}

extension Identifier: Hashable {
  /// By bytes.
  public static func == (left: Identifier, right: Identifier) -> Bool {
    left.name.utf8.elementsEqual(right.name.utf8)
  }

  /// By bytes.
  public func hash(into hasher: inout Hasher) {
    for byte in name.utf8 { hasher.combine(byte) }
  }
}

/// Why a text cannot be a name in PostgreSQL.
public enum InvalidIdentifier: Error, Sendable, Equatable {
  /// Empty, or longer than 63 bytes.
  case length(bytes: Int)
  /// A NUL byte, which no PostgreSQL text can hold.
  case containsNUL
}

/// A table's full name. What a definition leaves out is filled in from the catalog, so generated SQL never depends on search_path.
public struct QualifiedName: Sendable, Hashable {
  /// The namespace.
  public let schema: Identifier
  /// The name in it.
  public let name: Identifier

  /// The object `name` of `schema`.
  public init(schema: Identifier, name: Identifier) {
    self.schema = schema
    self.name = name
  }

  /// As people write it: `shop.products`, without quotes. For messages only, never for SQL.
  public var description: String { "\(schema.name).\(name.name)" }
}
