/// The columns that a query gives, as far as its text tells.
package struct QueryOutputs: Sendable {
  /// Their names in order; `nil` where a `*` leaves them to the catalog.
  package let names: [Identifier]?
  /// Names that no two rows of the result have in common, since it is grouped by just these; `nil` where that is not told.
  package let distinct: [Identifier]?

  init(of select: ParseTree) {
    names = OutputNames.allKnown(of: select)
    distinct = Self.groups(of: select)
  }

  /// A set operation puts rows of several queries together, and DISTINCT ON or a set of groupings several groups.
  private static func groups(of select: ParseTree) -> [Identifier]? {
    let items = select.list("groupClause")
    guard select["larg"] == nil, !items.isEmpty, select["distinctClause"] == nil else { return nil }
    let targets = select.list("targetList").compactMap { $0.node("ResTarget") }
    let columns = OutputNames(of: select).columns
    guard targets.count == columns.count, !columns.contains(where: \.isStar) else { return nil }
    var names: [Identifier] = []
    for item in items {
      guard let place = place(of: item, in: targets), let name = columns[place].name else { return nil }
      names.append(name)
    }
    return names
  }

  /// The output that a group item is: by number, or the same column.
  private static func place(of item: ParseTree, in targets: [ParseTree]) -> Int? {
    if let number = item.node("A_Const")?["ival"]?["ival"]?.integer {
      return targets.indices.contains(number - 1) ? number - 1 : nil
    }
    guard let fields = item.node("ColumnRef")?.names("fields"), !fields.isEmpty else { return nil }
    return targets.firstIndex { target in
      guard let other = target["val"]?.node("ColumnRef")?.names("fields"), other.last == fields.last else {
        return false
      }
      // A bare name is the only column of that name, or PostgreSQL refuses it.
      return min(fields.count, other.count) == 1 || fields == other
    }
  }
}
