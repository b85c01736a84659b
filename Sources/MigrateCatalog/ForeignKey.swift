/// A foreign key, seen from one of its two tables.
package struct ForeignKey: Sendable {
  /// What the other side does when a key changes or goes: `pg_constraint.confupdtype` and `confdeltype`.
  package enum Action: String, Sendable {
    case none = "a", restrict = "r", cascade = "c", setNull = "n", setDefault = "d"
  }

  package let name: String
  /// The other table, for messages.
  package let other: String
  /// The columns on this side.
  package let columns: [Int]
  package let onUpdate: Action
  package let onDelete: Action

  init(_ item: DocumentReader, other: String) throws(Malformed) {
    name = try item.text("name")
    self.other = try item.text(other)
    columns = item.integers("columns")
    onUpdate = try item.word("on_update")
    onDelete = try item.word("on_delete")
  }
}
