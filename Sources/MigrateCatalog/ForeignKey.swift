/// A foreign key, seen from the table that it leads to.
package struct ForeignKey: Sendable {
  /// What becomes of the rows that refer to a key when it changes: `pg_constraint.confupdtype`.
  package enum Action: String, Sendable {
    case none = "a", restrict = "r", cascade = "c", setNull = "n", setDefault = "d"
  }

  package let name: String
  /// The table that has it, for messages.
  package let other: String
  /// The columns that it leads to.
  package let columns: [Int]
  package let onUpdate: Action

  init(_ item: DocumentReader) throws(Malformed) {
    name = try item.text("name")
    other = try item.text("table")
    columns = item.integers("columns")
    onUpdate = try item.word("on_update")
  }
}
