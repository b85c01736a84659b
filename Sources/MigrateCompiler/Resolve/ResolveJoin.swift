internal import MigrateCatalog
internal import MigrateDefinition
internal import MigrateDiagnostics
internal import MigratePlan
internal import MigrateSQL

/// A join whose SQL has been parsed.
struct ParsedJoin: Sendable {
  enum Rows: Sendable {
    case table(Located<TableReference>)
    case query(SQLQuery)
  }

  let name: Located<String>
  let rows: Rows
  let match: SQLExpression
  let missing: Join.Missing
}

extension ParsedJoin {
  fileprivate func planned(isSingle: Bool) -> PlannedJoin {
    let text =
      switch rows {
      case .table(let table): [table.value.schema, table.value.name].compactMap(\.self).joined(separator: ".")
      case .query(let query): query.text
      }
    return PlannedJoin(name: name.value, rows: text, match: match.text, missing: missing.rawValue, isSingle: isSingle)
  }
}

/// A join whose names are resolved.
struct NamedJoin: Sendable {
  /// How the rows of a batch tell which rows of the join they need, so that no batch reads all of it.
  enum Reach: Sendable {
    /// The column of the join is the key that batches walk.
    case key(Identifier)
    /// The column of the join equals something of the source row.
    case values(Identifier, of: SQL)

    var column: Identifier {
      switch self {
      case .key(let column), .values(let column, _): column
      }
    }

    var usualWay: JoinWay {
      switch self {
      case .key: .part
      case .values: .whole
      }
    }
  }

  let name: Identifier
  /// A query of what is joined, each row with the mark that it is there.
  let rows: SQL
  let match: SQL
  let missing: Join.Missing
  /// `nil` where nothing narrows it down.
  let reach: Reach?
  /// Whether a source row can find two.
  let isSingle: Bool
  /// The names of its columns; `nil` where only the database knows.
  let columns: [Identifier]?
  /// For people.
  let planned: PlannedJoin
  /// Where the definition says which of its rows are meant.
  let span: SourceSpan
  let nameSpan: SourceSpan

  /// How a batch reads it. A range of the key is asked of each row in no time; a list of values pays where an index takes it.
  var way: JoinWay

  /// Tells a row that is there from the NULLs of one that is not.
  var isThere: SQL { "\(name).\(Name.match)" }

  /// Whether it can send a source row to quarantine.
  var rejects: Bool { missing == .reject || !isSingle }
}

extension Resolver {
  /// `join:` in order: the condition of each may name those before it.
  mutating func resolveJoins(key: [Column], _ parameters: Parameters) {
    unknownJoins += operation.unreadJoins.map(Identifier.init(trusted:))
    let read = parsed.joins.map(\.name.value)
    unknownJoins += operation.joins.map(\.name.value).filter { !read.contains($0) }.map(Identifier.init(trusted:))
    for join in parsed.joins {
      let count = problems.count
      checkName(of: join)
      guard let known = rows(of: join, parameters), problems.count == count else {
        unknownJoins.append(Identifier(trusted: join.name.value))
        continue
      }
      let (rows, columns, table) = known
      let name = Identifier(trusted: join.name.value)
      let equalities = join.match.equalities.compactMap { Meeting($0, of: name) }
      let isSingle = isSingle(equalities, table)
      func named(_ match: SQL, _ reach: NamedJoin.Reach?) -> NamedJoin {
        NamedJoin(
          name: name, rows: rows, match: match, missing: join.missing, reach: reach, isSingle: isSingle,
          columns: columns, planned: join.planned(isSingle: isSingle), span: join.match.fragment.span,
          nameSpan: join.name.span,
          way: reach?.usualWay ?? .whole)
      }
      // In sight of its own condition.
      joins.append(named("", nil))
      let isKnown = checkExpression(join.match, parameters)
      checkFilter(join.match)
      if equalities.isEmpty, isKnown {
        problems.append(.joinWithoutEquality(join.name.value, at: join.match.fragment.span))
      }
      let match = rewritten(join.match)
      joins[joins.count - 1] = named(match, reach(equalities, of: join, key: key))
      if isKnown { ask(.join, "SELECT FROM \(joinedRow) WHERE (\(match))") }
    }
  }

  var joinedRow: SQL { composed(row, joins, lets) }

  private mutating func checkName(of join: ParsedJoin) {
    let name = join.name.value
    let identifier = Identifier(trusted: name)
    if identifier.isReserved {
      problems.append(.reservedJoin(name, at: join.name.span))
    } else if identifier == Self.batch || identifier == alias || identifier.name == "excluded" {
      problems.append(.takenJoin(name, at: join.name.span))
    }
  }

  // MARK: What is joined

  private mutating func rows(
    of join: ParsedJoin, _ parameters: Parameters
  ) -> (SQL, columns: [Identifier]?, table: Table?)? {
    switch join.rows {
    case .table(let reference):
      guard let table = asked(join) else {
        problems.append(.unknownTable(reference.value, at: reference.span, catalog))
        return nil
      }
      let used = table.columns.filter { isRead($0.name, of: join) }
      if !table.rights.schema {
        problems.append(.mayNotEnter(table.name.schema, catalog.server.user, at: reference.span))
      } else if let missing = used.first(where: { !table.rights.select && !$0.maySelect }) {
        problems.append(.mayNotRead(missing.name, of: table.name, catalog.server.user, at: reference.span))
      }
      checkReads(of: join, table, at: reference.span)
      let columns: [SQL] = used.map { "\(Self.joined).\($0.name)" }
      return (
        "SELECT \(list: mark(join) + columns) FROM \(table.name) AS \(Self.joined)",
        table.columns.map(\.name), table
      )
    case .query(let query):
      let count = problems.count
      checkText(query, parameters)
      if let use = query.relations.first(where: { $0.schema == nil && $0.name == Self.batch }) {
        problems.append(.batchInJoin(at: query.span(of: use.range)))
      }
      for call in query.functions where volatility(of: call) == .volatile {
        problems.append(.volatileJoin(call.name.last?.name ?? "", at: query.span(of: call.range)))
      }
      let rewritten = rewritten(query)
      guard problems.count == count else { return nil }
      if isBound(query) { ask(.join, "SELECT FROM (\(rewritten)) AS found") }
      let name = Identifier(trusted: join.name.value)
      // What nobody reads may have no name of its own; of what it does not have is told where it is read.
      let read = parsed.columnsRead(of: name).filter { query.outputs.names?.contains($0) ?? true }
      let columns: [SQL] = read.map { column in
        let spelled = query.outputs.names == nil && !column.isReserved ? parsed.spelling(of: column, in: name) : nil
        return spelled ?? "\(Self.joined).\(column)"
      }
      let rows: SQL = "SELECT \(list: mark(join) + columns) FROM (\(rewritten)) AS \(Self.joined)"
      return (rows, query.outputs.names, nil)
    }
  }

  /// The table of a join; the catalog tells of those that were asked for in their order, the source first.
  private func asked(_ join: ParsedJoin) -> Table? {
    let before = parsed.joins.prefix { !$0.name.value.utf8.elementsEqual(join.name.value.utf8) }
    let place = parsed.sourceTables + before.count { if case .table = $0.rows { true } else { false } }
    return catalog.asked.indices.contains(place) ? catalog.asked[place] : nil
  }

  /// Where nothing is found all columns are NULL, which those of a row that is there can be, too.
  private func mark(_ join: ParsedJoin) -> [SQL] { join.missing == .reject ? ["true AS \(Name.match)"] : [] }

  private static let joined = Identifier(trusted: "joined")

  /// Whether some SQL of the definition reads this column of the join.
  private func isRead(_ column: Identifier, of join: ParsedJoin) -> Bool {
    let name = Identifier(trusted: join.name.value)
    return parsed.columnsRead(of: name).contains(column)
      || parsed.texts.contains { text in text.columns.contains { $0.qualifier?.name == name && $0.isStar } }
  }

  /// A row of the very table that is written: what it holds depends on which batches have been there before.
  private mutating func checkReads(of join: ParsedJoin, _ table: Table, at span: SourceSpan) {
    if operation.isStepped { return checkStepReads(of: join, table, at: span) }
    guard table.oid == self.table.oid else { return }
    for assignment in operation.set where isRead(Identifier(trusted: assignment.column.value), of: join) {
      problems.append(.readsWhatIsWritten(assignment.column.value, table.name.description, at: span))
    }
  }

  private mutating func checkStepReads(of join: ParsedJoin, _ table: Table, at span: SourceSpan) {
    let writes = self.writes(to: table)
    let read = written(writes.columns, of: table).first { isRead($0, of: join) }
    guard writes.comesOrGoes || read != nil else { return }
    problems.append(.readsWhatIsWritten(read?.name ?? "*", table.name.description, at: span))
  }

  // MARK: Which of its rows

  /// An equality between a column of a join and something that is not the join's.
  private struct Meeting {
    let column: ColumnUse.Part
    let value: SQLShape
    /// The bytes of the value.
    let range: Range<Int>?

    init?(_ equality: Equality, of join: Identifier) {
      func column(_ shape: SQLShape) -> ColumnUse.Part? {
        guard case .column(let use) = shape, use.qualifier?.name == join, use.parts.count == 2 else { return nil }
        return use.column
      }
      if let left = column(equality.left), !equality.right.names(join) {
        (self.column, value, range) = (left, equality.right, equality.ranges?.right)
      } else if let right = column(equality.right), !equality.left.names(join) {
        (self.column, value, range) = (right, equality.left, equality.ranges?.left)
      } else {
        return nil
      }
    }
  }

  private func reach(_ meetings: [Meeting], of join: ParsedJoin, key: [Column]) -> NamedJoin.Reach? {
    for meeting in meetings {
      guard key.count == 1, isKey(meeting.value, key[0]) else { continue }
      return .key(meeting.column.name)
    }
    // A table by itself is joined row by row where that is better.
    guard case .query = join.rows else { return nil }
    for meeting in meetings {
      guard let range = meeting.range, isOfSource(join.match, range) else { continue }
      return .values(meeting.column.name, of: rewritten(join.match, within: range))
    }
    return nil
  }

  /// Whether it is the key, in an order that is the same whatever the join's column is: no text, whose order is a collation's, and
  /// no moment without a zone, of which two can change places where clocks are set.
  private func isKey(_ shape: SQLShape, _ key: Column) -> Bool {
    guard case .column(let use) = shape, isOfRow(use), use.column?.name == key.name else { return false }
    return key.category != "S" && (key.category != "D" || key.base.spelling == "timestamp with time zone")
  }

  /// Whether the bytes name columns of the source row alone, and something of it.
  private func isOfSource(_ text: SQLExpression, _ range: Range<Int>) -> Bool {
    let uses = text.columns.filter { range.contains($0.range.lowerBound) }
    let isFixed = !text.functions.contains {
      range.contains($0.range.lowerBound) && volatility(of: $0) == .volatile
    }
    return isFixed && !uses.isEmpty
      && uses.allSatisfy(isOfRow)
  }

  /// Whether no two rows can match: a unique index is met as a whole, by columns of its own types, so that equal there is equal here.
  /// Of a query only the rows tell.
  private func isSingle(_ meetings: [Meeting], _ table: Table?) -> Bool {
    guard let table, table.kind == .table || table.kind == .partitioned, !table.isInherited else { return false }
    let numbers = meetings.compactMap { meeting -> Int? in
      guard let column = table.column(meeting.column.name.name), case .column(let use) = meeting.value,
        isOfRow(use), let own = use.column.flatMap({ self.table.column($0.name.name) })
      else { return nil }
      return own.baseOID == column.baseOID && own.collation == nil && column.collation == nil ? column.number : nil
    }
    return table.indexes.contains { index in
      index.isUnique && index.isValid && index.isImmediate && !index.isPartial && !index.columns.contains(0)
        && Set(numbers).isSuperset(of: index.columns)
    }
  }

  /// Whether it is a column of the source row.
  private func isOfRow(_ use: ColumnUse) -> Bool {
    use.scope == .top && (use.qualifier.map { $0.name == alias || $0.name == Self.batch } ?? true)
  }
}

extension SQLShape {
  /// Whether it names the join, or holds what is not known here.
  fileprivate func names(_ join: Identifier) -> Bool {
    switch self {
    case .column(let use): use.qualifier?.name == join
    case .infix(_, let left, let right): left.names(join) || right.names(join)
    case .prefix(_, let inner), .not(let inner), .cast(let inner, _): inner.names(join)
    case .and(let terms), .or(let terms), .call(_, let terms): terms.contains { $0.names(join) }
    case .parameter, .constant: false
    case .other: true
    }
  }
}
