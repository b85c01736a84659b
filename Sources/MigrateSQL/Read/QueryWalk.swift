/// Queries: what a FROM brings into scope, and for which clauses.
extension FactCollector {
  /// A `SelectStmt`, standing in `context`. Its parts are walked later, each in its scope.
  mutating func query(_ select: ParseTree, _ context: Context) {
    facts.queries += 1
    var context = context
    commonTables(select["withClause"], &context)
    if let into = select["intoClause"] { forbidden.append(.into(into["rel"].map(offset) ?? 0)) }
    if select["lockingClause"] != nil { forbidden.append(.locking) }
    if let left = select["larg"], let right = select["rarg"] {
      // The arms are no wrapped nodes.
      visit(.wrapped("SelectStmt", left), context)
      visit(.wrapped("SelectStmt", right), context)
      sortItems(select, context.entering([]), outputsHideInputs: true)
      for clause in ["limitCount", "limitOffset"] { visit(select[clause], context) }
      return
    }
    let inner = context.entering(from(select.list("fromClause"), [], context))
    for clause in ["targetList", "whereClause", "havingClause", "windowClause", "valuesLists"] {
      visit(select[clause], inner)
    }
    sortItems(select, inner, outputsHideInputs: false)
    for clause in ["limitCount", "limitOffset"] { visit(select[clause], inner) }
  }

  private mutating func commonTables(_ with: ParseTree?, _ context: inout Context) {
    let tables = (with?.list("ctes") ?? []).compactMap { $0.node("CommonTableExpr") }
    let named = tables.map { table -> RangeName in
      let name = identifier(table["ctename"])
      let columns = table.names("aliascolnames")
      let told = columns.isEmpty ? (table["ctequery"]?.node("SelectStmt")).flatMap(OutputNames.allKnown) : columns
      return RangeName(name: name, source: .commonTable(name), columns: told)
    }
    if with?.flag("recursive") == true { context.commonTables = named.reversed() + context.commonTables }
    for (table, name) in zip(tables, named) {
      if let statement = table["ctequery"]?.node, statement.name != "SelectStmt" {
        forbidden.append(.writing(kind: statement.name, offset(table)))
      } else {
        visit(table["ctequery"], context)
      }
      if with?.flag("recursive") != true { context.commonTables.insert(name, at: 0) }
    }
  }

  /// Items that may name an output column: `SELECT a AS x … ORDER BY x`.
  private mutating func sortItems(_ select: ParseTree, _ context: Context, outputsHideInputs: Bool) {
    let clauses = ["distinctClause", "groupClause", "sortClause"].filter { select[$0] != nil }
    let outputs = clauses.isEmpty ? [] : OutputNames(of: select).columns.compactMap(\.name)
    for clause in clauses {
      for item in select.list(clause) {
        let expression = item.node("SortBy")?["node"] ?? item
        let name = expression.node("ColumnRef").flatMap {
          $0.list("fields").count == 1 ? $0.names("fields").first : nil
        }
        if let name, let column = expression.node("ColumnRef"), outputsHideInputs || outputs.contains(name) {
          self.column(column, context.scope, namesOutput: true)
        } else {
          visit(expression, context)
        }
      }
    }
  }

  /// Visits the items of a FROM and gives their names. `left` are those that a lateral item sees.
  private mutating func from(_ items: [ParseTree], _ left: [RangeName], _ context: Context) -> [RangeName] {
    var names: [RangeName] = []
    for item in items {
      guard let node = item.node else { continue }
      names += fromItem(node, left + names, context)
    }
    return names
  }

  private mutating func fromItem(_ item: ParseTree.Member, _ left: [RangeName], _ context: Context) -> [RangeName] {
    let node = item.value
    let lateral = context.entering(left)
    switch item.name {
    case "RangeVar": return [relation(node, context)]
    case "RangeSubselect":
      visit(node["subquery"], node.flag("lateral") ? lateral : context)
      return named(node, .subquery, columns: node["subquery"]?.node("SelectStmt").flatMap(OutputNames.allKnown))
    case "RangeFunction":
      visit(node["functions"], lateral)
      let call = node.list("functions").first?.node("List")?.list("items").first?.node("FuncCall")
      return named(node, .function, columns: nil, otherwise: call?.names("funcname").last)
    case "RangeTableFunc":
      for member in ["docexpr", "rowexpr", "namespaces", "columns"] { visit(node[member], lateral) }
      return named(node, .function, columns: nil, otherwise: Identifier(trusted: "xmltable"))
    case "RangeTableSample":
      visit(node["args"], lateral)
      visit(node["repeatable"], lateral)
      return from([node["relation"]].compactMap { $0 }, left, context)
    case "JoinExpr": return join(node, left, context)
    default:
      visit(node, lateral)
      return []
    }
  }

  private mutating func join(_ node: ParseTree, _ left: [RangeName], _ context: Context) -> [RangeName] {
    let first = from([node["larg"]].compactMap { $0 }, left, context)
    let second = from([node["rarg"]].compactMap { $0 }, left + first, context)
    let inner = context.entering(first + second)
    visit(node["quals"], inner)
    let using = node.names("usingClause")
    if !using.isEmpty { joinUsing(using, behind: node["rarg"]?.node.map { offset($0.value) } ?? 0, inner.scope) }
    if node.flag("isNatural") { facts.hasNaturalJoin = true }
    if node["alias"] != nil { return named(node, .join, columns: nil) }
    let alias = node["join_using_alias"].map {
      RangeName(name: identifier($0["aliasname"]), source: .join, columns: using)
    }
    return first + second + (alias.map { [$0] } ?? [])
  }

  private mutating func relation(_ node: ParseTree, _ context: Context) -> RangeName {
    let name = identifier(node["relname"])
    let schema = node["schemaname"].map(identifier)
    let database = node["catalogname"].map(identifier)
    let alias = node["alias"].map { identifier($0["aliasname"]) }
    let columns = node["alias"]?.names("colnames") ?? []
    if schema == nil, let table = context.commonTables.first(where: { $0.name == name }) {
      // Fewer aliases than columns rename the first ones only.
      let told = table.columns.map { Array(columns.prefix($0.count)) + $0.dropFirst(columns.count) }
      return RangeName(name: alias ?? name, source: .commonTable(name), columns: told)
    }
    let start = offset(node)
    let tokens = sql.nameTokens(at: start, count: 1 + (schema == nil ? 0 : 1) + (database == nil ? 0 : 1))
    let end = tokens.last?.range.upperBound ?? start
    facts.relations.append(
      RelationUse(
        database: database, schema: schema, name: name, alias: alias, range: max(0, start)..<max(0, start, end),
        depth: context.scope.depth))
    return RangeName(name: alias ?? name, source: .table(schema: schema, name: name), columns: nil)
  }

  private func named(
    _ node: ParseTree, _ source: RangeName.Source, columns: [Identifier]?, otherwise: Identifier? = nil
  ) -> [RangeName] {
    let renamed = node["alias"]?.names("colnames") ?? []
    let told = columns.map { Array(renamed.prefix($0.count)) + $0.dropFirst(renamed.count) }
    guard let name = node["alias"].map({ identifier($0["aliasname"]) }) ?? otherwise else { return [] }
    return [RangeName(name: name, source: source, columns: told)]
  }

  private func identifier(_ tree: ParseTree?) -> Identifier { Identifier(trusted: tree?.text ?? "") }
}
