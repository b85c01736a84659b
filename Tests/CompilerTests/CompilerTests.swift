import Migrate
import MigrateJSON
import MigratePlan
import MigratePostgres
import MigrateTestSupport
import TestSupport
import Testing

@Suite struct `Each definition compiles to what stands beside it` {
  @Test(
    "from a recorded catalog, without a server", .enabled(if: !GoldenCase.isUpdating),
    arguments: GoldenCase.all(under: "Compiler"))
  func recorded(_ golden: GoldenCase) throws {
    let recording = Recording(
      catalog: try JSON(golden.text("catalog.json")), types: try JSON(golden.text("types.json")))
    let plan = try recording.compile(definition(golden.text("definition.yaml"))).plan
    try golden.expect(Preview(plan).sql, in: "apply.sql")
    try golden.expect(plan.json + "\n", in: "plan.json")
  }

  /// K30: it changes with every update and with VACUUM FULL.
  @Test("K30: no statement knows a row by its place on disk", arguments: GoldenCase.all(under: "Compiler"))
  func places(_ golden: GoldenCase) throws {
    #expect(try !golden.text("apply.sql").contains("ctid"))
  }

  @Test("and every statement runs on its schema, there and back", arguments: GoldenCase.all(under: "Compiler"))
  func runs(_ golden: GoldenCase) async throws {
    try await withDatabase { server in
      try await server.psql(golden.text("schema.sql"))
      let yaml = try golden.text("definition.yaml")
      if GoldenCase.isUpdating { try await record(golden, yaml, server) }
      let before = try await shop(server)

      var way = Way()
      way.begun = { run in try prepareAll(run, server) }
      let applied = try await migrated(yaml, on: server, way)
      try #require(applied.isComplete, "\(applied.outcome)")
      #expect(applied.counts.changed > 0)
      // The session asks the server itself: what it plans is what was recorded.
      try golden.expect(Preview(applied.plan).sql, in: "apply.sql")

      guard case .captured = applied.plan.steps[0].undo else { return }
      #expect(try await reverted(applied.run, on: server) == .reverted(conflicts: 0))
      let after = try await shop(server)
      #expect(before.differences(to: after) == [])
    }
  }

  /// The rows of the case's table, which a view of this name shows to the test.
  private func shop(_ server: Server) async throws -> Image { try await image(of: "public.kept", on: server) }

  private func record(_ golden: GoldenCase, _ yaml: String, _ server: Server) async throws {
    let recording = try await Recording.make(definition(yaml), on: server)
    try golden.expect(recording.catalog.pretty + "\n", in: "catalog.json")
    try golden.expect(recording.types.pretty + "\n", in: "types.json")
    let plan = try recording.compile(definition(yaml)).plan
    try golden.expect(Preview(plan).sql, in: "apply.sql")
    try golden.expect(plan.json + "\n", in: "plan.json")
  }
}

/// PostgreSQL reads and types every statement of the run; those of several commands are run with it.
@Sendable private func prepareAll(_ run: Int64, _ server: Server) throws {
  let connection = try Connection(to: server)
  let rows = try connection.query(
    """
    SELECT s.phase, s.name, s.text FROM migrate.statements AS s
    WHERE  s.run = $1::bigint AND s.phase <> 'prepare'
      AND  s.name NOT IN ('settings', 'drop undo', 'triggers off', 'triggers on')
    """, [String(run)])
  let settings = try connection.query(
    "SELECT text FROM migrate.statements WHERE run = $1::bigint AND name = 'settings'", [String(run)])
  try connection.execute("BEGIN; " + settings[0].text(0))
  for row in rows { _ = try connection.describe(row.text("text")) }
}
