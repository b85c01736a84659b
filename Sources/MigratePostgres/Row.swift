/// One row of a result. Reading what is not there, or is not of the kind asked for, throws; origin `client`.
package struct Row: Sendable {
  let rows: Rows
  let index: Int

  /// The value as PostgreSQL writes it; `nil` is NULL.
  package subscript(column: Rows.Column) -> String? {
    get throws(PostgresError) {
      let position = try rows.position(of: column)
      return try withExtendedLifetime(rows) { () throws(PostgresError) in
        guard let bytes = try rows.bytes(row: index, column: position) else { return nil }
        // `String(decoding:)` would put U+FFFD for a wrong byte, silently. They come from databases in SQL_ASCII.
        guard let text = String(validating: bytes, as: UTF8.self) else {
          throw .unreadable("column \(rows.columns[position].name) holds bytes that are not UTF-8")
        }
        return text
      }
    }
  }

  /// All values, in order.
  package var values: [String?] {
    get throws(PostgresError) {
      var result: [String?] = []
      for position in rows.columns.indices { result.append(try self[.at(position)]) }
      return result
    }
  }

  package func isNull(_ column: Rows.Column) throws(PostgresError) -> Bool {
    try rows.bytes(row: index, column: rows.position(of: column)) == nil
  }

  package func text(_ column: Rows.Column) throws(PostgresError) -> String {
    try decode(column, "text") { $0 }
  }

  package func int(_ column: Rows.Column) throws(PostgresError) -> Int {
    try decode(column, "an integer") { Int($0) }
  }

  package func int64(_ column: Rows.Column) throws(PostgresError) -> Int64 {
    try decode(column, "an integer") { Int64($0) }
  }

  package func double(_ column: Rows.Column) throws(PostgresError) -> Double {
    try decode(column, "a number") { Double($0) }
  }

  package func bool(_ column: Rows.Column) throws(PostgresError) -> Bool {
    try decode(column, "a boolean") { ["t": true, "f": false][$0] }
  }

  /// An array of one dimension.
  package func array(_ column: Rows.Column) throws(PostgresError) -> [String?] {
    try decode(column, "an array") { ArrayText.parse($0) }
  }

  /// The value by `read`, or `nil` for NULL: `try row.ifPresent("n", row.int64)`.
  package func ifPresent<Value>(
    _ column: Rows.Column, _ read: (Rows.Column) throws(PostgresError) -> Value
  ) throws(PostgresError) -> Value? {
    try isNull(column) ? nil : read(column)
  }

  /// The error names column and kind, not the value: that is data.
  private func decode<Value>(
    _ column: Rows.Column, _ kind: String, _ convert: (String) -> Value?
  ) throws(PostgresError) -> Value {
    let name = try rows.columns[rows.position(of: column)].name
    guard let text = try self[column] else { throw .unreadable("column \(name) is NULL, \(kind) was expected") }
    guard let value = convert(text) else { throw .unreadable("column \(name) is not \(kind)") }
    return value
  }
}
