internal import MigrateCatalog
internal import MigrateDefinition
internal import MigrateDiagnostics
internal import MigrateSQL

/// Parameters by name, with the type that they are bound as.
typealias Parameters = [Identifier: Parameter]

/// What a user's SQL names, and how it is written into ours.
extension Resolver {
  static let batch = Identifier(trusted: "batch")

  /// Names and calls that hold for every expression over the source row.
  ///
  /// - Returns: whether the database can type it: it would say once more what is wrong with a name, and nothing else.
  mutating func checkExpression(_ expression: SQLExpression, _ parameters: Parameters) -> Bool {
    let count = problems.count
    checkNames(expression, parameters)
    for call in expression.functions where call.depth == 0 { checkCall(call, expression) }
    problems += expression.sqlValuesThatNameColumns(table.columns.map(\.name.name))
    let isKnown = problems.count == count && isBound(expression) && !namesUnknownJoin(expression)
    checkClock(expression)
    checkSelfReads(expression)
    warnAboutDivision(expression)
    return isKnown
  }

  func namesUnknownJoin(_ expression: SQLExpression) -> Bool {
    expression.columns.contains { use in
      if use.qualifier == nil, let part = use.column, unknownLets.contains(part.name) { return true }
      return use.qualifier.map { unknownJoins.contains($0.name) && use.scope.binding(of: $0.name) == nil } ?? false
    }
  }

  /// What holds for the query of a join, which sees its own FROM alone.
  mutating func checkText(_ query: SQLQuery, _ parameters: Parameters) {
    checkParameters(query, parameters)
    checkClock(query)
    checkSelfReads(query)
  }

  /// `checks`: a query of its own, which sees its own FROM.
  ///
  /// - Returns: whether the database can type it.
  mutating func checkQuery(_ check: ParsedBatch.ParsedCheck, _ parameters: Parameters) -> Bool {
    let count = problems.count
    checkParameters(check.query, parameters)
    if let use = check.query.relations.first(where: { $0.schema == nil && $0.name == Self.batch }) {
      let span = check.query.span(of: use.range)
      if check.moment != .batch { problems.append(.batchOutOfPlace(at: span)) }
      noteBatchColumns(check.query)
      if case .none = operation.undo, !operation.isStepped { problems.append(.batchWithoutUndo(at: span)) }
    }
    let isKnown = problems.count == count && isBound(check.query)
    checkClock(check.query)
    return isKnown
  }

  /// Whether the type of every parameter is known.
  func isBound(_ text: any SQLText) -> Bool { text.parameters.allSatisfy { parameter($0.name) != nil } }

  mutating func checkFilter(_ filter: SQLExpression) {
    for call in filter.functions where volatility(of: call) == .volatile {
      problems.append(
        .volatileChoice(
          call.name.last?.name ?? "", key: table.columns.first?.name.name ?? "id", at: filter.span(of: call.range)))
    }
  }

  private mutating func checkNames(_ text: any SQLText, _ parameters: Parameters) {
    checkParameters(text, parameters)
    for column in text.columns {
      if let qualifier = column.qualifier {
        checkQualified(column, qualifier, text)
      } else if column.scope == .top, let name = column.column, letNamed(column) == nil {
        checkBare(name, text, parameters)
      }
    }
  }

  private mutating func checkQualified(_ column: ColumnUse, _ qualifier: ColumnUse.Part, _ text: any SQLText) {
    guard column.parts.count == 2, column.scope.binding(of: qualifier.name) == nil else { return }
    if let join = joins.first(where: { $0.name == qualifier.name }) { return checkColumn(column, of: join, text) }
    if column.isStar, isComposed { refuseWholeRow(qualifier, text) }
    guard qualifier.name == Self.batch || qualifier.name == alias, let name = column.column else { return }
    if letNamed(column) != nil || unknownLets.contains(name.name) { return }
    if isComposed, Self.systemColumns.contains(name.name.name) { refuseWholeRow(name, text) }
    if table.column(name.name.name) == nil, !Self.systemColumns.contains(name.name.name) {
      problems.append(misspelt(name, text, parameters: [:], isQualified: true))
    }
    if qualifier.name == Self.batch, column.scope.queries.contains(where: { $0.contains { $0.name == alias } }) {
      problems.append(.batchIsHidden(alias.name, at: text.span(of: column.range)))
    }
  }

  mutating func checkColumn(_ use: ColumnUse, of join: NamedJoin, _ text: any SQLText) {
    guard let name = use.column, let columns = join.columns, !columns.contains(name.name) else { return }
    problems.append(
      .unknownJoinColumn(
        name.name.name, of: join.name.name,
        nearest: Suggestion.nearest(to: name.name.name, among: columns.map(\.name)), at: text.span(of: name.range)))
  }

  /// Whether a row is more than the table's.
  private var isComposed: Bool { !operation.joins.isEmpty || !operation.lets.isEmpty || isAside }

  private mutating func refuseWholeRow(_ part: ColumnUse.Part, _ text: any SQLText) {
    guard part.name == Self.batch || part.name == alias || Self.systemColumns.contains(part.name.name) else { return }
    problems.append(.wholeRowBesideJoin(part.name.name, at: text.span(of: part.range)))
  }

  private mutating func checkBare(_ name: ColumnUse.Part, _ text: any SQLText, _ parameters: Parameters) {
    if unknownLets.contains(name.name) { return }
    if isComposed, table.column(name.name.name) == nil { refuseWholeRow(name, text) }
    guard table.column(name.name.name) == nil, name.name != alias, name.name != Self.batch else { return }
    guard !Self.systemColumns.contains(name.name.name) else { return }
    problems.append(misspelt(name, text, parameters: parameters, isQualified: false))
  }

  static let systemColumns = ["tableoid", "ctid", "xmin", "xmax", "cmin", "cmax"]

  mutating func checkParameters(_ text: any SQLText, _ parameters: Parameters) {
    for use in text.parameters {
      usedParameters.insert(use.name)
      // One of an unknown type is declared nevertheless.
      let isDeclared = operation.parameters.contains { Identifier(trusted: $0.name.value) == use.name }
      guard parameters[use.name] == nil, !isDeclared else { continue }
      let names = parameters.keys.map(\.name)
      problems.append(
        .undeclaredParameter(
          use.name.name, at: text.span(of: use.range), nearest: Suggestion.nearest(to: use.name.name, among: names)))
    }
  }

  mutating func checkClock(_ text: any SQLText) {
    for clock in text.clockUses { problems.append(.clock(clock.name, at: text.span(of: clock.range))) }
  }

  mutating func checkCall(_ call: FunctionUse, _ expression: SQLExpression) {
    let name = call.name.last?.name ?? ""
    let span = expression.span(of: call.range)
    let candidates = candidates(for: call)
    if call.over || candidates.contains(where: { $0.kind == .window }) {
      problems.append(.window(name, at: span))
    } else if call.isStar || call.isDistinct || call.hasFilter || call.hasOrder || call.isWithinGroup
      || (!candidates.isEmpty && candidates.allSatisfy { $0.kind == .aggregate })
    {
      problems.append(.aggregate(name, at: span))
    } else if !candidates.isEmpty, candidates.allSatisfy(\.returnsSet) {
      problems.append(.severalRows(name, at: span))
    } else if candidates.contains(where: \.isReplaceable), let first = candidates.first {
      warnings.append(.replaceable("\(first.schema).\(name)", at: span))
    }
  }

  /// Sub-selects over the very table that is written: what they find depends on which batches have been there before.
  private mutating func checkSelfReads(_ expression: any SQLText) {
    if operation.isStepped { return checkReads(expression) }
    let written = Set(operation.set.map { Identifier(trusted: $0.column.value) })
    for relation in expression.relations where isTarget(relation) {
      let inner = expression.columns.filter { $0.depth > 0 }
      let reads = inner.first { $0.isStar || $0.column.map { written.contains($0.name) } == true }
      guard expression.facts.hasNaturalJoin || reads != nil else { continue }
      problems.append(
        .readsWhatIsWritten(
          reads?.column?.name.name ?? "*", table.name.description,
          at: expression.span(of: reads?.range ?? relation.range)))
    }
  }

  private func isTarget(_ relation: RelationUse) -> Bool {
    guard relation.name == table.name.name else { return false }
    return relation.schema.map { $0 == table.name.schema } ?? true
  }

  func candidates(for call: FunctionUse) -> [Catalog.Function] {
    let schema = call.name.count > 1 ? call.name.first?.name : call.isSQLSyntax ? "pg_catalog" : nil
    return catalog.functions.filter { function in
      function.name.utf8.elementsEqual((call.name.last?.name ?? "").utf8)
        && (schema.map { $0.utf8.elementsEqual(function.schema.utf8) } ?? true)
        && (function.kind == .aggregate || call.isStar || function.accepts(call.argumentCount))
    }
  }

  /// The worst of the functions that a call can mean; which one it is, only the database knows.
  func volatility(of call: FunctionUse) -> Catalog.Function.Volatility {
    let candidates = candidates(for: call)
    if candidates.contains(where: { $0.volatility == .volatile }) { return .volatile }
    return candidates.contains { $0.volatility == .stable } ? .stable : .immutable
  }

  /// The user's text with `batch.` and `:name` in SQL's own words; every other byte is untouched.
  ///
  /// - Parameter range: the bytes of the text that are wanted, cut where no name is; `nil` is all of it.
  func rewritten(_ text: any SQLText, within range: Range<Int>? = nil) -> SQL {
    var edits: [(range: Range<Int>, piece: SQL.Piece)] = text.parameters.compactMap { use in
      parameter(use.name).map { (use.range, .parameter($0)) }
    }
    for column in text.columns {
      if let named = letNamed(column),
        column.qualifier.map({ column.scope.binding(of: $0.name) == nil }) ?? (column.scope == .top)
      {
        edits.append((column.range, .verbatim("\(named.row.quoted).\(named.name.quoted)")))
      } else if let qualifier = column.qualifier {
        guard column.parts.count == (column.isStar ? 1 : 2), isRow(qualifier, column) else { continue }
        edits.append((qualifier.range, .verbatim(rowName.quoted)))
      } else if let name = column.column, column.scope == .top {
        if table.column(name.name.name) != nil {
          // A join may have a column of that name, too.
          if isComposed {
            edits.append((name.range.lowerBound..<name.range.lowerBound, .verbatim(rowName.quoted + ".")))
          }
        } else if isRow(name, column) {
          // The whole row.
          edits.append((name.range, .verbatim(rowName.quoted)))
        }
      }
    }
    guard let range else { return SQL(text, replacing: edits) }
    return SQL(text, range, replacing: edits.filter { range.contains($0.range.lowerBound) })
  }

  /// Whether `name` stands for the source row and our SQL calls that otherwise.
  private func isRow(_ name: ColumnUse.Part, _ column: ColumnUse) -> Bool {
    (name.name == Self.batch || (name.name == alias && alias != rowName)) && column.scope.binding(of: name.name) == nil
  }

  /// The user's name for the row, unless our statements need it themselves: `UPDATE shop.d AS d … FROM unnest(…) AS d` would be
  /// refused, and only when the run is taken back (X22).
  static func rowName(for name: String, in parsed: ParsedBatch) -> Identifier {
    guard Name.ofRelations.contains(name) else { return Identifier(trusted: name) }
    var free = "\(name)_row"
    while parsed.texts.contains(where: { $0.text.contains(free) }) { free += "_" }
    return Identifier(trusted: free)
  }

  private func parameter(_ name: Identifier) -> Parameter? { resolvedParameters[name] }

  /// A name that stands for no column, with the most helpful guess at what was meant.
  private func misspelt(
    _ part: ColumnUse.Part, _ text: any SQLText, parameters: Parameters, isQualified: Bool
  ) -> Diagnostic {
    let name = part.name.name
    let span = text.span(of: part.range)
    let written = String(decoding: Array(text.text.utf8)[part.range], as: UTF8.self)
    let columns = table.columns.map(\.name.name)
    if parsed.source != nil { return unknownSourceColumn(name, at: span) }
    if !part.isQuoted, let exact = columns.first(where: { $0.lowercased().utf8.elementsEqual(name.utf8) }) {
      return .foldedColumn(name, exact: exact, alias: alias.name, at: span)
    }
    if !isQualified, ["yes", "no", "on", "off", "y", "n"].contains(name) {
      return .yamlBoolean(name, written: written, at: span)
    }
    if let parameter = parameters.keys.first(where: { $0.name.utf8.elementsEqual(name.utf8) }) {
      return .parameterWithoutColon(parameter.name, at: span)
    }
    let nearest = Suggestion.nearest(to: name, among: columns)
    if nearest == nil, let parameter = Suggestion.nearest(to: name, among: parameters.keys.map(\.name)) {
      return .nearParameter(name, parameter, of: table.name.description, at: span)
    }
    let isAlone = text.text.utf8.elementsEqual(written.utf8)
    if nearest == nil, !isQualified, part.isQuoted || isAlone {
      return .nameForText(name, isQuoted: part.isQuoted, of: table.name.description, at: span)
    }
    let before = String(decoding: Array(text.text.utf8)[..<part.range.lowerBound], as: UTF8.self)
    if nearest == nil, !isQualified, before.last(where: { !$0.isWhitespace }) == "=" {
      return .nameComparedWith(name, of: table.name.description, at: span)
    }
    return .unknownColumn(name, of: table.name.description, at: span, nearest: nearest)
  }
}

extension SQL {
  /// A user's text with other pieces in some places; what is left of it still knows its place in the file. A comment at its end
  /// does not swallow what follows (B23).
  init(_ text: any SQLText, _ part: Range<Int>? = nil, replacing edits: [(range: Range<Int>, piece: Piece)]) {
    let bytes = Array(text.text.utf8)
    let part = part ?? 0..<bytes.count
    var pieces: [Piece] = []
    var done = part.lowerBound
    func keep(_ range: Range<Int>) {
      guard !range.isEmpty else { return }
      let content = String(decoding: bytes[range], as: UTF8.self)
      pieces.append(.source(content, fragment: text.fragment, range: range))
    }
    for edit in edits.sorted(by: { $0.range.lowerBound < $1.range.lowerBound }) where edit.range.lowerBound >= done {
      keep(done..<edit.range.lowerBound)
      pieces.append(edit.piece)
      done = edit.range.upperBound
    }
    keep(done..<part.upperBound)
    if text.endsInLineComment, part.upperBound == bytes.count { pieces.append(.verbatim("\n")) }
    self.init(pieces: pieces)
  }
}
