/// How an expression is built, as far as rules ask for it: `points - lost.points`, `a.id = b.id AND …`.
package indirect enum SQLShape: Sendable, Equatable {
  case column(ColumnUse)
  case parameter(ParameterUse)
  case constant(ConstantUse)
  case prefix(String, SQLShape)
  /// An operator between two operands, by its name: `=`, `+`. `IN`, `LIKE`, `BETWEEN` and `ANY` are ``other``.
  case infix(String, SQLShape, SQLShape)
  case and([SQLShape])
  case or([SQLShape])
  case not(SQLShape)
  /// A function without frills: no DISTINCT, FILTER, ORDER BY, OVER. `greatest`, `least` and `coalesce` are among them.
  case call([Identifier], [SQLShape])
  case cast(SQLShape, to: [Identifier])
  case other
}

extension SQLShape {
  /// What nests deeper than `depth` is ``other``.
  init(_ tree: ParseTree?, of collector: FactCollector, depth: Int = 30) {
    self = .other
    if let node = tree?.node, depth > 0 { self = Self.shape(node, collector, depth) }
  }

  private static func shape(_ node: ParseTree.Member, _ collector: FactCollector, _ depth: Int) -> SQLShape {
    let value = node.value
    let start = collector.offset(value)
    func of(_ tree: ParseTree?) -> SQLShape { SQLShape(tree, of: collector, depth: depth - 1) }
    switch node.name {
    case "ColumnRef":
      return collector.facts.columns.first { $0.range.lowerBound == start }.map(SQLShape.column) ?? .other
    case "ParamRef":
      return collector.facts.parameters.first { $0.range.lowerBound == start }.map(SQLShape.parameter) ?? .other
    case "A_Const": return collector.constantUse(value).map(SQLShape.constant) ?? .other
    case "A_Expr": return operation(value, of)
    case "BoolExpr":
      let terms = value.list("args").map(of)
      switch value["boolop"]?.text {
      case "AND_EXPR": return .and(terms)
      case "OR_EXPR": return .or(terms)
      default: return terms.first.map(SQLShape.not) ?? .other
      }
    case "FuncCall":
      let frills = ["agg_order", "agg_filter", "over", "agg_distinct", "agg_star", "agg_within_group", "func_variadic"]
      guard !frills.contains(where: { value[$0] != nil }) else { return .other }
      return .call(value.names("funcname"), value.list("args").map(of))
    case "CoalesceExpr": return .call([Identifier(trusted: "coalesce")], value.list("args").map(of))
    case "MinMaxExpr":
      let name = value["op"]?.text == "IS_LEAST" ? "least" : "greatest"
      return .call([Identifier(trusted: name)], value.list("args").map(of))
    case "TypeCast": return .cast(of(value["arg"]), to: value["typeName"]?.names("names") ?? [])
    default: return .other
    }
  }

  private static func operation(_ value: ParseTree, _ of: (ParseTree?) -> SQLShape) -> SQLShape {
    let names = value.names("name")
    guard value["kind"]?.text == "AEXPR_OP", let name = names.last else { return .other }
    // `OPERATOR(own.+)` can mean anything.
    guard names.count == 1 || names[0].name == "pg_catalog" else { return .other }
    guard let left = value["lexpr"] else { return .prefix(name.name, of(value["rexpr"])) }
    return .infix(name.name, of(left), of(value["rexpr"]))
  }
}
