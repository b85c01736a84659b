internal import MigrateCatalog
internal import MigrateDefinition
internal import MigrateDiagnostics
internal import MigrateSQL

/// `set`: which columns are written, and what each becomes.
extension Resolver {
  mutating func resolveAssignments(key: [Column], _ parameters: Parameters) -> [NamedAssignment] {
    var resolved: [NamedAssignment] = []
    for (assignment, value) in zip(operation.set, parsed.values) {
      let column = writableColumn(assignment.column, key: key)
      let name = assignment.column.value
      switch value {
      case .unreadable: continue
      case .sql(let expression):
        let isKnown = checkExpression(expression, parameters)
        let value = rewritten(expression)
        if isKnown {
          ask(column == nil ? .value : .assignment(resolved.count), "SELECT \(value) FROM \(joinedRow)")
        }
        let isVolatile = isVolatile(expression)
        if isVolatile { warnAboutVolatile(expression, column: name) }
        guard let column else { continue }
        refuseShift(of: column, expression.shape, at: assignment.value.span)
        resolved.append(
          NamedAssignment(
            column: column, value: value, span: assignment.value.span, isVolatile: isVolatile,
            isConstant: false, text: expression.text,
            scale: hasOwnRounding ? nil : expression.shape.scale(in: table),
            isOfChance: isVolatile && isOfChance(expression)))
      case .text(let text):
        let fragment = SourceFragment(text: text.value, span: text.span, offsets: [])
        let names = table.columns.map(\.name.name)
        if let problem = TextReading.alsoReadsAsSQL(
          fragment, visibleColumns: names, parameters: parameters.keys.map(\.name))
        {
          problems.append(problem)
        } else if let column {
          resolved += constant(.text(text.value), column, at: text.span, number: resolved.count)
        }
      case .constant(let constant):
        if let column {
          resolved += self.constant(constant.value, column, at: constant.span, number: resolved.count)
        }
      }
    }
    return resolved
  }

  /// Whether a function can be meant that is only called as PostgreSQL's own are that round.
  private var hasOwnRounding: Bool {
    catalog.functions.contains {
      SQLShape.rounding.contains($0.name) && !$0.schema.utf8.elementsEqual("pg_catalog".utf8)
    }
  }

  private mutating func constant(
    _ value: Constant, _ column: Column, at span: SourceSpan, number: Int
  ) -> [NamedAssignment] {
    let count = problems.count
    let resolved = constant(value, column, at: span)
    if problems.count == count, let assignment = resolved.first {
      ask(.assignment(number), "SELECT CAST(\(assignment.value) AS \(column.image)) FROM \(row)")
    }
    return resolved
  }

  /// Whether a value that is another one each time is so by functions of the server's own. Of somebody's own nobody knows.
  func isOfChance(_ expression: SQLExpression) -> Bool {
    expression.functions.filter { volatility(of: $0) == .volatile }.allSatisfy { call in
      candidates(for: call).allSatisfy { $0.schema.utf8.elementsEqual("pg_catalog".utf8) }
    }
  }

  private mutating func writableColumn(_ name: Located<String>, key: [Column]) -> Column? {
    guard let column = table.column(name.value) else {
      problems.append(unknownColumn(name.value, at: name.span))
      return nil
    }
    let changed = [column] + table.computed(from: [column.number])
    if let moved = changed.first(where: { part in key.contains { $0.number == part.number } }) {
      problems.append(
        .keyIsWritten(
          Self.named(moved, writtenBy: column), others: keys(without: changed), table: table.name, at: name.span))
    }
    if column.isGenerated {
      problems.append(.generated(name.value, from: column.expression, at: name.span))
      return nil
    }
    if column.isIdentity {
      problems.append(.identity(name.value, at: name.span))
      return nil
    }
    for foreignKey in table.referencedBy {
      guard let led = changed.first(where: { foreignKey.columns.contains($0.number) }) else { continue }
      switch foreignKey.onUpdate {
      case .none, .restrict: continue
      case .cascade, .setNull, .setDefault:
        problems.append(.cascades(Self.named(led, writtenBy: column), to: foreignKey, at: name.span))
      }
    }
    return column
  }

  /// A column that changes, as messages call it: one that is computed says from what.
  static func named(_ changed: Column, writtenBy column: Column) -> String {
    let name = "\"\(column.name.name)\""
    return changed.number == column.number ? name : "\"\(changed.name.name)\" (computed from \(name))"
  }

  /// Other keys that batches could walk while these columns change.
  private func keys(without changed: [Column]) -> [[Identifier]] {
    let numbers = Set(changed.map(\.number))
    return table.indexes.filter { $0.isWalkable && numbers.isDisjoint(with: $0.columns) }
      .map { $0.columns.compactMap(table.column) }
      .filter { $0.allSatisfy(\.isNotNull) }
      .map { $0.map(\.name) }
  }

  mutating func constant(_ value: Constant, _ column: Column, at span: SourceSpan) -> [NamedAssignment] {
    let text: String
    let fragment: SourceFragment
    switch value.spelling(for: column) {
    case .failure(let problem):
      problems.append(problem.diagnostic(column.name.name, at: span))
      return []
    case .success(nil):
      fragment = SourceFragment(text: "NULL", span: span, offsets: [])
      let sql = SQL(pieces: [.source("NULL", fragment: fragment, range: 0..<0)])
      return [
        NamedAssignment(column: column, value: sql, span: span, isVolatile: false, isConstant: true, text: "NULL")
      ]
    case .success(let spelled?): text = spelled
    }
    if let labels = column.labels, !labels.contains(where: { $0.utf8.elementsEqual(text.utf8) }) {
      problems.append(.unknownLabel(text, labels, of: column.type.spelling, at: span))
    }
    if ["date", "timestamp without time zone", "timestamp with time zone"].contains(column.base.spelling),
      ["now", "today", "tomorrow", "yesterday"].contains(text.lowercased())
    {
      problems.append(.movingConstant(text, at: span))
    }
    let quoted = Literal(text).quoted
    fragment = SourceFragment(text: quoted, span: span, offsets: [])
    return [
      NamedAssignment(
        column: column, value: SQL(pieces: [.source(quoted, fragment: fragment, range: 0..<0)]), span: span,
        isVolatile: false, isConstant: true, text: quoted)
    ]
  }

  mutating func warnAboutVolatile(_ expression: SQLExpression, column: String) {
    for call in expression.functions where volatility(of: call) == .volatile {
      let name = call.name.last?.name ?? ""
      let span = expression.span(of: call.range)
      if Self.writersOfObjects.contains(name) { warnings.append(.largeObject(name, at: span)) }
      warnings.append(.volatileValue(name, column: column, at: span))
    }
  }

  /// Source: PostgreSQL manual, 35.4, server-side functions for large objects.
  private static let writersOfObjects: Set = [
    "lo_unlink", "lo_put", "lowrite", "lo_truncate", "lo_truncate64", "lo_import", "lo_create", "lo_creat",
    "lo_from_bytea",
  ]
}

extension SQLShape {
  fileprivate static let rounding: Set = ["round", "trunc", "ceil", "floor"]

  /// The most digits behind the point that the value can have; `nil` where that cannot be told from the text.
  fileprivate func scale(in table: Table) -> Int? {
    switch self {
    case .column(let use):
      guard let column = use.column.flatMap({ table.column($0.name.name) }) else { return nil }
      return ["integer", "bigint", "smallint"].contains(column.base.spelling) ? 0 : column.precision?.scale
    case .constant(let constant):
      guard case .number(let digits) = constant.value, !digits.lowercased().utf8.contains(UInt8(ascii: "e")) else {
        return nil
      }
      return digits.split(separator: ".", omittingEmptySubsequences: false).dropFirst().first?.utf8.count ?? 0
    case .prefix(_, let operand): return operand.scale(in: table)
    case .infix(let sign, let left, let right):
      guard let left = left.scale(in: table), let right = right.scale(in: table) else { return nil }
      switch sign {
      case "+", "-": return max(left, right)
      case "*": return left + right
      default: return nil
      }
    case .call(let name, let arguments):
      guard Self.rounding.contains(name.last?.name ?? "") else { return nil }
      guard arguments.count == 2 else { return 0 }
      guard case .constant(let digits) = arguments[1], case .number(let text) = digits.value else { return nil }
      return Int(text)
    case .cast, .parameter, .and, .or, .not, .other: return nil
    }
  }
}

extension Constant {
  enum Unfit: Error { case listForScalar, mapForScalar, nested }

  /// The constant as its column's type reads it; `nil` is NULL.
  fileprivate func spelling(for column: Column) -> Result<String?, Unfit> {
    let isJSON = ["json", "jsonb"].contains(column.base.spelling)
    switch self {
    case .null: return .success(nil)
    case .bool(let value): return .success(value ? "true" : "false")
    case .number(let digits): return .success(digits)
    case .text(let text): return .success(isJSON ? ConstantJSON.string(text) : text)
    case .map: return isJSON ? .success(ConstantJSON.spelled(self)) : .failure(.mapForScalar)
    case .list(let items):
      if isJSON { return .success(ConstantJSON.spelled(self)) }
      guard column.category == "A" else { return .failure(.listForScalar) }
      var elements: [String] = []
      for item in items {
        switch item {
        case .null: elements.append("NULL")
        case .bool(let value): elements.append(value ? "true" : "false")
        case .number(let digits): elements.append(digits)
        case .text(let text): elements.append(ConstantJSON.arrayElement(text))
        case .list, .map: return .failure(.nested)
        }
      }
      return .success("{\(elements.joined(separator: ","))}")
    }
  }
}

extension Constant.Unfit {
  fileprivate func diagnostic(_ column: String, at span: SourceSpan) -> Diagnostic {
    switch self {
    case .listForScalar:
      Diagnostic(
        "list-for-scalar", at: span, "\"\(column)\" takes one value, this is a list",
        remedy: "write one value: `{value: …}`; a list is for an array column or JSON")
    case .mapForScalar:
      Diagnostic(
        "map-for-scalar", at: span, "\"\(column)\" takes one value, this is a map",
        remedy: "write one value: `{value: …}`; a map is for a JSON column")
    case .nested:
      Diagnostic(
        "nested-list", at: span, "an array of several dimensions is not written as a list",
        remedy: "write it as SQL: `ARRAY[[1,2],[3,4]]`")
    }
  }
}

extension Diagnostic {
  /// 32: the row would move behind or before the batches. `others` are the table's other keys, which could be walked
  /// instead.
  fileprivate static func keyIsWritten(
    _ column: String, others: [[Identifier]], table: QualifiedName, at span: SourceSpan
  ) -> Diagnostic {
    let other = others.first.map { key in
      let names = key.map(\.name).joined(separator: ", ")
      return "walk another key: `source: {table: \(table.description), key: \(key.count == 1 ? names : "[\(names)]")}`"
    }
    let remedy = other ?? "add another key and walk it: `CREATE UNIQUE INDEX CONCURRENTLY ON \(table.spelled) (…)`"
    return Diagnostic(
      "key-is-written", at: span, "batches walk \(column); a row whose key changes could be met again",
      remedy: "\(remedy); a frozen source (`source: {query: …, key: …}`) is not in this version")
  }

  /// 33: PostgreSQL refuses to write it; what it is computed from can be set.
  static func generated(_ column: String, from expression: String?, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "generated-column", at: span, "\"\(column)\" is generated from `\(expression ?? "other columns")`",
      remedy: "set those")
  }

  static func identity(_ column: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "identity-column", at: span, "\"\(column)\" is an identity, whose values the database gives",
      remedy: "leave it out; to renumber rows drop the identity first")
  }

  static func cascades(_ column: String, to key: ForeignKey, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "cascading-update", at: span,
      "\(key.other) follows \(column) by foreign key \(key.name), and what it changes there is in no undo",
      remedy: "a definition for \(key.other) of its own, with the foreign key ON UPDATE NO ACTION and deferrable")
  }

  /// 52: of an enum, whose `labels` are listed in their order.
  fileprivate static func unknownLabel(_ text: String, _ labels: [String], of type: String, at span: SourceSpan)
    -> Diagnostic
  {
    Diagnostic(
      "unknown-label", at: span, "\"\(text)\" is no value of \(type)",
      remedy: "one of: \(labels.joined(separator: ", "))")
  }

  fileprivate static func movingConstant(_ text: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "moving-constant", at: span, "'\(text)' is read as a moment anew in each batch",
      remedy: "write the moment itself, or `:started_at`")
  }

  fileprivate static func largeObject(_ name: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "large-object", .warning, at: span, "\(name)() changes a large object, which undo does not keep",
      remedy: "revert brings the number back and not what it names; keep a copy: `SELECT lo_get(…)` into a bytea column"
    )
  }

  fileprivate static func volatileValue(_ name: String, column: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "volatile-value", .warning, at: span,
      "\(name)() gives another value each time, so \"\(column)\" is written in every row, changed or not",
      remedy: "revert restores the old value; to have the same values again use an expression of the row")
  }
}
