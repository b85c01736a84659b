/// The columns that a query gives, as far as its text tells, and how its rows come about.
package struct QueryOutputs: Sendable {
  package enum Value: Sendable, Equatable {
    /// A column and nothing else.
    case column(of: Identifier?, Identifier)
    /// A call without DISTINCT or OVER and nothing else, with its argument where that is one column; whether it is one of an aggregate
    /// the catalog tells.
    case call(Identifier, of: Identifier?)
    /// The same, or 0 where it is NULL.
    case orZero(Identifier)
    case other
  }

  /// Their names in order; `nil` where a `*` leaves them to the catalog.
  package let names: [Identifier]?
  /// What they are, beside ``names``.
  package let values: [Value]
  /// The outputs that its rows are grouped by; empty without GROUP BY, `nil` where the text does not tell.
  package let groups: [Identifier]?
  /// Whether each of its rows comes from rows of its FROM alone or in groups, and none is left out or merged behind that: no UNION,
  /// DISTINCT, HAVING, LIMIT, WINDOW or WITH.
  package let isPlain: Bool
  /// Whether it is plain but for DISTINCT over all of its columns.
  package let isDistinct: Bool
  /// The relations of its FROM, by their own names, of which each of its rows has a row: not those that an outer join fills up.
  package let present: [Identifier]

  init(of select: ParseTree) {
    names = OutputNames.allKnown(of: select)
    let targets = select.list("targetList").compactMap { $0.node("ResTarget") }
    values = targets.map { Self.value($0["val"]) }
    let clauses = [
      "larg", "distinctClause", "havingClause", "windowClause", "limitOffset", "limitCount", "valuesLists",
      "withClause",
    ]
    isPlain = !clauses.contains { select[$0] != nil }
    let distinct = select.list("distinctClause")
    isDistinct =
      !clauses.contains { $0 != "distinctClause" && select[$0] != nil } && select["groupClause"] == nil
      && distinct.count == 1 && distinct.allSatisfy { $0.node == nil }
    present = select.list("fromClause").flatMap(Self.present)
    groups = Self.groups(select.list("groupClause"), names, values)
  }

  private static func groups(_ items: [ParseTree], _ names: [Identifier]?, _ values: [Value]) -> [Identifier]? {
    guard let names, names.count == values.count else { return nil }
    var groups: [Identifier] = []
    for item in items {
      let place =
        item.node("A_Const")?["ival"].map { ($0["ival"]?.integer ?? 0) - 1 }
        ?? values.firstIndex { isSame($0, value(item)) }
      guard let place, names.indices.contains(place) else { return nil }
      groups.append(names[place])
    }
    return groups
  }

  private static func isSame(_ output: Value, _ group: Value) -> Bool {
    guard case .column(let one, let name) = output, case .column(let other, name) = group else { return false }
    return one == nil || other == nil || one == other
  }

  private static func value(_ tree: ParseTree?) -> Value {
    guard let node = tree?.node else { return .other }
    switch node.name {
    case "ColumnRef":
      let names = node.value.names("fields")
      guard let last = names.last, names.count <= 2, names.count == node.value.list("fields").count else {
        return .other
      }
      return .column(of: names.count == 2 ? names[0] : nil, last)
    case "FuncCall":
      guard !node.value.flag("agg_distinct"), node.value["over"] == nil, let name = node.value.names("funcname").last
      else {
        return .other
      }
      let arguments = node.value.list("args")
      if arguments.count == 1, case .column(_, let column) = value(arguments[0]) { return .call(name, of: column) }
      return .call(name, of: nil)
    case "CoalesceExpr":
      let terms = node.value.list("args")
      guard terms.count == 2, case .call(let name, _) = value(terms[0]), let zero = terms[1].node("A_Const")?["ival"],
        zero["ival"] == nil
      else { return .other }
      return .orZero(name)
    default: return .other
    }
  }

  private static func present(_ item: ParseTree) -> [Identifier] {
    if let join = item.node("JoinExpr") {
      let sides =
        switch join["jointype"]?.text {
        case "JOIN_LEFT": [join["larg"]]
        case "JOIN_RIGHT": [join["rarg"]]
        case "JOIN_FULL": [ParseTree?]()
        default: [join["larg"], join["rarg"]]
        }
      return sides.compactMap(\.self).flatMap(present)
    }
    return item.node("RangeVar")?["relname"]?.text.map { [Identifier(trusted: $0)] } ?? []
  }
}
