internal import MigrateJSON
package import MigrateSQL

/// A foreign key, seen from the table that it leads to.
package struct ForeignKey: Sendable {
  /// What becomes of the rows that refer to a key when it changes, or goes: `pg_constraint.confupdtype`, `confdeltype`.
  package enum Action: String, Sendable {
    case none = "a", restrict = "r", cascade = "c", setNull = "n", setDefault = "d"
  }

  package let name: String
  /// The table that has it.
  package let table: QualifiedName
  package let tableOID: Int
  /// The columns that it leads to.
  package let columns: [Int]
  /// The columns of the table that has it, each beside the one that it leads to.
  package let referring: [Identifier]
  /// Whether an index finds the rows that refer to one.
  package let isIndexed: Bool
  /// How many rows the table has, as far as is known.
  package let rows: Int
  package let onUpdate: Action
  package let onDelete: Action

  /// The table that has it, for messages.
  package var other: String { table.description }

  init(_ item: DocumentReader) throws(Malformed) {
    name = try item.text("name")
    table = QualifiedName(
      schema: Identifier(trusted: try item.text("schema")), name: Identifier(trusted: try item.text("table")))
    tableOID = try item.integer("oid")
    referring = (item.document["referring"]?.elements ?? []).compactMap(\.text).map(Identifier.init(trusted:))
    columns = item.integers("columns")
    isIndexed = try item.flag("is_indexed")
    rows = try item.integer("rows")
    onUpdate = try item.word("on_update")
    onDelete = try item.word("on_delete")
  }
}
