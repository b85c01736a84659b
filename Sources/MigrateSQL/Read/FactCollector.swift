/// Walks a parse tree and notes what it names, with the scope of each place.
struct FactCollector {
  let sql: TokenizedSQL
  /// How many bytes stood before the text when it was parsed.
  let shift: Int
  var facts = SQLFacts()
  /// What may not stand in a text that is read here, wherever it stands.
  var forbidden: [Forbidden] = []
  /// The nodes of `a / b`, wherever they stand.
  private(set) var divisions: [ParseTree] = []
  /// The tokens of `USING` names that were met.
  private var joinUsingFound: Set<Int> = []
  /// What is still to be walked. A list instead of recursion: a thread's stack may be small.
  private var pending: [(tree: ParseTree, context: Context)] = []

  enum Forbidden { case `default`(Int), into(Int), locking, writing(kind: String, Int) }

  /// The surroundings of a node: what its names can stand for, and the common tables in reach.
  struct Context {
    var scope = Scope.top
    var commonTables: [RangeName] = []

    func entering(_ names: [RangeName]) -> Context {
      Context(scope: scope.entering(names), commonTables: commonTables)
    }
  }

  init(_ sql: TokenizedSQL, shift: Int) {
    self.sql = sql
    self.shift = shift
  }

  /// Walks all of `tree`, which stands in `context`.
  mutating func walk(_ tree: ParseTree, _ context: Context = Context()) {
    visit(tree, context)
    while let (tree, context) = pending.popLast() {
      switch tree {
      case .array(let items): for item in items { visit(item, context) }
      case .object(let members): for member in members { visit(member, context) }
      case .string, .number, .bool: break
      }
    }
    facts.sort()
  }

  /// Has `tree` walked later.
  mutating func visit(_ tree: ParseTree?, _ context: Context) {
    if let tree { pending.append((tree, context)) }
  }

  private mutating func visit(_ member: ParseTree.Member, _ context: Context) {
    let node = member.value
    switch member.name {
    case "ColumnRef": column(node, context.scope)
    case "FuncCall": function(node, context)
    case "A_Expr": operatorUse(node, context)
    case "SubLink": subLink(node, context)
    case "SelectStmt": query(node, context)
    case "SQLValueFunction": sqlValueFunction(node, context.scope)
    case "A_Const": constant(node)
    case "TypeCast": cast(node, context)
    case "SetToDefault": forbidden.append(.default(offset(node)))
    case "typeName": break
    default: visit(node, context)
    }
  }

  /// Where a node begins in the text.
  func offset(_ node: ParseTree) -> Int { (node["location"]?.integer ?? 0) - shift }

  /// The bytes of the token at which a node begins.
  private func tokenRange(_ offset: Int) -> Range<Int> {
    sql.token(at: offset)?.range ?? max(0, offset)..<max(0, offset)
  }

  // MARK: Names

  mutating func column(_ node: ParseTree, _ scope: Scope, namesOutput: Bool = false) {
    let start = offset(node)
    // `TABLE t` is `SELECT * FROM t` with a star that is written nowhere.
    guard start >= 0 else { return }
    let fields = node.list("fields")
    let tokens = sql.nameTokens(at: start, count: fields.count)
    let parts = zip(fields, tokens).compactMap { field, token in
      field.name.map { ColumnUse.Part(name: $0, range: token.range, isQuoted: isQuoted(token)) }
    }
    let end = tokens.last?.range.upperBound ?? start
    facts.columns.append(
      ColumnUse(
        parts: parts, range: start..<max(start, end), isStar: fields.last?.node("A_Star") != nil, scope: scope,
        namesOutput: namesOutput))
  }

  private func isQuoted(_ token: Token) -> Bool {
    token.kind == .unicodeIdentifier || sql.bytes[token.range.lowerBound] == UInt8(ascii: "\"")
  }

  /// Columns of `USING (a, b)`, which the tree names without a place: the first such list behind `offset` not met yet.
  mutating func joinUsing(_ names: [Identifier], behind offset: Int, _ scope: Scope) {
    let count = names.count
    let start = (sql.index(at: offset)..<sql.tokens.endIndex).first { index in
      guard !joinUsingFound.contains(index), sql.keyword(index) == "using" else { return false }
      let end = index + 1 + 2 * count
      guard sql.tokens.indices.contains(end), sql.tokens[index + 1].isSign("("), sql.tokens[end].isSign(")") else {
        return false
      }
      return names.indices.allSatisfy { isToken(index + 2 + 2 * $0, named: names[$0]) }
    }
    guard let start else { return }
    joinUsingFound.insert(start)
    for (position, name) in names.enumerated() {
      let token = sql.tokens[start + 2 + 2 * position]
      let part = ColumnUse.Part(name: name, range: token.range, isQuoted: isQuoted(token))
      facts.columns.append(
        ColumnUse(parts: [part], range: token.range, isStar: false, scope: scope, namesOutput: false))
    }
  }

  private func isToken(_ index: Int, named name: Identifier) -> Bool {
    let token = sql.tokens[index]
    guard token.isName, token.kind != .unicodeIdentifier else { return token.isName }
    return sql.name(of: token) == name
  }

  // MARK: Calls, operators, constants

  private mutating func function(_ node: ParseTree, _ context: Context) {
    let name = node.names("funcname")
    let start = offset(node)
    let tokens = sql.nameTokens(at: start, count: name.count)
    // `LIKE … ESCAPE` calls itself an explicit call of `pg_catalog.like_escape`.
    let isWritten = tokens.count == name.count && zip(tokens, name).allSatisfy { $0.isName && isNamed($0, $1) }
    let isSyntax = node["funcformat"]?.text == "COERCE_SQL_SYNTAX" || !isWritten
    let end = isSyntax ? tokenRange(start).upperBound : tokens.last?.range.upperBound ?? start
    facts.functions.append(
      FunctionUse(
        name: name, range: max(0, start)..<max(0, start, end), argumentCount: node.list("args").count,
        isStar: node.flag("agg_star"), isDistinct: node.flag("agg_distinct"), isVariadic: node.flag("func_variadic"),
        hasFilter: node["agg_filter"] != nil, hasOrder: node["agg_order"] != nil,
        isWithinGroup: node.flag("agg_within_group"), over: node["over"] != nil, isSQLSyntax: isSyntax,
        scope: context.scope))
    for member in ["args", "agg_order", "agg_filter", "over"] { visit(node[member], context) }
  }

  private func isNamed(_ token: Token, _ name: Identifier) -> Bool {
    token.kind == .unicodeIdentifier || sql.name(of: token) == name
  }

  private mutating func operatorUse(_ node: ParseTree, _ context: Context) {
    // NULLIF compares by an `=` that nobody wrote.
    if node["kind"]?.text != "AEXPR_NULLIF" {
      noteOperator(node.names("name"), at: offset(node), isPrefix: node["lexpr"] == nil, context.scope)
    }
    if node.names("name").last == Identifier(trusted: "/") { divisions.append(node) }
    visit(node["lexpr"], context)
    visit(node["rexpr"], context)
  }

  private mutating func noteOperator(_ names: [Identifier], at offset: Int, isPrefix: Bool, _ scope: Scope) {
    guard let name = names.last else { return }
    facts.operators.append(
      OperatorUse(
        name: name.name, schema: names.dropLast().last, range: tokenRange(offset), isPrefix: isPrefix, scope: scope))
  }

  private mutating func subLink(_ node: ParseTree, _ context: Context) {
    noteOperator(node.names("operName"), at: offset(node), isPrefix: false, context.scope)
    visit(node["testexpr"], context)
    visit(node["subselect"], context)
  }

  private mutating func sqlValueFunction(_ node: ParseTree, _ scope: Scope) {
    let range = tokenRange(offset(node))
    let name = sql.keyword(sql.index(at: range.lowerBound)) ?? sql.text(range)
    facts.sqlValueFunctions.append(SQLValueFunctionUse(name: name, range: range, scope: scope))
  }

  private mutating func constant(_ node: ParseTree) {
    guard let constant = constantUse(node) else { return }
    facts.constants.append(constant)
  }

  /// A constant that is written as one; `day` in `extract(day FROM …)` is a word.
  func constantUse(_ node: ParseTree) -> ConstantUse? {
    let start = offset(node)
    guard start >= 0, let first = sql.token(at: start) else { return nil }
    if node.flag("isnull") { return ConstantUse(value: .null, range: first.range) }
    if let value = node["boolval"] { return ConstantUse(value: .boolean(value.flag("boolval")), range: first.range) }
    if let text = node["sval"].map({ $0["sval"]?.text ?? "" }) {
      let isString = first.kind == .string || first.kind == .unicodeString
      return isString ? ConstantUse(value: .string(text), range: first.range) : nil
    }
    if let bits = node["bsval"] { return ConstantUse(value: .bits(bits["bsval"]?.text ?? ""), range: first.range) }
    return number(at: sql.index(at: start))
  }

  /// A number from token `first` on. The tree folds signs into it, `-(-1)`, and its JSON loses what is negative.
  private func number(at first: Int) -> ConstantUse? {
    var index = first
    while sql.tokens.indices.contains(index), sql.tokens[index].isSign("-") || sql.tokens[index].isSign("(") {
      index += 1
    }
    guard sql.tokens.indices.contains(index), Token.Kind.numbers.contains(sql.tokens[index].kind) else { return nil }
    let signs = sql.tokens[first..<index]
    let isNegative = signs.count { $0.isSign("-") } % 2 == 1
    let closing = index + signs.count { $0.isSign("(") }
    let end = sql.tokens[min(closing, sql.tokens.endIndex - 1)].range.upperBound
    let digits = sql.text(sql.tokens[index].range)
    return ConstantUse(
      value: .number((isNegative ? "-" : "") + digits), range: sql.tokens[first].range.lowerBound..<end)
  }

  private mutating func cast(_ node: ParseTree, _ context: Context) {
    if let type = node["typeName"], offset(type) >= 0 {
      let literal = (node["arg"]?.node("A_Const")).flatMap(constantUse)
      var text: String?
      if case .string(let value)? = literal?.value { text = value }
      facts.casts.append(
        CastUse(
          type: type.names("names"), hasModifier: type["typmods"] != nil, range: tokenRange(offset(type)),
          literal: text))
    }
    visit(node["arg"], context)
  }
}
