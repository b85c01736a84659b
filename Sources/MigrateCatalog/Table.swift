internal import MigrateJSON
package import MigrateSQL

/// A table as the catalog describes it.
package struct Table: Sendable {
  /// What kind of relation it is: `pg_class.relkind`.
  package enum Kind: String, Sendable {
    case table = "r", partitioned = "p", view = "v", materializedView = "m", foreign = "f"
  }

  package struct Rights: Sendable {
    package let schema: Bool
    package let select: Bool
    package let update: Bool
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
  /// Of a view: the tables that it reads.
  package let reads: [String]
  package let isPublishedWithoutIdentity: Bool
  package let rights: Rights
  package let columns: [Column]
  package let indexes: [Index]
  package let triggers: [Trigger]
  package let foreignKeys: [ForeignKey]
  package let referencedBy: [ForeignKey]
  package let hasDeferrableConstraints: Bool
  /// The numbers of the columns that decide about the partition.
  package let partitionKey: [Int]

  package func column(_ name: String) -> Column? {
    columns.first { $0.name.name.utf8.elementsEqual(name.utf8) }
  }

  package func column(_ number: Int) -> Column? { columns.first { $0.number == number } }

  init(_ item: DocumentReader) throws(Malformed) {
    oid = try item.integer("oid")
    name = QualifiedName(
      schema: Identifier(trusted: try item.text("schema")), name: Identifier(trusted: try item.text("name")))
    kind = Kind(rawValue: try item.text("kind")) ?? .table
    let rows = item.document["rows"]?.double ?? -1
    estimatedRows = rows < 0 ? nil : Int(rows)
    pages = try item.integer("pages")
    bytes = try item.integer("bytes")
    isOwned = try item.flag("owned")
    isRowSecured = try item.flag("row_security")
    isInherited = try item.flag("inherited")
    rules = item.document["rules"]?.elements.compactMap(\.text) ?? []
    reads = item.document["reads"]?.elements.compactMap(\.text) ?? []
    isPublishedWithoutIdentity = try item.flag("published_without_identity")
    let may = try item.object("may")
    rights = Rights(schema: try may.flag("schema"), select: try may.flag("select"), update: try may.flag("update"))
    columns = try item.objects("columns").map { (column) throws(Malformed) in try Column(column) }
    indexes = try item.objects("indexes").map { (index) throws(Malformed) in try Index(index) }
    triggers = try item.objects("triggers").map { (trigger) throws(Malformed) in try Trigger(trigger) }
    foreignKeys = try item.objects("foreign_keys").map { (key) throws(Malformed) in
      try ForeignKey(key, other: "references")
    }
    referencedBy = try item.objects("referenced_by").map { (key) throws(Malformed) in
      try ForeignKey(key, other: "table")
    }
    hasDeferrableConstraints = try item.flag("deferrable_constraints")
    partitionKey = item.integers("partition_key")
  }
}

/// A column, and how a value of it is kept and compared.
package struct Column: Sendable {
  /// `pg_attribute.attnum`; names of undo columns are made from it, since a name plus a prefix may exceed 63 bytes (X22).
  package let number: Int
  package let name: Identifier
  /// With length and scale, a domain by its own name.
  package let type: TypeName
  package let typeOID: Int
  /// What it is made of: a domain unwrapped, no length. Undo keeps arrays of it.
  package let base: TypeName
  package let baseOID: Int
  /// `base` with the scale, which belongs to a value's image, and without a length, to which a cast would cut.
  package let image: TypeName
  package let isDomain: Bool
  /// `character(n)`: what is stored is filled up with blanks, which an assigned value need not be.
  package let isPadded: Bool
  /// `pg_type.typcategory`.
  package let category: String
  /// An array or a composite: `array_agg` of it would lose its shape, so it is kept in a wrapper of one column.
  package let isWrapped: Bool
  /// Digits in all, digits behind the point; `nil` unless `numeric(p, s)`.
  package let precision: (digits: Int, scale: Int)?
  /// Characters at most; `nil` unless `varchar(n)` or `char(n)`.
  package let length: Int?
  /// The labels of an enum, in their order.
  package let labels: [String]?
  package let isNotNull: Bool
  package let isGenerated: Bool
  /// What a generated column is computed from.
  package let expression: String?
  package let isIdentity: Bool
  /// Where it is not the type's own: what the order of its values is decided by.
  package let collation: QualifiedName?
  package let mayUpdate: Bool
  package let maySelect: Bool
  /// Bytes of a value, on average.
  package let width: Int

  /// The number of a `pg_type` whose values are objects of the database: as text they are names, which a search path reads.
  private static let objectTypes: Set = [24, 2202, 2203, 2204, 2205, 2206, 3734, 3769, 4089, 4096, 4191]
  /// A `regclass` and its kin.
  package var isObject: Bool { Self.objectTypes.contains(baseOID) }

  init(_ item: DocumentReader) throws(Malformed) {
    number = try item.integer("number")
    name = Identifier(trusted: try item.text("name"))
    type = TypeName(trusted: try item.text("type"))
    typeOID = try item.integer("type_oid")
    base = TypeName(trusted: try item.text("base"))
    baseOID = try item.integer("base_oid")
    image = TypeName(trusted: try item.text("image"))
    isDomain = try item.flag("is_domain")
    let modifier = try item.integer("typmod")
    isPadded = baseOID == 1042 && modifier > 0
    length = [1042, 1043].contains(baseOID) && modifier > 4 ? modifier - 4 : nil
    category = try item.text("category")
    isWrapped = try item.flag("wrapped")
    let digits = item.integers("precision")
    precision = digits.count == 2 ? (digits[0], digits[1]) : nil
    labels = item.document["labels"].flatMap { $0 == .null ? nil : $0.elements.compactMap(\.text) }
    isNotNull = try item.flag("not_null")
    isGenerated = try item.flag("generated")
    expression = item.document["expression"]?.text
    isIdentity = try item.flag("identity")
    if let document = item.document["collation"], document != .null {
      let name = DocumentReader(document)
      collation = QualifiedName(
        schema: Identifier(trusted: try name.text("schema")), name: Identifier(trusted: try name.text("name")))
    } else {
      collation = nil
    }
    mayUpdate = try item.flag("may_update")
    maySelect = try item.flag("may_select")
    width = try item.integer("width")
  }
}

package struct Index: Sendable {
  package let name: String
  package let isPrimary: Bool
  package let isUnique: Bool
  package let isValid: Bool
  package let isImmediate: Bool
  package let isPartial: Bool
  package let isBtree: Bool
  /// BRIN: an update of its columns may still be HOT.
  package let isSummarizing: Bool
  /// All columns ascending, NULLs last.
  package let isAscending: Bool
  /// In the order that comparing and sorting the columns themselves has.
  package let isInOrder: Bool
  /// Schemas beyond the search path that hold operators of the key's types.
  package let hiddenOperators: [String]
  /// The key's columns by number, in order; 0 stands for an expression.
  package let columns: [Int]
  /// Every column that the index depends on, in its predicate and expressions too.
  package let allColumns: [Int]

  init(_ item: DocumentReader) throws(Malformed) {
    name = try item.text("name")
    isPrimary = try item.flag("primary")
    isUnique = try item.flag("unique")
    isValid = try item.flag("valid")
    isImmediate = try item.flag("immediate")
    isPartial = try item.flag("partial")
    isBtree = try item.flag("btree")
    isSummarizing = try item.flag("summarizing")
    isAscending = try item.flag("ascending")
    isInOrder = try item.flag("in_order")
    hiddenOperators = item.document["hidden_operators"]?.elements.compactMap(\.text) ?? []
    columns = item.integers("columns")
    allColumns = item.integers("all_columns")
  }
}

package struct Trigger: Sendable {
  package enum Timing: String, Sendable { case before, after, instead }

  package let name: String
  package let timing: Timing
  package let isForEachRow: Bool
  package let firesOnUpdate: Bool
  /// ENABLE ALWAYS: also when session_replication_role says otherwise.
  package let firesAlways: Bool
  /// For `UPDATE OF`: the columns; empty means any.
  package let ofColumns: [Int]
  package let function: String
  package let language: String
  package let body: String

  init(_ item: DocumentReader) throws(Malformed) {
    name = try item.text("name")
    timing = Timing(rawValue: try item.text("timing")) ?? .after
    isForEachRow = try item.flag("row")
    firesOnUpdate = try item.flag("update")
    firesAlways = try item.flag("always")
    ofColumns = item.integers("of_columns")
    function = try item.text("function")
    language = try item.text("language")
    body = try item.text("body")
  }
}

package struct ForeignKey: Sendable {
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
    onUpdate = Action(rawValue: try item.text("on_update")) ?? .none
    onDelete = Action(rawValue: try item.text("on_delete")) ?? .none
  }
}
