import Migrate
import MigrateTestSupport
import RegexBuilder
import TestSupport
import Testing

@Suite struct `What plan prints is what runs` {
  static let yaml = """
    batch: raise
    source: {table: shop.products, as: p}
    params: {factor: {type: numeric, default: 1.05}}
    where: p.state = 'active' AND note <> '{run}'
    set:
      price: |
        CASE WHEN id = 25 THEN price ELSE round(price * :factor, 2) END
      tags: |
        CASE WHEN id = 25 THEN tags ELSE array_append(tags, '{run}') END
    checks:
      before:
        none is free: SELECT id FROM shop.products WHERE price = 0
      batch:
        none has become cheaper: SELECT b.id FROM batch AS b JOIN shop.products AS p USING (id) WHERE p.price < b.price
      after:
        none is dear: SELECT id FROM shop.products WHERE price > 1000
    """

  static let schema = """
    CREATE SCHEMA shop;
    CREATE TABLE shop.products (id integer PRIMARY KEY, state text, note text NOT NULL, price numeric, tags text[]);
    INSERT INTO shop.products SELECT n, 'active', '', n, '{}' FROM generate_series(1, 25) AS n;
    CREATE FUNCTION shop.seen() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
    CREATE TRIGGER seen AFTER UPDATE ON shop.products FOR EACH ROW EXECUTE FUNCTION shop.seen()
    """

  /// With a trigger and an array, which must be read back, and without, where the capture foresees what the rows become.
  @Test(arguments: [false, true])
  func `character for character, the run's own number aside`(isForeseen: Bool) async throws {
    let tags = """
        tags: |
          CASE WHEN id = 25 THEN tags ELSE array_append(tags, '{run}') END

      """
    // The log is one for all: names keep the two cases apart.
    let (name, starter) = isForeseen ? ("foreseen", "begins foreseen") : ("raise", "begins")
    let yaml =
      isForeseen ? Self.yaml.replacing(tags, with: "").replacing("batch: raise", with: "batch: foreseen") : Self.yaml
    try await withLedger(loggingStatements: true) { server in
      try await server.psql(Self.schema)
      if isForeseen { try await server.psql("DROP TRIGGER seen ON shop.products") }
      let log = try await TestCluster.shared.log
      let mark = try await log.mark(server)
      let begins = server.applicationName(starter)
      let applied = try await migrated(yaml, on: begins, batchSize: 10)
      #expect(applied.outcome == .completed(leftBehind: 0))
      #expect(try await reverted(applied.run, on: begins) == .reverted(conflicts: 0))

      let shown = Preview(applied.plan).sql
      let planned = applied.plan.phases.map { phase in (phase.name, phase.statements.map { numbered($0, applied.run) })
      }
      let texts = Set(planned.flatMap(\.1))
      let sent = try await log.statements(application: "migrate run \(applied.run) \(name)", since: mark, server).map(
        \.text)
      let begun = try await log.statements(application: starter, since: mark, server).map(\.text)

      // Whatever names the table, or the run's own objects, is the plan's.
      let ours = (sent + begun).filter {
        $0.contains("\"shop\".\"products\"") && !$0.contains("EXPLAIN") && !$0.hasPrefix("SELECT FROM")
      }
      let run = sent.filter {
        $0.contains("shop\".\"products") || $0.contains("undo_\(applied.run)_") || $0.contains("shop.products")
      }
      #expect(!run.isEmpty)
      // Each batch is opened by one message, of the plan's settings and its lock.
      let opening = [Statement.Name.settings, .lock].compactMap { name in
        applied.plan.statements(.batches).first { $0.name == name }.map { numbered($0, applied.run) }
      }.joined(separator: "; ")
      let look = Regex {
        "; \(opening); SELECT migrate.guard_table(\(applied.run)"
        Optionally {
          ", CAST('"
          OneOrMore(.digit)
          "' AS xid8)"
        }
        ")"
      }
      for text in run where text.firstMatch(of: look)?.range.upperBound != text.endIndex {
        #expect(texts.contains(text), "not in the plan:\n\(text)")
      }
      #expect(ours.count >= run.count / 2)

      // And whatever the plan has was sent, apart from the second ways of doing a thing.
      let others: Set<Statement.Name> = [
        .captureLocked, .seize, .restoreForced, .look, isForeseen ? .conflictsAhead : .look,
      ]
      for phase in applied.plan.phases {
        for statement in phase.statements where !others.contains(statement.name) {
          let text = numbered(statement, applied.run)
          let found = (sent + begun).contains {
            $0 == text || ([.settings, .lock].contains(statement.name) && $0.contains("; " + text + "; "))
          }
          #expect(found, "not sent: \(phase.name) \(statement.name)")
          #expect(shown.contains(statement.text))
        }
      }
      // Each batch in the order of the plan; in the first one every row changes, and the capture tells all where it can.
      #expect(applied.plan.statements(.batches).contains { $0.name == .changeAsCaptured } == isForeseen)
      let batches = applied.plan.statements(.batches).filter {
        ![.settings, .lock, .captureLocked, isForeseen ? .change : .settings].contains($0.name)
      }.map {
        numbered($0, applied.run)
      }
      let first = sent.drop { $0 != batches[0] }.prefix(batches.count)
      #expect(Array(first) == batches)

      // What the ledger has stored is what was sent, too.
      let stored = try await server.psql("SELECT text FROM migrate.statements").compactMap { $0[0] }
      #expect(Set(stored) == texts)
      #expect(try await server.psql("SELECT definition.text FROM migrate.definitions AS definition") == [[yaml]])
    }
  }

  /// The text with the run's number where the compiler has put the token, and nowhere else.
  private func numbered(_ statement: Statement, _ run: Int64) -> String {
    var bytes = Array(statement.text.utf8)
    for place in statement.runAt.reversed() {
      bytes.replaceSubrange(place..<place + "{run}".utf8.count, with: String(run).utf8)
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// DECISIONS: the same bytes from `--json` and in the ledger.
  @Test func `and what the ledger stores is what --json prints`() async throws {
    try await withLedger { server in
      try await server.psql(Self.schema)
      let plan = try await compiled(Self.yaml, on: server).plan
      let applied = try await migrated(Self.yaml, on: server)
      #expect(applied.plan == plan)
      let stored = try await server.psql("SELECT plan::text, plan = $json$\(plan.json)$json$::jsonb FROM migrate.runs")
      #expect(stored[0][1] == "t")
    }
  }

  /// S10: plan writes nothing, calls nothing that does, and needs no right to.
  @Test func `S10: and to plan leaves no trace`() async throws {
    try await withDatabase { server in
      try await server.psql(
        "CREATE TABLE t (id integer PRIMARY KEY, v integer); CREATE SEQUENCE s; INSERT INTO t VALUES (1, 1)")
      _ = try await compiled("batch: b\nsource: t\nset:\n  v: nextval('public.s')::integer", on: server)
      #expect(try await server.psql("SELECT is_called FROM s") == [["f"]])
      #expect(try await server.psql("SELECT to_regnamespace('migrate')") == [[nil]])
    }
  }
}
