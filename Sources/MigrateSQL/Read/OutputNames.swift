/// The names that PostgreSQL gives to a query's columns. Source: `FigureColname` in `parse_target.c`.
struct OutputNames {
  struct Column {
    let name: Identifier?
    let isStar: Bool
  }

  let columns: [Column]

  /// The names of `SelectStmt` `select`; of a UNION those of its first query. What lies deeper than `depth` has none.
  init(of select: ParseTree, depth: Int = 30) {
    var select = select
    while let left = select["larg"] { select = left }
    if let row = select.list("valuesLists").first?.node("List") {
      columns = row.list("items").indices.map { position in
        Column(name: Identifier(trusted: "column\(position + 1)"), isStar: false)
      }
    } else {
      columns = select.list("targetList").compactMap { $0.node("ResTarget") }
        .map { Self.column($0, depth) }
    }
  }

  /// All names, when the text alone tells them.
  static func allKnown(of select: ParseTree) -> [Identifier]? {
    let columns = OutputNames(of: select).columns
    guard !columns.contains(where: \.isStar) else { return nil }
    return columns.map { $0.name ?? Identifier(trusted: "?column?") }
  }

  private static func column(_ target: ParseTree, _ depth: Int) -> Column {
    if let alias = target["name"]?.text { return Column(name: Identifier(trusted: alias), isStar: false) }
    let node = target["val"]?.node
    let last = node?.value.list(node?.name == "ColumnRef" ? "fields" : "indirection").last
    let isStar = last?.node("A_Star") != nil
    return Column(name: isStar ? nil : found(in: target["val"], depth)?.name, isStar: isStar)
  }

  /// The name in an expression; a weak one gives way to what stands around it.
  private static func found(in tree: ParseTree?, _ depth: Int) -> (name: Identifier, isWeak: Bool)? {
    guard let node = tree?.node, depth > 0 else { return nil }
    let depth = depth - 1
    let value = node.value
    switch node.name {
    case "ColumnRef": return value.names("fields").last.map { ($0, false) }
    case "A_Indirection": return value.names("indirection").last.map { ($0, false) } ?? found(in: value["arg"], depth)
    case "FuncCall": return value.names("funcname").last.map { ($0, false) }
    case "A_Expr": return value["kind"]?.text == "AEXPR_NULLIF" ? strong("nullif") : nil
    case "TypeCast":
      if let inner = found(in: value["arg"], depth), !inner.isWeak { return inner }
      return (value["typeName"]?.names("names").last).map { ($0, true) } ?? found(in: value["arg"], depth)
    case "CollateClause": return found(in: value["arg"], depth)
    case "SubLink": return subLink(value, depth)
    case "CaseExpr":
      if let inner = found(in: value["defresult"], depth), !inner.isWeak { return inner }
      return (Identifier(trusted: "case"), true)
    case "MinMaxExpr": return strong(value["op"]?.text == "IS_LEAST" ? "least" : "greatest")
    case "SQLValueFunction": return (value["op"]?.text).flatMap(valueFunction)
    case "XmlExpr": return (value["op"]?.text).flatMap(xml)
    case "A_ArrayExpr": return strong("array")
    case "RowExpr": return strong("row")
    case "CoalesceExpr": return strong("coalesce")
    case "GroupingFunc": return strong("grouping")
    case "XmlSerialize": return strong("xmlserialize")
    default: return nil
    }
  }

  private static func strong(_ name: String) -> (Identifier, Bool) { (Identifier(trusted: name), false) }

  private static func subLink(_ node: ParseTree, _ depth: Int) -> (Identifier, Bool)? {
    switch node["subLinkType"]?.text {
    case "EXISTS_SUBLINK": return strong("exists")
    case "ARRAY_SUBLINK": return strong("array")
    case "EXPR_SUBLINK":
      let first = node["subselect"]?.node("SelectStmt").map { OutputNames(of: $0, depth: depth) }?.columns.first
      return first?.name.map { ($0, false) }
    default: return nil
    }
  }

  /// `SVFOP_CURRENT_TIME_N` is called `current_time`.
  private static func valueFunction(_ operation: String) -> (Identifier, Bool) {
    let prefix = "SVFOP_"
    var name = operation.lowercased().dropFirst(prefix.utf8.count)
    if name.hasSuffix("_n") { name = name.dropLast(2) }
    return strong(String(name))
  }

  private static func xml(_ operation: String) -> (Identifier, Bool)? {
    operation == "IS_DOCUMENT" ? nil : strong(String(operation.lowercased().dropFirst("IS_".utf8.count)))
  }
}
