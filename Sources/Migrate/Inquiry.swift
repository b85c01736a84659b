internal import MigrateCatalog
internal import MigrateCompiler
internal import MigrateDefinition
internal import MigrateDiagnostics
internal import MigrateJSON
internal import MigratePlan
internal import MigratePostgres
internal import MigrateSQL

/// The questions about one definition that only the database can answer: types, values, and how many rows.
struct Inquiry {
  let definition: Definition
  let catalog: Catalog
  let searchPath: [String]
  private(set) var problems: [Diagnostic] = []
  /// Told with the problems; by themselves they do not keep anybody from a plan.
  var unmetNeeds: [Diagnostic] = []
  private(set) var parameters: [PlannedParameter] = []
  private(set) var types: [Int: DescribedType] = [:]

  init(_ definition: Definition, _ catalog: Catalog, searchPath: [String]) {
    self.definition = definition
    self.catalog = catalog
    self.searchPath = searchPath
  }

  /// What the database has understood.
  private var understood: [Probe] = []

  private var zone: String { definition.operation.timezone?.value ?? "UTC" }

  /// The zone, unless the database has just refused it.
  private var knownZone: String { problems.contains { $0.code == "unknown-zone" } ? "UTC" : zone }

  /// A transaction that cannot write, with the settings that decide about the meaning of a text.
  private func begin(_ connection: borrowing Connection, zone: String) throws(PostgresError) {
    let schemas = (["pg_catalog"] + searchPath).map { Identifier(trusted: $0).quoted } + ["pg_temp"]
    try connection.execute(
      """
      BEGIN READ ONLY;
      SET LOCAL search_path = \(schemas.joined(separator: ", "));
      SET LOCAL timezone = \(Literal(zone).quoted);
      SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL intervalstyle = 'postgres'; SET LOCAL extra_float_digits = 1;
      SET LOCAL bytea_output = 'hex'; SET LOCAL standard_conforming_strings = on; SET LOCAL jit = off
      """)
  }

  mutating func checkZone(_ connection: borrowing Connection) throws(PostgresError) {
    guard let said = definition.operation.timezone else { return }
    do throws(PostgresError) {
      try begin(connection, zone: said.value)
      try connection.execute("COMMIT")
    } catch {
      if error.endsConnection { throw error }
      try connection.execute("ROLLBACK")
      problems.append(.unknownZone(said.value, at: said.span))
    }
  }

  // MARK: Parameters

  /// Each value is cast by the database and read back, so that one value has one spelling (`1.050` and `1.05` are two).
  mutating func readParameters(_ connection: borrowing Connection, _ request: CompileRequest) throws(PostgresError) {
    let declared = definition.operation.parameters
    for given in request.parameters
    where !declared.contains(where: { $0.name.value.utf8.elementsEqual(given.name.utf8) }) {
      problems.append(
        .unknownParameter(given.name, nearest: Suggestion.nearest(to: given.name, among: declared.map(\.name.value))))
    }
    for declaration in declared {
      guard let known = catalog.types[declaration.type.value], let type = known else { continue }
      let name = declaration.name.value
      let given = request.parameters.last { $0.name.utf8.elementsEqual(name.utf8) }
      guard given != nil || declaration.defaultValue != nil else {
        problems.append(.missingParameter(name, type: type.name.spelling, at: declaration.name.span))
        continue
      }
      let text = given.map { $0.value } ?? declaration.defaultValue?.value.parameterText
      do throws(PostgresError) {
        try begin(connection, zone: knownZone)
        let value = try connection.query(
          "SELECT CAST(CAST($1::text AS \(type.name.spelling)) AS text) AS value", [text])
        try connection.execute("COMMIT")
        parameters.append(PlannedParameter(name: name, type: type.name.spelling, value: try value.onlyRow["value"]))
      } catch {
        if error.endsConnection { throw error }
        try connection.execute("ROLLBACK")
        problems.append(
          .unfitValue(
            text ?? "NULL", name: name, type: type.name.spelling, reason: error.message,
            at: given == nil ? declaration.defaultValue?.span : nil))
      }
    }
  }

  // MARK: Types

  mutating func describe(_ connection: borrowing Connection, _ probes: [Probe]) throws(PostgresError) {
    try begin(connection, zone: knownZone)
    for probe in probes {
      do throws(PostgresError) {
        let columns = try connection.describe(probe.sql.text)
        understood.append(probe)
        if let assignment = probe.assignment, let column = columns.first {
          types[assignment] = DescribedType(oid: Int(column.type), modifier: Int(column.modifier))
        }
      } catch {
        try refuse(error, in: probe.sql, connection)
      }
    }
    try connection.execute("COMMIT")
  }

  /// What only the planner finds, of each expression by itself: where one thing is wrong already, the whole statement cannot be
  /// planned, and would tell one thing more at a time.
  mutating func explainEach(_ connection: borrowing Connection, _ resolution: Resolution) throws(PostgresError) {
    try begin(connection, zone: knownZone)
    for probe in understood {
      guard let sql = resolution.alone(probe, probe.assignment.flatMap { types[$0] }) else { continue }
      do throws(PostgresError) { try connection.query(Self.explain + sql.text, arguments(of: sql)) } catch {
        try refuse(error, in: sql, behind: Self.explain, connection)
      }
    }
    try connection.execute("COMMIT")
  }

  private mutating func refuse(
    _ error: PostgresError, in sql: RenderedSQL, behind prefix: String = "", _ connection: borrowing Connection
  ) throws(PostgresError) {
    if error.origin != .server || error.endsConnection { throw error }
    try connection.execute("ROLLBACK")
    try begin(connection, zone: knownZone)
    let name = Diagnostic.unknownRelation(error, in: sql, behind: prefix)
    let home = try name.flatMap { (name) throws(PostgresError) in try onlyHome(of: name, connection) }
    problems.append(Diagnostic(error, in: sql, behind: prefix, of: definition, catalog, home: home))
  }

  /// The table called `name`, when one schema alone has such a one.
  private func onlyHome(
    of name: String, _ connection: borrowing Connection
  ) throws(PostgresError) -> QualifiedName? {
    let rows = try connection.query(
      """
      SELECT n.nspname AS schema
      FROM   pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
      WHERE  c.relname = $1::text COLLATE "C" AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
        AND  n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'migrate')
      LIMIT  2
      """, [name])
    guard rows.count == 1, let row = rows.first else { return nil }
    return QualifiedName(schema: Identifier(trusted: try row.text("schema")), name: Identifier(trusted: name))
  }

  // MARK: Losses

  /// What a sample shows of the assignments that may lose something. All at once costs one reading of the sample; one that
  /// cannot be computed hides the others, and they are then asked one by one.
  private func sampled(
    _ connection: borrowing Connection, _ batch: NamedBatch
  ) throws(PostgresError) -> [Int: Sampled] {
    let lossy = batch.lossy(types)
    guard !lossy.isEmpty else { return [:] }
    let together = try count(lossy, connection, batch)
    guard lossy.count > 1, together.values.contains(where: \.hasFailed) else { return together }
    var samples: [Int: Sampled] = [:]
    for index in lossy { samples.merge(try count([index], connection, batch)) { $1 } }
    return samples
  }

  private func count(
    _ chosen: [Int], _ connection: borrowing Connection, _ batch: NamedBatch
  ) throws(PostgresError) -> [Int: Sampled] {
    let sample = batch.sample(chosen, types)
    do throws(PostgresError) {
      try begin(connection, zone: zone)
      // A plan is looked at, and nobody waits for an expression that reads half the database for each row.
      try connection.execute("SET LOCAL statement_timeout = '1s'")
      let values = arguments(of: sample.sql, share: sample.share)
      let counts = try connection.query(sample.sql.text, values).onlyRow.values.map { Int($0 ?? "") ?? 0 }
      try connection.execute("COMMIT")
      let found = counts.dropFirst().map { Sampled.counted(rows: counts[0], lossy: $0) }
      return Dictionary(uniqueKeysWithValues: zip(chosen, found))
    } catch {
      if error.origin != .server || error.endsConnection { throw error }
      try connection.execute("ROLLBACK")
      return Dictionary(uniqueKeysWithValues: chosen.map { ($0, .failed(reason: error.message)) })
    }
  }

  // MARK: The plan

  mutating func lower(
    _ connection: borrowing Connection, _ resolution: Resolution, _ request: CompileRequest
  ) throws(CompileFailure) -> Compilation {
    let batch: NamedBatch
    do throws(Diagnostics) { batch = try resolution.batch(besides: problems) } catch {
      throw .refused(Diagnostics(source: error.source, error.all + unmetNeeds))
    }
    do throws(PostgresError) {
      let identity = try identity(connection)
      let (types, parameters, searchPath) = (types, parameters, searchPath)
      func lower(rows: Int, _ coverage: Coverage = .walked, _ samples: [Int: Sampled] = [:]) -> Compilation {
        Compiler.lower(
          batch, types: types,
          CompileInputs(
            identity: identity, parameters: parameters, searchPath: searchPath, batchSize: request.batchSize,
            estimatedRows: rows, coverage: coverage, samples: samples))
      }
      let draft = lower(rows: 0)
      do throws(PostgresError) {
        let rows = try estimate(connection, draft.explainable)
        let coverage = try coverage(connection, rows: rows, walk: draft.walk)
        return lower(rows: rows, coverage, try sampled(connection, batch))
      } catch {
        if error.endsConnection || error.origin != .server { throw error }
        try connection.execute("ROLLBACK")
        try explainEach(connection, resolution)
        if problems.isEmpty {
          problems.append(Diagnostic(error, in: draft.explainable, behind: Self.explain, of: definition, catalog))
        }
      }
    } catch { throw .database(error) }
    throw .refused(Diagnostics(source: definition.source, problems + unmetNeeds))
  }

  /// SHA-256 over name, search path and values. Not over the text: a definition that was changed is still the same work.
  private func identity(_ connection: borrowing Connection) throws(PostgresError) -> String {
    let document = JSON.object([
      .init("name", .string(definition.name.value)),
      .init("search_path", .strings(searchPath)),
      .init("parameters", .object(parameters.map { .init($0.name, .optional($0.value)) })),
    ])
    return try connection.sha256(of: document.compact)
  }

  /// Walking is the rule. Where less than one row in twenty is eligible and no index leads to them, every walk would read the
  /// table between two of them; on a small table that is nothing.
  private func coverage(
    _ connection: borrowing Connection, rows: Int, walk: RenderedSQL?
  ) throws(PostgresError) -> Coverage {
    guard let walk, let table = catalog.asked.first.flatMap({ $0 }), let all = table.estimatedRows, all >= 100_000,
      rows * 20 < all
    else { return .walked }
    guard let plan = try explained(connection, walk) else { return .walked }
    return plan.holdsIndexCondition ? .walked : .collected
  }

  private static let explain = "EXPLAIN (FORMAT JSON) "

  /// Rows that the planner expects the change to meet.
  private func estimate(_ connection: borrowing Connection, _ change: RenderedSQL) throws(PostgresError) -> Int {
    let child = try explained(connection, change)?["Plans"]?.elements.first
    return Int(child?["Plan Rows"]?.double ?? 0)
  }

  /// The top node of a statement's plan.
  private func explained(_ connection: borrowing Connection, _ change: RenderedSQL) throws(PostgresError) -> JSON? {
    try begin(connection, zone: zone)
    let answer = try connection.query(Self.explain + change.text, arguments(of: change)).onlyRow.text(0)
    try connection.execute("COMMIT")
    return (try? JSON(answer))?.elements.first?["Plan"]
  }

  /// The values to bind; NULL for a parameter whose value could not be read.
  private func arguments(of sql: RenderedSQL, share: Double? = nil) -> [String?] {
    var values: [String: String?] = [
      ":run_id": "0", ":started_at": "2000-01-01 00:00:00+00", Sample.shareRole: share.map { String($0) },
    ]
    for parameter in parameters { values.updateValue(parameter.value, forKey: ":" + parameter.name) }
    return sql.parameters.map { values[$0.role] ?? nil }
  }
}

extension JSON {
  /// Whether an index narrows the rows down anywhere in a plan.
  fileprivate var holdsIndexCondition: Bool {
    self["Index Cond"] != nil || self["Recheck Cond"] != nil
      || (self["Plans"]?.elements ?? []).contains(where: \.holdsIndexCondition)
  }
}

extension Sampled {
  fileprivate var hasFailed: Bool {
    switch self {
    case .counted: false
    case .failed: true
    }
  }
}

extension Constant {
  /// The text that a parameter's type reads; `nil` is NULL. A list becomes an array.
  var parameterText: String? {
    switch self {
    case .null: nil
    case .bool(let value): value ? "true" : "false"
    case .number(let digits): digits
    case .text(let text): text
    case .list(let items): ArrayText.literal(items.map(\.parameterText))
    case .map(let members): JSON.object(members.map { .init($0.key, .optional($0.value.parameterText)) }).compact
    }
  }
}

extension Diagnostic {
  fileprivate static func unknownZone(_ name: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "unknown-zone", at: span, "no time zone \"\(name)\"",
      remedy: "for instance `Europe/Berlin`, `Asia/Shanghai`, `UTC`; all of them: `SELECT name FROM pg_timezone_names`")
  }

  fileprivate static func unknownParameter(_ name: String, nearest: String?) -> Diagnostic {
    Diagnostic(
      "unknown-parameter", at: nil, "this definition has no parameter \"\(name)\"",
      remedy: nearest.map { "did you mean `--param \($0)=…`?" } ?? "its parameters stand under `params:`")
  }

  fileprivate static func missingParameter(_ name: String, type: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "missing-parameter", at: span, "parameter \"\(name)\" (\(type)) has no value and no default",
      remedy: "`--param \(name)=…`, or `params: {\(name): {type: \(type), default: …}}`")
  }

  /// 47
  fileprivate static func unfitValue(
    _ value: String, name: String, type: String, reason: String, at span: SourceSpan?
  ) -> Diagnostic {
    let examples = [
      "numeric": "1.05", "integer": "42", "bigint": "42", "date": "2026-01-31", "boolean": "true",
      "timestamp with time zone": "2026-01-31T12:00:00Z", "uuid": "3f0c9a52-…", "text[]": "{a,b}",
    ]
    return Diagnostic(
      "unfit-value", at: span, "\"\(value)\" is no \(type) (parameter \(name))",
      remedy: examples[type].map { "for instance `--param \(name)=\($0)`" } ?? "PostgreSQL says: \(reason)")
  }
}
