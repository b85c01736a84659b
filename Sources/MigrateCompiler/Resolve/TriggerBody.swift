internal import MigrateCatalog

/// What the text of a PL/pgSQL trigger function says about the row.
enum TriggerBody {
  /// Identifiers, keywords and `:=`, `=`, `.` in small letters; comments and strings left out. `nil` where names or strings are
  /// quoted in a way that this does not read.
  static func words(_ body: String) -> [String]? {
    var words: [String] = []
    var word: [UInt8] = []
    let bytes = Array(body.utf8)
    var index = 0
    func flush() {
      if !word.isEmpty { words.append(String(decoding: word, as: UTF8.self).lowercased()) }
      word = []
    }
    while index < bytes.count {
      let byte = bytes[index]
      let next = index + 1 < bytes.count ? bytes[index + 1] : 0
      switch (byte, next) {
      case (UInt8(ascii: "-"), UInt8(ascii: "-")):
        flush()
        while index < bytes.count, bytes[index] != UInt8(ascii: "\n") { index += 1 }
      case (UInt8(ascii: "/"), UInt8(ascii: "*")):
        flush()
        var depth = 0
        repeat {
          switch (bytes[index], index + 1 < bytes.count ? bytes[index + 1] : 0) {
          case (UInt8(ascii: "/"), UInt8(ascii: "*")):
            depth += 1
            index += 2
          case (UInt8(ascii: "*"), UInt8(ascii: "/")):
            depth -= 1
            index += 2
          default: index += 1
          }
        } while depth > 0 && index < bytes.count
      case (UInt8(ascii: "'"), _):
        flush()
        index += 1
        while index < bytes.count, bytes[index] != UInt8(ascii: "'") { index += 1 }
        // Whether it escapes the quote depends.
        if index < bytes.count, bytes[index - 1] == UInt8(ascii: "\\") { return nil }
        index += 1
      case (UInt8(ascii: "\""), _), (UInt8(ascii: "$"), _): return nil
      case (UInt8(ascii: ":"), UInt8(ascii: "=")):
        flush()
        words.append(":=")
        index += 2
      default:
        if isWord(byte) {
          word.append(byte)
        } else {
          flush()
          if [UInt8(ascii: "."), UInt8(ascii: "="), UInt8(ascii: ";"), UInt8(ascii: "(")].contains(byte) {
            words.append(String(decoding: [byte], as: UTF8.self))
          }
        }
        index += 1
      }
    }
    flush()
    return words
  }

  private static func isWord(_ byte: UInt8) -> Bool {
    (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte) || byte == UInt8(ascii: "_")
      || byte >= 128
  }

  /// The columns in `NEW.column :=`; `nil` when the row may be written in another way, so that it can be any.
  static func assignedColumns(_ words: [String]) -> [String]? {
    // `n ALIAS FOR NEW`, and what a procedure makes of an INOUT.
    if words.contains("alias") || words.contains("call") { return nil }
    var columns: [String] = []
    for (index, word) in words.enumerated() {
      let rest = words[(index + 1)...]
      let before = index > 0 ? words[index - 1] : ";"
      switch word {
      // `RETURN other`, `RETURN f(NEW)`.
      case "return":
        guard let row = rest.first, ["new", "old", "null"].contains(row), rest.dropFirst().first == ";" else {
          return nil
        }
      // `SELECT … INTO STRICT a, NEW.b FROM …`
      case "into" where !["insert", "merge"].contains(before):
        if rest.prefix(while: { !endsTargets.contains($0) }).contains("new") { return nil }
      case "get", "fetch", "move":
        if startsStatement(before), rest.prefix(while: { $0 != ";" }).contains("new") { return nil }
      case "for", "foreach":
        if rest.prefix(while: { $0 != "in" && $0 != ";" }).contains("new") { return nil }
      case "new" where startsStatement(before):
        let next = Array(rest.prefix(3))
        if next.count == 3, next[0] == ".", isAssignment(next[2]) {
          columns.append(next[1])
        } else if rest.prefix(while: { !endsExpression.contains($0) }).contains(where: isAssignment) {
          // The row as a whole, an element, a field.
          return nil
        }
      default: continue
      }
    }
    return columns
  }

  /// What its statements write, as far as it is named: `INSERT INTO a.b`, `UPDATE ONLY b`, `DELETE FROM b`, `MERGE INTO b`.
  static func writes(_ words: [String]) -> Set<Table.Write> {
    var writes: Set<Table.Write> = []
    for (index, word) in words.enumerated() {
      let before = index > 0 ? words[index - 1] : ""
      let verbs: [Table.Write.Verb]
      switch (before, word) {
      // ON CONFLICT may come behind it.
      case ("insert", "into"): verbs = [.insert, .update]
      case ("merge", "into"): verbs = Table.Write.Verb.allCases
      case (_, "update"): verbs = [.update]
      case ("delete", "from"): verbs = [.delete]
      // Of several tables, and with what may stand before and behind them.
      case (_, "truncate"):
        writes.formUnion(words[(index + 1)...].prefix { $0 != ";" }.map { Table.Write(.delete, $0) })
        continue
      default: continue
      }
      var name = words[(index + 1)...].drop { $0 == "only" || $0 == "(" }
      while name.dropFirst().first == "." { name = name.dropFirst(2) }
      if let table = name.first { writes.formUnion(verbs.map { Table.Write($0, table) }) }
    }
    return writes
  }

  /// Whether only functions are called that write nothing, as far as their names tell.
  static func callsOnlyHarmless(_ words: [String]) -> Bool {
    if ["execute", "call"].contains(where: words.contains) { return false }
    for (index, word) in words.enumerated().dropFirst() where word == "(" {
      let name = words[index - 1]
      let isQualified = index > 1 && words[index - 2] == "."
      guard harmless.contains(name) || name.hasPrefix("pg_"), !isQualified else {
        if callsNothing(words[..<index]) { continue }
        return false
      }
    }
    return true
  }

  /// Whether the parenthesis behind these words is none of a call, but that of `INTO schema.table (…)`, or of a term.
  private static func callsNothing(_ words: ArraySlice<String>) -> Bool {
    guard let name = words.last else { return true }
    // Of a parenthesis in a parenthesis, or behind an operator that is left out, nothing is called.
    if ["(", "=", ":=", ";", "."].contains(name) || name.utf8.first.map({ (48...57).contains($0) }) == true {
      return true
    }
    var rest = words.dropLast()
    if rest.last == "." { rest = rest.dropLast(2) }
    return rest.last == "into"
  }

  private static let harmless: Set = [
    // What stands before a parenthesis and is no function.
    "values", "in", "and", "or", "not", "if", "elsif", "elseif", "when", "then", "else", "case", "exists", "any",
    "some",
    "all", "row", "array", "as", "on", "using", "over", "filter", "select", "return", "by", "where", "from", "set",
    "conflict",
    "returning", "with", "while", "is", "distinct", "like", "between", "union", "interval", "numeric", "decimal",
    "varchar",
    "char", "character", "varying", "timestamp", "timestamptz", "time",
    // Functions of PostgreSQL's own that triggers call.
    "now", "clock_timestamp", "statement_timestamp", "transaction_timestamp", "timeofday", "current_setting",
    "set_config",
    "pg_trigger_depth", "pg_notify", "coalesce", "nullif", "greatest", "least", "row_to_json", "to_json", "to_jsonb",
    "json_build_object", "jsonb_build_object", "json_agg", "jsonb_agg", "format", "concat", "concat_ws", "lower",
    "upper",
    "txid_current", "pg_current_xact_id", "pg_backend_pid", "nextval", "currval", "count", "sum", "max", "min", "avg",
    "abs",
    "round", "trunc", "floor", "ceil", "md5", "sha256", "extract", "date_trunc", "date_part", "cast", "substring",
    "substr",
    "trim", "position", "length", "left", "right", "replace", "array_agg", "string_agg", "gen_random_uuid", "random",
    "inet_client_addr", "current_query", "quote_literal", "quote_ident", "to_char", "unnest", "jsonb_set",
    "to_tsvector",
    "setweight",
  ]

  private static let endsTargets: Set = [
    ";", "from", "where", "using", "values", "select", "group", "order", "limit", "union", "loop",
  ]
  private static let endsExpression: Set = [";", "then", "else", "elsif", "elseif", "end", "when", "loop"]

  private static func isAssignment(_ word: String) -> Bool { word == ":=" || word == "=" }

  private static func startsStatement(_ word: String) -> Bool {
    [";", "begin", "then", "else", "loop"].contains(word)
  }
}
