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

extension Identifier {
  /// In double quotes where SQL needs them: for text that a person reads and pastes. What we send ourselves is ``quoted``.
  package var spelled: String {
    let isPlain = name.utf8.allSatisfy { byte in
      (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
        || byte == UInt8(ascii: "_")
    }
    let beginsWithDigit = name.utf8.first.map { $0 < UInt8(ascii: "A") } ?? true
    return isPlain && !beginsWithDigit && !Self.reserved.contains(name) ? name : quoted
  }

  /// Whether it cannot stand bare as the name of a table or column.
  package var isReserved: Bool { Self.reserved.contains(name) }

  /// The words that name no column and no table without quotes. Source: PostgreSQL manual, appendix C.
  private static let reserved = Set(
    """
    all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate collation column \
    concurrently constraint create cross current_catalog current_date current_role current_schema current_time \
    current_timestamp current_user default deferrable desc distinct do else end except false fetch for foreign freeze from \
    full grant group having ilike in initially inner intersect into is isnull join lateral leading left like limit localtime \
    localtimestamp natural not notnull null offset on only or order outer overlaps placing primary references returning right \
    select session_user similar some symmetric table tablesample then to trailing true union unique user using variadic \
    verbose when where window with
    """.split(separator: " ").map(String.init))
}

extension QualifiedName {
  /// As a person pastes it into SQL: with double quotes where they are needed.
  package var spelled: String { "\(schema.spelled).\(name.spelled)" }
}
