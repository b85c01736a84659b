internal import MigrateJSON

/// An index, as far as walking and HOT ask for it.
package struct Index: Sendable {
  package let name: String
  package let isPrimary: Bool
  package let isUnique: Bool
  package let isValid: Bool
  package let isImmediate: Bool
  package let isPartial: Bool
  /// NULLS NOT DISTINCT: of two rows that have NULL there one is too many.
  package let nullsAreEqual: Bool
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
    nullsAreEqual = item.document["nulls_equal"] == .bool(true)
    isBtree = try item.flag("btree")
    isSummarizing = try item.flag("summarizing")
    isAscending = try item.flag("ascending")
    isInOrder = try item.flag("in_order")
    hiddenOperators = item.document["hidden_operators"]?.elements.compactMap(\.text) ?? []
    columns = item.integers("columns")
    allColumns = item.integers("all_columns")
  }
}
