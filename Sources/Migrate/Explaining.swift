package import MigrateLedger
internal import MigrateDiagnostics
internal import MigratePostgres

/// What has become of one row, and why.
package struct RowHistory: Sendable {
  package let table: AskedTable
  package let key: [String]
  package let column: String?
  /// The newest first.
  package let touches: [RowTouch]
  /// Whether the table has such a row; only asked of what no run has touched, and `nil` as well where this role may not look.
  package let isThere: Bool?
}

extension Runs {
  /// Every run that touched a row.
  ///
  /// - Parameter words: the values of its key, one a word or all in one with commas between them, and perhaps a column.
  package borrowing func why(_ name: String, _ words: [String]) throws(RunRefusal) -> RowHistory {
    let hasLedger = try asking { (connection) throws(PostgresError) in try Upgrade.version(connection) > 0 }
    guard hasLedger else {
      throw .refused("no run is known here, of any table", remedy: "`migrate apply NAME` begins one")
    }
    try upgrade()
    let asked = try asking { (connection) throws(PostgresError) in try Ledger.table(connection, named: name) }
    guard let table = asked else {
      throw .refused(
        "there is no table \(name)", remedy: "with its schema, as SQL writes it: `shop.products`, `\"Shop\".items`")
    }
    guard !table.key.isEmpty else {
      throw .refused(
        "\(table.name) has neither a primary key nor a run, so nothing is known of its rows",
        remedy: "the runs: `migrate history`")
    }
    if let column = AskedRow.unknownColumn(words, of: table) {
      throw .usage(
        "\(table.name) has no column \"\(column)\"",
        remedy: Suggestion.nearest(to: column, among: table.columns).map { "did you mean `\($0)`?" }
          ?? "the columns are \(table.columns.joined(separator: ", "))")
    }
    guard let row = AskedRow(words, of: table) else {
      throw .refused(
        "the key of \(table.name) is (\(table.key.joined(separator: ", "))), which these words are not: \(words.joined(separator: " "))",
        remedy: "a word for each column of it, or one with commas, `17,\"a, b\"`; then perhaps a column")
    }
    let touches = try asking { (connection) throws(PostgresError) in
      try Ledger.touches(connection, table, key: row.key, column: row.column)
    }
    let isThere = touches.isEmpty ? try self.isThere(row, in: table) : nil
    return RowHistory(table: table, key: row.key, column: row.column, touches: touches, isThere: isThere)
  }

  private borrowing func isThere(_ row: AskedRow, in table: AskedTable) throws(RunRefusal) -> Bool? {
    do throws(RunRefusal) {
      return try asking { (connection) throws(PostgresError) in
        try Ledger.isThere(connection, table, key: row.key)
      }
    } catch {
      guard case .database(let refusal) = error, refusal.sqlState == .insufficientPrivilege else { throw error }
      return nil
    }
  }
}

/// A row as the words of a command name it.
struct AskedRow: Equatable {
  let key: [String]
  let column: String?

  /// `42`; `17 42` and `17,42` of two columns; each with a column behind. Of a key of one column a comma is a part.
  init?(_ words: [String], of table: AskedTable) {
    let count = table.key.count
    // As many words as columns may also be a key in one word and a column's name.
    if count > 1, let first = words.first, let parts = Self.parts(of: first), parts.count == count, words.count <= 2,
      words.dropFirst().allSatisfy({ word in table.columns.contains { $0.utf8.elementsEqual(word.utf8) } })
    {
      (key, column) = (parts, words.dropFirst().first)
    } else if words.count == count || words.count == count + 1 {
      key = Array(words.prefix(count))
      column = words.count > count ? words.last : nil
    } else {
      return nil
    }
    if let column, !table.columns.contains(where: { $0.utf8.elementsEqual(column.utf8) }) { return nil }
  }

  /// What stands behind a whole key and is no column of the table; `nil` when the words are not so.
  static func unknownColumn(_ words: [String], of table: AskedTable) -> String? {
    guard let word = words.last, !table.columns.contains(where: { $0.utf8.elementsEqual(word.utf8) }) else {
      return nil
    }
    let count = table.key.count
    // Two words may be a key of two columns.
    let isBehindOneWord =
      count > 2 && words.count == 2 && words.first.flatMap { parts(of: $0) }?.count == count
    return isBehindOneWord || words.count == count + 1 ? word : nil
  }

  /// What stands between commas; in double quotes, of which one within is written twice, a comma is a part. `nil` when the quotes
  /// are not closed, or something stands beside them.
  static func parts(of text: String) -> [String]? {
    let (quote, comma) = (UInt8(ascii: "\""), UInt8(ascii: ","))
    var parts: [[UInt8]] = [[]]
    var rest = Array(text.utf8)[...]
    while true {
      if rest.first == quote {
        rest = rest.dropFirst()
        var isClosed = false
        while let byte = rest.popFirst() {
          guard byte == quote else {
            parts[parts.count - 1].append(byte)
            continue
          }
          guard rest.first == quote else {
            isClosed = true
            break
          }
          parts[parts.count - 1].append(quote)
          rest = rest.dropFirst()
        }
        guard isClosed, rest.isEmpty || rest.first == comma else { return nil }
      } else {
        let plain = rest.prefix { $0 != comma }
        parts[parts.count - 1] += plain
        rest = rest.dropFirst(plain.count)
      }
      guard rest.popFirst() != nil else { return parts.map { String(decoding: $0, as: UTF8.self) } }
      parts.append([])
    }
  }
}
