internal import MigrateJSON
package import MigrateSQL

/// A column, and how a value of it is kept and compared.
package struct Column: Sendable {
  /// `pg_attribute.attnum`; names of undo columns are made from it, since a name plus a prefix may exceed 63 bytes (X22).
  package private(set) var number: Int
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
  package private(set) var isNotNull: Bool
  package let isGenerated: Bool
  /// What a generated column is computed from.
  package let expression: String?
  /// The columns that it is computed from, by number; empty unless it is generated.
  package let computedFrom: [Int]
  package let isIdentity: Bool
  /// What its values are numbered by, where they count upwards.
  package let sequence: Sequence?
  /// Whether it gets a value where none is given.
  package let hasDefault: Bool
  /// Where it is not the type's own: what the order of its values is decided by.
  package let collation: QualifiedName?
  package let mayUpdate: Bool
  package let maySelect: Bool
  /// Bytes of a value, on average.
  package let width: Int

  package struct Sequence: Sendable {
    package let name: QualifiedName
    /// Whether the present role may read it and move it on.
    package let mayMove: Bool
  }

  /// A `regclass` and its kin.
  package var isObject: Bool { TypeOID.objects.contains(baseOID) }

  /// The same as a column of a table that rows are read into, in which keys are never NULL.
  package func read(intoColumn number: Int, isKey: Bool) -> Column {
    var column = self
    column.number = number
    column.isNotNull = isKey
    return column
  }

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
    isPadded = baseOID == TypeOID.character && modifier > 0
    length = [TypeOID.character, TypeOID.varying].contains(baseOID) && modifier > 4 ? modifier - 4 : nil
    category = try item.text("category")
    isWrapped = try item.flag("wrapped")
    let digits = item.integers("precision")
    precision = digits.count == 2 ? (digits[0], digits[1]) : nil
    labels = item.document["labels"].flatMap { $0 == .null ? nil : $0.elements.compactMap(\.text) }
    isNotNull = try item.flag("not_null")
    isGenerated = try item.flag("generated")
    expression = item.document["expression"]?.text
    computedFrom = item.integers("computed_from")
    isIdentity = try item.flag("identity")
    hasDefault = try item.flag("has_default")
    if let document = item.document["sequence"], document != .null {
      let sequence = DocumentReader(document)
      self.sequence = Sequence(
        name: QualifiedName(
          schema: Identifier(trusted: try sequence.text("schema")), name: Identifier(trusted: try sequence.text("name"))
        ),
        mayMove: try sequence.flag("may"))
    } else {
      sequence = nil
    }
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
