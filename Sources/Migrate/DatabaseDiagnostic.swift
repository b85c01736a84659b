internal import MigrateCatalog
internal import MigrateDefinition
internal import MigrateDiagnostics
internal import MigratePostgres
internal import MigrateSQL

extension Diagnostic {
  /// What the database says about a statement made from a definition, at the place in the file that it is about.
  ///
  /// - Parameters:
  ///   - prefix: what was sent before the statement, in one message with it; a position counts from there.
  ///   - home: the only table that has the name which was not found.
  init(
    _ error: PostgresError, in sql: RenderedSQL, behind prefix: String = "", of definition: Definition,
    _ catalog: Catalog, home: QualifiedName? = nil
  ) {
    let byte = error.report.byteOffset(in: sql.text, behind: prefix)
    let span = byte.flatMap(sql.origin) ?? sql.onlyOrigin ?? definition.operation.setSpan
    let path = catalog.searchPath.map(\.name).joined(separator: ", ")
    let remedy =
      home.map { "`\($0.spelled)`, or `search_path: [\($0.schema.name), \(path)]`" }
      ?? Self.otherOperator(error, in: sql, behind: prefix)
      ?? Self.remedy(for: error, function: Self.unknownFunction(error, in: sql, behind: prefix), catalog)
    self.init(Self.code(of: error), at: span, error.message, remedy: remedy)
  }

  /// The name that was looked for in vain, where no schema stands before it. Read in the statement, since the message comes in
  /// the server's language.
  static func unknownRelation(_ error: PostgresError, in sql: RenderedSQL, behind prefix: String) -> String? {
    guard error.sqlState == .undefinedTable, let text = text(blamedBy: error, in: sql, behind: prefix) else {
      return nil
    }
    let alone = /(?:"((?:[^"]|"")+)"|([\p{L}_][\p{L}\p{N}_$]*+))(?!\s*\.)/
    guard let match = text.prefixMatch(of: alone) else { return nil }
    return match.1.map { String($0).replacing("\"\"", with: "\"") } ?? match.2.map { $0.lowercased() }
  }

  /// The function that is not there, without its schema; `nil` for an operator. Read in the statement, too.
  private static func unknownFunction(
    _ error: PostgresError, in sql: RenderedSQL, behind prefix: String
  ) -> String? {
    guard error.sqlState == .undefinedFunction, let text = text(blamedBy: error, in: sql, behind: prefix) else {
      return nil
    }
    let called =
      /(?:(?:"(?:[^"]|"")+"|[\p{L}_][\p{L}\p{N}_$]*+)\s*\.\s*)*(?:"((?:[^"]|"")+)"|([\p{L}_][\p{L}\p{N}_$]*+))\s*\(/
    guard let match = text.prefixMatch(of: called) else { return nil }
    return match.1.map(String.init) ?? match.2.map { $0.lowercased() }
  }

  /// How SQL writes an operator that other languages write in this way.
  private static func otherOperator(_ error: PostgresError, in sql: RenderedSQL, behind prefix: String) -> String? {
    guard error.sqlState == .undefinedFunction, let text = text(blamedBy: error, in: sql, behind: prefix) else {
      return nil
    }
    if text.hasPrefix("==") { return "SQL compares by a single `=`" }
    if text.hasPrefix("&&") { return "between conditions SQL says `AND`" }
    if text.hasPrefix("||") {
      return "between conditions SQL says `OR`; for texts a cast says what is meant: `x::text`"
    }
    if text.hasPrefix("+") { return "texts are joined by `||`; else a cast says what is meant: `x::numeric`" }
    return nil
  }

  /// The statement from the place on that the server's message is about.
  private static func text(blamedBy error: PostgresError, in sql: RenderedSQL, behind prefix: String) -> String? {
    error.report.byteOffset(in: sql.text, behind: prefix).map {
      String(decoding: sql.text.utf8.dropFirst($0), as: UTF8.self)
    }
  }

  private static func code(of error: PostgresError) -> String {
    switch error.sqlState?.code {
    case "42883": "unknown-function"
    case "42703": "unknown-column"
    case "42P01": "unknown-table"
    case "42704": "unknown-type"
    case "42804", "42846": "type-mismatch"
    case "42702": "ambiguous-name"
    case "22P02", "22007", "22008", "22003", "22001": "unfit-constant"
    case "42501": "no-privilege"
    case "42601": "syntax-error"
    default: "database-refuses"
    }
  }

  /// 28: extensions by the functions that they bring, for the remedy of a function that is not there.
  private static let extensions: [String: [String]] = [
    "pgcrypto": ["digest", "hmac", "crypt", "gen_salt", "encrypt", "decrypt", "pgp_sym_encrypt", "pgp_sym_decrypt"],
    "unaccent": ["unaccent"],
    "pg_trgm": ["similarity", "word_similarity", "show_trgm"],
    "fuzzystrmatch": ["levenshtein", "soundex", "metaphone", "dmetaphone"],
    "uuid-ossp": ["uuid_generate_v4", "uuid_generate_v5", "uuid_generate_v1"],
    "hstore": ["hstore", "akeys", "avals"],
    "earthdistance": ["earth_distance", "ll_to_earth"],
  ]

  /// - Parameter function: the name of the one that was called in vain.
  private static func remedy(for error: PostgresError, function: String?, _ catalog: Catalog) -> String {
    let path = catalog.searchPath.map(\.name).joined(separator: ", ")
    if let function,
      let home = extensions.first(where: { $0.value.contains { $0.utf8.elementsEqual(function.utf8) } })?.key
    {
      return "it is in extension \(home), not installed here or not in the search_path: `CREATE EXTENSION \"\(home)\"`"
    }
    if let hint = error.hint, error.sqlState?.code != "42804" { return hint.firstLowercased }
    switch error.sqlState?.code {
    case "42P01": return "write the schema before its name, or add the schema to `search_path: [\(path)]`"
    case "42704":
      return "for instance `numeric`, `text`, `timestamptz`; a type of another schema than \(path) by both names"
    case "42883": return "look at the types of its arguments; a cast says what is meant: `x::numeric`"
    case "42804", "42846": return "say the type that is meant: `CAST(… AS …)`"
    case "42702": return "write the table before the name: `batch.…` is the source row"
    case "22P02", "22007", "22008", "22003", "22001": return "write a value that the column's type takes"
    case "42501": return "`GRANT` it to this role, or run as another one"
    default:
      return "PostgreSQL refuses it with SQLSTATE \(error.sqlState?.code ?? "unknown"); try the expression in psql"
    }
  }
}

extension String {
  fileprivate var firstLowercased: String { prefix(1).lowercased() + dropFirst() }
}
