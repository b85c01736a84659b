package import MigrateJSON

extension Plan {
  /// The number of the plan's form; a reader refuses one that is newer than it knows.
  public static let format = 1

  /// The plan as `plan --json` prints it and the ledger stores it: the same bytes.
  public var json: String { document.pretty }

  package var document: JSON {
    let head: [JSON.Member] = [
      .init("format", .integer(Self.format)),
      .init("definition", .string(definition)),
      .init("identity", .string(identity)),
      .init("search_path", .string(searchPath)),
      .init("parameters", .object(parameters.map { .init($0.name, $0.document) })),
      .init("needs", .strings(needs)),
    ]
    let expected: [JSON.Member] =
      expectations.isEmpty ? [] : [.init("expect", .array(expectations.map(\.document)))]
    let body: [JSON.Member] = [
      .init("key", .strings(key)),
      .init("phases", .array(phases.map(\.document))),
      .init("steps", .array(steps.map(\.document))),
      .init("warnings", .array(warnings.map(\.document))),
      .init("tables", .array(tables.map(\.document))),
    ]
    let targets: [JSON.Member] = written.isEmpty ? [] : [.init("written", .array(written.map(\.document)))]
    let estimated: [JSON.Member] = [
      .init(
        "estimate",
        .object([.init("rows", .integer(estimate.rows)), .init("undo_bytes", .integer(estimate.undoBytes))]))
    ]
    let workers: [JSON.Member] = parallel > 1 ? [.init("parallel", .integer(parallel))] : []
    let rejects: [JSON.Member] =
      [.init("on_error", .string(onError.rawValue))] + (maxRejects.map { [.init("max_rejects", .string($0))] } ?? [])
    let incremental: [JSON.Member] = incremental.map { [.init("incremental", .string($0))] } ?? []
    let publish: [JSON.Member] = isPublishedAtOnce ? [.init("publish", .string("at_once"))] : []
    let first: [JSON.Member] = canary.map { [.init("canary", $0.document)] } ?? []
    return .object(
      head + pace.members + workers + expected + incremental + publish + first + rejects + body + targets + estimated)
  }
}

extension PlannedParameter {
  fileprivate var document: JSON {
    .object([.init("type", .string(type)), .init("value", .optional(value))])
  }
}

extension Phase {
  fileprivate var document: JSON {
    .object([.init("name", .string(name.rawValue)), .init("statements", .array(statements.map(\.document)))])
  }
}

extension Statement {
  fileprivate var document: JSON {
    .object([
      .init("name", .string(name.description)),
      .init("step", step.map(JSON.integer) ?? .null),
      .init("why", .string(why)),
      .init("text", .string(text)),
      .init("arguments", .strings(arguments)),
      .init("run_at", .array(runAt.map(JSON.integer))),
    ])
  }
}

extension Step {
  fileprivate var document: JSON {
    let rules: [JSON.Member] =
      validation.isEmpty ? [] : [.init("validation", .array(validation.map(\.document)))]
    let members: [JSON.Member] = [
      .init("number", .integer(number)),
      .init("verb", .string(verb)),
      .init("table", .string(table)),
      .init("columns", .array(columns.map(\.document))),
      .init("where", filter.map(\.document) ?? .null),
    ]
    let read: [JSON.Member] = joins.isEmpty ? [] : [.init("joins", .array(joins.map(\.document)))]
    let computed: [JSON.Member] =
      lets.isEmpty
      ? []
      : [
        .init(
          "lets",
          .array(lets.map { .object([.init("name", .string($0.name)), .init("value", .string($0.value))]) }))
      ]
    let work: [JSON.Member] =
      self.work.map { work in
        [
          .init("relation", .optional(work.relation)), .init("match", .optional(work.match)),
          .init("from", .optional(work.from)),
        ]
      } ?? []
    return .object(members + work + read + computed + rules + [undo.member])
  }
}

extension WrittenColumn {
  fileprivate var document: JSON {
    .object([.init("name", .string(name)), .init("value", .string(value)), .init("place", place.document)])
  }
}

extension PlannedJoin {
  fileprivate var document: JSON {
    .object([
      .init("name", .string(name)), .init("rows", .string(rows)), .init("match", .string(match)),
      .init("missing", .string(missing)), .init("is_single", .bool(isSingle)),
    ])
  }
}

extension PlannedFilter {
  fileprivate var document: JSON { .object([.init("value", .string(value)), .init("place", place.document)]) }
}

extension PlannedRule {
  fileprivate var document: JSON {
    .object([.init("reason", .string(reason)), .init("value", .string(value)), .init("place", place.document)])
  }
}

extension DefinitionPlace {
  fileprivate var document: JSON {
    .object([
      .init("file", .string(file)), .init("line", .integer(line)), .init("column", .integer(column)),
      .init("width", .integer(width)), .init("text", .string(text)),
    ])
  }
}

extension Undo {
  fileprivate var member: JSON.Member {
    switch self {
    case .captured(let columns): .init("captured", .strings(columns))
    case .stays: .init("stays", .bool(true))
    case .unavailable(let reason): .init("unavailable", .string(reason))
    }
  }
}

extension PlanWarning {
  fileprivate var document: JSON {
    .object([
      .init("code", .string(code)),
      .init("line", line.map(JSON.integer) ?? .null),
      .init("message", .string(message)),
      .init("remedy", .string(remedy)),
    ])
  }
}

extension PlannedTable {
  fileprivate var document: JSON {
    let numbered: [JSON.Member] = runAt.isEmpty ? [] : [.init("run_at", .array(runAt.map(JSON.integer)))]
    return .object(
      [.init("name", .string(name))] + numbered + [
        .init("oid", .integer(oid)), .init("index", .string(index)),
        .init("columns", .array(columns.map(\.document))),
        .init("triggers", .array(triggers.map(JSON.string))),
      ])
  }
}

extension PlannedTarget {
  fileprivate var document: JSON {
    .object([
      .init("name", .string(name)), .init("oid", .integer(oid)), .init("columns", .array(columns.map(\.document))),
      .init("triggers", .strings(triggers)), .init("followers", .strings(followers)),
    ])
  }
}

extension PlannedColumn {
  fileprivate var document: JSON {
    .object([
      .init("name", .string(name)), .init("number", .integer(number)), .init("type", .string(type)),
      .init("type_oid", .integer(typeOID)),
    ])
  }
}
