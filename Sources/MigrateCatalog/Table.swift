internal import MigrateJSON
package import MigrateSQL

/// A table as the catalog describes it.
package struct Table: Sendable {
  /// What kind of relation it is: `pg_class.relkind`.
  package enum Kind: String, Sendable {
    case table = "r", partitioned = "p", view = "v", materializedView = "m", foreign = "f"
  }

  /// What the present role may do with it, by itself or through another role.
  package struct Rights: Sendable {
    package let schema: Bool
    package let select: Bool
    package let update: Bool
    package let insert: Bool
    package let delete: Bool
  }

  /// What a statement does to a table, which it may name without its schema.
  package struct Write: Sendable, Hashable {
    package enum Verb: String, Sendable, CaseIterable { case insert, update, delete }

    package let verb: Verb
    package let name: String

    package init(_ verb: Verb, _ name: String) {
      self.verb = verb
      self.name = name
    }
  }

  package let oid: Int
  package let name: QualifiedName
  package let kind: Kind
  /// As the statistics have it; `nil` for a table that was never analysed.
  package let estimatedRows: Int?
  package let pages: Int
  package let bytes: Int
  /// Whether the present role has the owner's rights.
  package let isOwned: Bool
  /// Whether policies hide rows from the present role.
  package let isRowSecured: Bool
  /// Whether rows of it may live in other tables, or it is itself such another table.
  package let isInherited: Bool
  package let rules: [String]
  /// The other tables that have some of its rows: partitions, and what it is one of.
  package let relatives: [QualifiedName]
  /// What else its rows can be written by: its partitions, and views of it.
  package let otherNames: [String]
  /// Writes of other tables that may lead on to its rows, by triggers, rules or foreign keys.
  package let ledToBy: Set<Write>
  /// Whether every UPDATE computes all generated columns anew, and fires the triggers on them.
  package let computesAll: Bool
  /// Of a view: the tables that it reads.
  package let reads: [String]
  package let isPublishedWithoutIdentity: Bool
  package let rights: Rights
  package let columns: [Column]
  package let indexes: [Index]
  package let triggers: [Trigger]
  /// The foreign keys of other tables, or of itself, that lead to it.
  package let referencedBy: [ForeignKey]

  /// Whether it has rows of the other table.
  package func shares(rowsOf other: Table) -> Bool { oid == other.oid || relatives.contains(other.name) }

  package func column(_ name: String) -> Column? {
    columns.first { $0.name.name.utf8.elementsEqual(name.utf8) }
  }

  package func column(_ number: Int) -> Column? { columns.first { $0.number == number } }

  /// The generated columns that PostgreSQL computes anew when one of these is written.
  package func computed(from written: Set<Int>) -> [Column] {
    columns.filter { !written.isDisjoint(with: $0.computedFrom) }
  }

  /// All that an UPDATE of these columns writes: themselves, and what is computed from them.
  package func changed(by written: Set<Int>) -> Set<Int> { written.union(computed(from: written).map(\.number)) }

  /// A table of a run's own, into which rows of these columns are read when it begins.
  ///
  /// - Parameter key: which of the columns no two of its rows have alike.
  package init(readInto name: QualifiedName, _ columns: [Column], key: (Column) -> Bool) {
    oid = 0
    self.name = name
    kind = .table
    (estimatedRows, pages, bytes) = (nil, 0, 0)
    (isOwned, isRowSecured, isInherited) = (true, false, false)
    (rules, relatives, otherNames, reads) = ([], [], [], [])
    (ledToBy, computesAll, isPublishedWithoutIdentity) = ([], false, false)
    rights = Rights(schema: true, select: true, update: true, insert: true, delete: true)
    self.columns = columns.enumerated().map { $1.read(intoColumn: $0 + 1, isKey: key($1)) }
    (indexes, triggers, referencedBy) = ([], [], [])
  }

  init(_ item: DocumentReader) throws(Malformed) {
    oid = try item.integer("oid")
    name = QualifiedName(
      schema: Identifier(trusted: try item.text("schema")), name: Identifier(trusted: try item.text("name")))
    kind = try item.word("kind")
    let rows = item.document["rows"]?.double ?? -1
    estimatedRows = rows < 0 ? nil : Int(rows)
    pages = try item.integer("pages")
    bytes = try item.integer("bytes")
    isOwned = try item.flag("owned")
    isRowSecured = try item.flag("row_security")
    isInherited = try item.flag("inherited")
    rules = item.document["rules"]?.elements.compactMap(\.text) ?? []
    relatives = try item.objects("relatives").map { (name) throws(Malformed) in
      QualifiedName(
        schema: Identifier(trusted: try name.text("schema")), name: Identifier(trusted: try name.text("name")))
    }
    otherNames = item.document["other_names"]?.elements.compactMap(\.text) ?? []
    let leading = item.document["led_to_by"]?.elements.map(DocumentReader.init) ?? []
    ledToBy = Set(
      try leading.map { (write) throws(Malformed) in Write(try write.word("verb"), try write.text("name").lowercased())
      })
    computesAll = try item.flag("computes_all")
    reads = item.document["reads"]?.elements.compactMap(\.text) ?? []
    isPublishedWithoutIdentity = try item.flag("published_without_identity")
    let may = try item.object("may")
    rights = Rights(
      schema: try may.flag("schema"), select: try may.flag("select"), update: try may.flag("update"),
      insert: try may.flag("insert"), delete: try may.flag("delete"))
    columns = try item.objects("columns").map { (column) throws(Malformed) in try Column(column) }
    indexes = try item.objects("indexes").map { (index) throws(Malformed) in try Index(index) }
    triggers = try item.objects("triggers").map { (trigger) throws(Malformed) in try Trigger(trigger) }
    referencedBy = try item.objects("referenced_by").map { (key) throws(Malformed) in try ForeignKey(key) }
  }
}
