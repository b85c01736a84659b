internal import MigrateCatalog
internal import MigrateDefinition
internal import MigrateDiagnostics
internal import MigrateSQL

/// What names mean in the SQL of one step.
struct StepNames: Sendable {
  /// What a name without a qualifier is.
  enum Bare: Sendable {
    /// A column of the row that is changed.
    case target
    /// A column of the rows that the step works from.
    case rows
    /// Of either, where only one has it.
    case either
  }

  struct Target: Sendable {
    let table: Table
    /// What the user calls it.
    let name: Identifier
    /// What our SQL calls it.
    let alias: Identifier
  }

  struct Rows: Sendable {
    let name: Identifier
    let alias: Identifier
    let columns: [Identifier]
  }

  let target: Target?
  /// Of `from`; `nil` where the step works from the batch's own rows.
  let rows: Rows?
  let bare: Bare
  /// What a new row would have held where another one is there, by its columns.
  var excluded: [Identifier: SQL] = [:]

  func with(bare: Bare) -> StepNames { StepNames(target: target, rows: rows, bare: bare, excluded: excluded) }

  /// What a use of a column is.
  enum Meaning: Sendable {
    case target(ColumnUse.Part)
    case batch(ColumnUse.Part)
    case rows(ColumnUse.Part)
    /// What the row of the batch has found of a join.
    case joined(NamedJoin, ColumnUse.Part)
    /// What the new row would have held.
    case excluded(ColumnUse.Part)
    /// Both have it.
    case ambiguous(ColumnUse.Part)
    /// Neither has it.
    case unknown(ColumnUse.Part)
    /// A row as a whole.
    case whole(ColumnUse.Part)
    /// Something of a query inside, or what only the database knows.
    case other
  }
}

extension Resolver {
  func meaning(of use: ColumnUse, in names: StepNames) -> StepNames.Meaning {
    guard let qualifier = use.qualifier else {
      guard use.scope == .top, let part = use.column else { return .other }
      return meaning(ofBare: part, in: names)
    }
    guard use.scope.binding(of: qualifier.name) == nil, use.parts.count <= 2 else { return .other }
    if use.isStar { return isRow(qualifier.name, in: names) ? .whole(qualifier) : .other }
    guard let part = use.column else { return .other }
    if qualifier.name == Self.batch { return .batch(part) }
    if qualifier.name.name == "excluded", !names.excluded.isEmpty { return .excluded(part) }
    if let join = joins.first(where: { $0.name == qualifier.name }) { return .joined(join, part) }
    if let rows = names.rows, qualifier.name == rows.name { return .rows(part) }
    if let target = names.target, qualifier.name == target.name { return .target(part) }
    return qualifier.name == alias ? .batch(part) : .other
  }

  private func isRow(_ name: Identifier, in names: StepNames) -> Bool {
    name == Self.batch || name == names.rows?.name || name == names.target?.name || name == alias
  }

  private func meaning(ofBare part: ColumnUse.Part, in names: StepNames) -> StepNames.Meaning {
    let isOfTarget = names.target?.table.column(part.name.name) != nil
    let isOfRows = names.rows?.columns.contains(part.name) ?? batchHas(part.name)
    // A column goes before a row that is called like it.
    if isRow(part.name, in: names), !isOfTarget, !isOfRows { return .whole(part) }
    let ofRows: StepNames.Meaning = names.rows == nil ? .batch(part) : .rows(part)
    switch names.bare {
    case .target: return isOfTarget ? .target(part) : .unknown(part)
    case .rows: return isOfRows ? ofRows : .unknown(part)
    case .either:
      if isOfTarget, isOfRows { return .ambiguous(part) }
      return isOfTarget ? .target(part) : isOfRows ? ofRows : .unknown(part)
    }
  }

  /// The user's text in the words of our SQL; every byte that is no name of a row or of a parameter is untouched.
  ///
  /// - Parameter batch: what our SQL calls the source row there.
  func rewritten(_ text: any SQLText, in names: StepNames, batch: Identifier = Self.batch) -> SQL {
    var edits: [(range: Range<Int>, piece: SQL.Piece)] = text.parameters.compactMap { use in
      resolvedParameters[use.name].map { (use.range, .parameter($0)) }
    }
    func write(_ use: ColumnUse, as alias: Identifier, _ part: ColumnUse.Part) {
      if let qualifier = use.qualifier {
        edits.append((qualifier.range, .verbatim(alias.quoted)))
      } else {
        edits.append((part.range.lowerBound..<part.range.lowerBound, .verbatim(alias.quoted + ".")))
      }
    }
    for use in text.columns {
      switch meaning(of: use, in: names) {
      case .target(let part): if let target = names.target { write(use, as: target.alias, part) }
      case .batch(let part):
        if batch != Self.batch, let value = carried.first(where: { $0.name == part.name })?.value {
          edits.append((use.range, .block(value)))
        } else {
          write(use, as: batch, part)
        }
      case .joined(let join, let part):
        // A rule is asked where the join is.
        guard batch == Self.batch else { continue }
        edits.append((use.range, .block("\(batch).\(carriedName(part.name, of: join.name))")))
      case .rows(let part): if let rows = names.rows { write(use, as: rows.alias, part) }
      case .excluded(let part):
        if let value = names.excluded[part.name] { edits.append((use.range, .block("(\(value))"))) }
      case .ambiguous, .unknown, .whole, .other: continue
      }
    }
    return SQL(text, replacing: edits)
  }

  /// Names and calls of an expression of a step.
  ///
  /// - Returns: whether the database can type it.
  mutating func checkExpression(_ text: SQLExpression, in names: StepNames, _ parameters: Parameters) -> Bool {
    let count = problems.count
    checkParameters(text, parameters)
    if let use = text.relations.first(where: { $0.schema == nil && $0.name == Self.batch }) {
      problems.append(.batchInValue(at: text.span(of: use.range)))
    }
    for use in text.columns { checkUse(use, text, in: names) }
    for call in text.functions where call.depth == 0 { checkCall(call, text) }
    let isKnown = problems.count == count && isBound(text) && !namesUnknownJoin(text)
    checkClock(text)
    checkReads(text)
    return isKnown
  }

  private mutating func checkUse(_ use: ColumnUse, _ text: any SQLText, in names: StepNames) {
    switch meaning(of: use, in: names) {
    case .other: return
    case .batch(let part) where names.rows != nil, .joined(_, let part) where names.rows != nil:
      problems.append(.batchBesideRows(part.name, names.rows?.name ?? Self.batch, at: text.span(of: use.range)))
    case .target(let part):
      guard let target = names.target?.table, target.column(part.name.name) == nil else { return }
      problems.append(.unknownColumn(part, of: target, text))
    case .batch(let part):
      if unknownLets.contains(part.name) || carried.contains(where: { $0.name == part.name }) { return }
      guard let column = table.column(part.name.name) else {
        problems.append(unknownColumn(part.name.name, at: text.span(of: part.range)))
        return
      }
      batchColumns.insert(column.number)
    case .rows(let part):
      guard let rows = names.rows, !rows.columns.contains(part.name) else { return }
      problems.append(.unknownRowsColumn(part, rows, text))
    case .joined(let join, _): checkColumn(use, of: join, text)
    case .excluded(let part):
      if names.excluded[part.name] == nil { problems.append(.notGiven(part.name, at: text.span(of: part.range))) }
    case .ambiguous(let part):
      problems.append(
        .ambiguousColumn(
          part.name, target: names.target?.name, rows: names.rows?.name ?? Self.batch, at: text.span(of: part.range)))
    case .unknown(let part):
      switch (names.bare, names.rows, names.target?.table) {
      case (.rows, let rows?, _): problems.append(.unknownRowsColumn(part, rows, text))
      case (.target, _, let target?): problems.append(.unknownColumn(part, of: target, text))
      case (.rows, nil, _), (_, _, nil): problems.append(unknownColumn(part.name.name, at: text.span(of: part.range)))
      case (.either, _, let target?): problems.append(.unknownColumn(part, of: target, text))
      }
    case .whole(let part): problems.append(.wholeRowInStep(part.name, at: text.span(of: part.range)))
    }
  }

  /// Of a query the source's columns that it may read of `batch`: those whose names it has, or all where it says `*`.
  mutating func noteBatchColumns(_ query: SQLQuery) {
    guard query.relations.contains(where: { $0.schema == nil && $0.name == Self.batch }) else { return }
    let readsAll = query.facts.hasNaturalJoin || query.columns.contains(where: \.isStar)
    for column in table.columns
    where readsAll || query.columns.contains(where: { use in use.parts.contains { $0.name == column.name } }) {
      batchColumns.insert(column.number)
    }
  }
}

extension Diagnostic {
  fileprivate static func unknownColumn(_ part: ColumnUse.Part, of table: Table, _ text: any SQLText) -> Diagnostic {
    .unknownColumn(
      part.name.name, of: table.name.description, at: text.span(of: part.range),
      nearest: Suggestion.nearest(to: part.name.name, among: table.columns.map(\.name.name)))
  }

  fileprivate static func unknownRowsColumn(
    _ part: ColumnUse.Part, _ rows: StepNames.Rows, _ text: any SQLText
  ) -> Diagnostic {
    let nearest = Suggestion.nearest(to: part.name.name, among: rows.columns.map(\.name))
    return Diagnostic(
      "unknown-rows-column", at: text.span(of: part.range),
      "\(rows.name.name) of `from` has no column \"\(part.name.name)\"",
      remedy: nearest.map { "did you mean \"\($0)\"?" }
        ?? "it has \(rows.columns.map(\.name).joined(separator: ", ")); add it to its SELECT")
  }

  fileprivate static func ambiguousColumn(
    _ name: Identifier, target: Identifier?, rows: Identifier, at span: SourceSpan
  ) -> Diagnostic {
    Diagnostic(
      "ambiguous-column", at: span, "\"\(name.name)\" is a column of the table and of the rows it is matched with",
      remedy: "say which one: `\(target?.name ?? "t").\(name.name)` or `\(rows.name).\(name.name)`")
  }

  fileprivate static func batchBesideRows(_ column: Identifier, _ rows: Identifier, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "batch-beside-rows", at: span,
      "the step works from the rows of \(rows.name), and the batch's own are not in sight",
      remedy:
        "give them a column for it: `SELECT …, \(column.name) FROM batch`, and name that; a move has the columns of what it moves"
    )
  }

  fileprivate static func notGiven(_ column: Identifier, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "not-given", at: span, "the new row is given no value for \"\(column.name)\"",
      remedy: "`excluded` has the columns of `values`")
  }

  fileprivate static func wholeRowInStep(_ name: Identifier, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "whole-row-in-step", at: span,
      "\(name.name) is a row as a whole here, and only the columns that are named are kept",
      remedy: "name its columns: `\(name.name).id`")
  }
}
