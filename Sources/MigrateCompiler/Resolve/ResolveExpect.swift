internal import MigrateCatalog
internal import MigrateDefinition
internal import MigrateDiagnostics
internal import MigratePlan
internal import MigrateSQL

/// An expectation with its SQL, where it has any.
struct ParsedExpectation: Sendable {
  let expectation: Expectation
  /// What is aggregated; `nil` for what the ledger counts anyhow, and for `count(*)`.
  let value: SQLExpression?
}

/// An aggregate whose names have met the images of the changed rows.
struct NamedMeasure: Sendable {
  let name: String
  /// Over a row `d` of old and new values; `nil` counts the rows.
  let value: SQL?
  let columns: [SQL]
}

extension Resolver {
  private static let old = Identifier(trusted: "old")
  private static let new = Identifier(trusted: "new")

  /// The aggregates, which see what undo keeps of a row: the columns that are set, as they were and as they became.
  mutating func resolveMeasures(kept undo: ResolvedUndo, _ parameters: Parameters) -> [NamedMeasure] {
    var columns: [Column] = []
    if case .captured(let captured, _) = undo { columns = captured }
    return parsed.expectations.compactMap { parsed in
      guard case .aggregate = parsed.expectation.subject else { return nil }
      let name = parsed.expectation.name
      if case .none = operation.undo {
        problems.append(.aggregateWithoutUndo(name.value, at: name.span))
        return nil
      }
      guard let value = parsed.value else { return NamedMeasure(name: name.value, value: nil, columns: []) }
      return measure(name, value, columns, parameters)
    }
  }

  private mutating func measure(
    _ name: Located<String>, _ value: SQLExpression, _ kept: [Column], _ parameters: Parameters
  ) -> NamedMeasure? {
    let count = problems.count
    checkParameterUse(value, parameters)
    var edits: [(range: Range<Int>, piece: SQL.Piece)] = []
    for use in value.columns where use.scope == .top {
      guard let image = use.qualifier?.name, image == Self.old || image == Self.new, use.parts.count == 2,
        let part = use.column, let column = kept.first(where: { $0.name == part.name })
      else {
        // What `set` would keep is not known then, and why has been told.
        guard isSetKnown else { return nil }
        problems.append(
          .notAnImage(value.text(of: use.range), kept: kept.map(\.name.name), at: value.span(of: use.range)))
        continue
      }
      let element: SQL = "d.\(image == Self.old ? Name.old(column) : Name.new(column))"
      edits.append((use.range, .block(column.isWrapped ? "(\(element)).v" : element)))
    }
    for use in value.parameters {
      if let parameter = resolvedParameters[use.name] { edits.append((use.range, .parameter(parameter))) }
    }
    guard problems.count == count else { return nil }
    let rewritten = SQL(value, replacing: edits)
    let arrays: [SQL] = kept.flatMap { [Name.old($0), Name.new($0)] }
    let nulls: [SQL] = kept.flatMap { column -> [SQL] in
      let type: SQL = column.isWrapped ? "ROW(CAST(NULL AS \(column.base)))" : "CAST(NULL AS \(column.base))"
      return ["\(type) AS \(Name.old(column))", "\(type) AS \(Name.new(column))"]
    }
    // A row's `.v` is a name of the wrapper alone, which does not exist yet.
    if !kept.contains(where: \.isWrapped) {
      ask(.check, "SELECT sum(CAST((\(rewritten)) AS numeric)) FROM (SELECT \(list: nulls)) AS d")
    }
    return NamedMeasure(name: name.value, value: rewritten, columns: arrays)
  }

  private var isSetKnown: Bool {
    operation.isSetWhole
      && parsed.values.allSatisfy { value in
        switch value {
        case .unreadable: false
        case .sql, .text, .constant: true
        }
      }
  }

  private mutating func checkParameterUse(_ text: any SQLText, _ parameters: Parameters) {
    for use in text.parameters {
      usedParameters.insert(use.name)
      let isDeclared = operation.parameters.contains { Identifier(trusted: $0.name.value) == use.name }
      guard parameters[use.name] == nil, !isDeclared else { continue }
      problems.append(.undeclaredParameter(use.name.name, at: text.span(of: use.range), nearest: nil))
    }
  }
}

extension SQLExpression {
  fileprivate func text(of range: Range<Int>) -> String { String(decoding: Array(text.utf8)[range], as: UTF8.self) }
}

extension Expectation {
  var planned: PlannedExpectation {
    let (of, text): (String, String) =
      switch subject {
      case .rows: ("rows", "rows")
      case .changed: ("changed", "changed")
      case .rejects: ("rejects", "rejects")
      case .aggregate(let function, let fragment): (function.rawValue, "\(function.rawValue)(\(fragment.text))")
      }
    return PlannedExpectation(
      name: name.value, of: of, text: text, least: bounds.least, isLeastIncluded: bounds.isLeastIncluded,
      most: bounds.most, isMostIncluded: bounds.isMostIncluded, isPercent: bounds.isPercent)
  }
}

extension Diagnostic {
  fileprivate static func aggregateWithoutUndo(_ name: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "bad-expectation", at: span, "`\(name)` looks at old and new values, and `undo: none` keeps none",
      remedy: "leave `undo` out, or expect `rows`, `changed` and `rejects` only")
  }

  fileprivate static func notAnImage(_ name: String, kept: [String], at span: SourceSpan) -> Diagnostic {
    let example = kept.first ?? "price"
    return Diagnostic(
      "bad-expectation", at: span, "`\(name)` is neither an old nor a new value that is kept",
      remedy: "`old.\(example)` or `new.\(example)`; kept are \(kept.joined(separator: ", "))")
  }
}
