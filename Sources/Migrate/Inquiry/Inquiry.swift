internal import MigrateCatalog
internal import MigrateCompiler
internal import MigrateDefinition
internal import MigrateDiagnostics
internal import MigratePlan
internal import MigratePostgres
internal import MigrateSQL

/// The questions about one definition that only the database can answer: types, values, and how many rows.
struct Inquiry {
  let definition: Definition
  var catalog: Catalog
  let searchPath: [String]
  var problems: [Diagnostic] = []
  /// Told with the problems; by themselves they do not keep anybody from a plan.
  var unmetNeeds: [Diagnostic] = []
  /// What is wrong with what the steps read of joins and of `let`, taken together.
  var ofCarried: [Diagnostic] = []
  var parameters: [PlannedParameter] = []
  var types: [Int: DescribedType] = [:]
  /// Since when rows have been changed that the next run would do; `nil` is all rows.
  var since: String?

  init(_ definition: Definition, _ catalog: Catalog, searchPath: [String]) {
    self.definition = definition
    self.catalog = catalog
    self.searchPath = searchPath
  }

  /// What the database has understood.
  var understood: [Probe] = []

  var zone: String { definition.operation.timezone?.value ?? "UTC" }

  /// The zone, unless the database has just refused it.
  var knownZone: String { problems.contains { $0.code == "unknown-zone" } ? "UTC" : zone }

  /// A transaction that cannot write, with the settings that decide about the meaning of a text.
  func begin(_ connection: borrowing Connection, zone: String) throws(PostgresError) {
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

  mutating func checkWindow(_ connection: borrowing Connection) throws(PostgresError) {
    guard let said = definition.operation.window else { return }
    do throws(PostgresError) {
      try connection.query("SELECT now() AT TIME ZONE $1::text", [said.value.zone])
    } catch {
      if error.endsConnection { throw error }
      problems.append(.unknownWindowZone(said.value.zone, at: said.span))
    }
  }

  static let explain = "EXPLAIN (FORMAT JSON) "

  /// The values to bind; NULL for a parameter whose value could not be read.
  func arguments(of sql: RenderedSQL, share: Double? = nil) -> [String?] {
    var values: [String: String?] = [
      ":run_id": "0", ":started_at": "2000-01-01 00:00:00+00", Sample.shareRole: share.map { String($0) },
      "since": since, "since.none": String(since == nil),
    ]
    for parameter in parameters { values.updateValue(parameter.value, forKey: ":" + parameter.name) }
    return sql.parameters.map { values[$0.role] ?? nil }
  }
}

extension Diagnostic {
  fileprivate static func unknownWindowZone(_ name: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "bad-window", at: span, "no time zone \"\(name)\"",
      remedy: "for instance `Europe/Berlin`, `Asia/Shanghai`, `UTC`; all of them: `SELECT name FROM pg_timezone_names`")
  }

  fileprivate static func unknownZone(_ name: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "unknown-zone", at: span, "no time zone \"\(name)\"",
      remedy: "for instance `Europe/Berlin`, `Asia/Shanghai`, `UTC`; all of them: `SELECT name FROM pg_timezone_names`")
  }
}
