import Migrate
import MigrateLedger
import MigratePlan
import MigratePostgres
import MigrateRunner
import MigrateTestSupport
import RunTestSupport
import TestSupport
import Testing

@Suite struct `A revert` {
  /// U06; the backend of a worker dies behind each statement of a batch.
  @Test(arguments: SteppedRevert.steps) func `U06: that is killed at a statement goes on`(last: SteppedPart)
    async throws
  {
    try await withAppliedShop { shop, run in
      try await shop.server.psql("SELECT migrate.advance(\(run), 'revert_requested')")
      try await withSessions("migrate run by hand", to: shop.server) { sessions in
        var revert = try await SteppedRevert(
          shop.trial, run: run, on: try #require(sessions["migrate run by hand"]), ordinal: 2)
        try await revert.run(through: last)
      }
      #expect(try await shop.trial.revert(run) == .reverted(conflicts: 0))
      #expect(try await shop.strangers.isEmpty)
      #expect(try await shop.counts(run, kind: "revert") == ["19", "19", "0"])
    }
  }

  /// P21; who may lock the table keeps a trigger waiting until the batch is back; who may update one column only cannot, and looks
  /// once more.
  @Test(
    arguments: [
      "BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION minus()",
      "AFTER UPDATE ON t FOR EACH STATEMENT EXECUTE FUNCTION elsewhere()",
    ], [true, false])
  func `P21: writes nothing through a trigger that comes into a batch`(trigger: String, mayLock: Bool) async throws {
    try await withDatabase { server in
      try await server.psql(
        """
        DO $$ BEGIN CREATE ROLE clerk LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
        CREATE TABLE t (id integer PRIMARY KEY, v integer);
        INSERT INTO t SELECT n, n FROM generate_series(1, 20) AS n;
        CREATE FUNCTION minus() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.v := -NEW.v; RETURN NEW; END $$;
        CREATE FUNCTION elsewhere() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
        BEGIN
          IF pg_trigger_depth() = 1 THEN UPDATE public.t SET v = 0 WHERE id = 1; END IF;
          RETURN NULL;
        END $$;
        GRANT SELECT, UPDATE \(mayLock ? "" : "(v)") ON t TO clerk;
        DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO clerk', current_database()); END $$
        """)
      let clerk = Trial(server.setting("user", "clerk"))
      let plan = try await clerk.plan("batch: b\nsource: t\nset: {v: v + 1}\nbatch_size: 10").patient()
      // Between the look and the restore. A revert runs only what it knows by name.
      let run = try await clerk.begin(
        plan.editing(.revert) { statement in
          guard statement.name == .mark else { return [statement] }
          return [
            statement.with(
              text:
                "WITH gate AS MATERIALIZED (SELECT pg_advisory_xact_lock_shared(7)) \(statement.text) AND EXISTS (SELECT FROM gate)"
            )
          ]
        })
      #expect(try await clerk.apply(run) == .completed(leftBehind: 0))
      let outcome = try await withSessions("holder", "changer", to: server) { sessions in
        let (holder, changer) = (try #require(sessions["holder"]), try #require(sessions["changer"]))
        try await holder.execute("SELECT pg_advisory_lock(7)")
        return try await clerk.reverting(run, .stop) {
          try await clerk.waitUntilWorkerBlocked(by: holder)
          try changer.start("CREATE TRIGGER late \(trigger)")
          if mayLock {
            try await clerk.wait(until: "SELECT cardinality(pg_blocking_pids(\(try await changer.pid))) > 0")
          } else {
            try await changer.finish()
          }
          try await holder.execute("SELECT pg_advisory_unlock(7)")
          if mayLock { try await changer.finish() }
        }
      }
      guard case .failed(let failure) = outcome else {
        Issue.record("it has not stopped: \(outcome)")
        return
      }
      #expect(failure.sqlState == "55000" && failure.message.contains("trigger late"), "\(failure.message)")
      #expect(try await server.psql("SELECT count(*) FROM t WHERE v = id + 1") == [[mayLock ? "10" : "20"]])
      try await server.psql("DROP TRIGGER late ON t")
      #expect(try await clerk.revert(run) == .reverted(conflicts: 0))
      #expect(try await server.psql("SELECT count(*) FROM t WHERE v = id") == [["20"]])
    }
  }

  /// C10, on the way back.
  @Test(arguments: [SteppedPart.begin, .statement(.mark), .statement(.restore)])
  func `C10: that was taken over changes nothing`(last: SteppedPart) async throws {
    try await withAppliedShop { shop, run in
      try await shop.server.psql("SELECT migrate.advance(\(run), 'revert_requested')")
      try await withSessions("migrate run by hand", to: shop.server) { sessions in
        var zombie = try await SteppedRevert(
          shop.trial, run: run, on: try #require(sessions["migrate run by hand"]), ordinal: 2)
        try await zombie.run(through: last)
        #expect(try await shop.trial.value("SELECT migrate.take_over(\(run), 2)") == "3")
        #expect(try await zombie.conclude() == .takenOver)
      }
      #expect(try await shop.trial.revert(run) == .reverted(conflicts: 0))
      #expect(try await shop.strangers.isEmpty)
    }
  }

  /// U05
  @Test func `U05: of a batch waits for another one of it, and then finds nothing to do`() async throws {
    #expect(try await secondRevert() == .doneAlready)
  }

  @Test(arguments: [Mutant.markingAgain, Mutant.withoutMark])
  func `U05: does it twice when the mark says nothing: that mutant dies`(
    mutant: @Sendable (Plan) throws -> Plan
  ) async throws {
    // The ledger's own key is what is left to keep it out.
    #expect(try await secondRevert(edit: mutant) == .failed(.uniqueViolation))
  }

  private func secondRevert(edit: (Plan) throws -> Plan = { $0 }) async throws -> SteppedRevert.End? {
    var end: SteppedRevert.End?
    try await withAppliedShop(edit: edit) { shop, run in
      try await shop.server.psql("SELECT migrate.advance(\(run), 'revert_requested')")
      try await withSessions("migrate run one", "migrate run two", to: shop.server) { sessions in
        let (one, two) = (try #require(sessions["migrate run one"]), try #require(sessions["migrate run two"]))
        var first = try await SteppedRevert(shop.trial, run: run, on: one, ordinal: 2)
        var second = try await SteppedRevert(shop.trial, run: run, on: two, ordinal: 2)
        try await first.run(through: .statement(.restore))
        try await second.run(through: .begin)
        try second.start()
        try await two.waitUntilBlocked(by: one)
        #expect(try await first.conclude() == .committed)
        try await second.finish()
        end = try await second.conclude()
      }
      #expect(try await shop.conflicts(run).isEmpty)
    }
    return end
  }

  /// U05
  @Test func `U05: by two workers at once takes each batch back once`() async throws {
    try await withShop(rows: 300) { shop in
      let run = try await shop.begin()
      try await shop.trial.apply(run)
      try await shop.server.psql("SELECT migrate.advance(\(run), 'revert_requested')")
      let entered = try await shop.trial.run(run)
      let server = shop.server.applicationName("migrate run \(run)")
      let outcomes = try await withThrowingTaskGroup(of: RunOutcome.self) { group in
        for number in 1...2 {
          group.addTask {
            try await onThread {
              var worker = try Worker(server: server, run: entered, number: number, control: RunControl()) { _ in }
              return try worker.revert(onConflict: .skip)
            }
          }
        }
        return try await group.reduce(into: [RunOutcome]()) { $0.append($1) }
      }
      #expect(outcomes == [.reverted(conflicts: 0), .reverted(conflicts: 0)])
      #expect(try await shop.counts(run, kind: "revert") == ["299", "299", "0"])
      #expect(try await shop.strangers.isEmpty)
    }
  }

  /// U05
  @Test(arguments: [ConflictPolicy.skip, .stop])
  func `U05: that waits while another one takes back the last batch, and drops the undo, ends as that one did`(
    policy: ConflictPolicy
  ) async throws {
    try await withAppliedShop { shop, run in
      try await shop.server.psql("SELECT migrate.advance(\(run), 'revert_requested')")
      let entered = try await shop.trial.run(run)
      let server = shop.server.applicationName("migrate run \(run)")
      try await withSessions("other", to: shop.server) { sessions in
        let other = try #require(sessions["other"])
        try await other.execute("BEGIN; LOCK TABLE migrate.undo_\(run)_1")
        async let outcome = onThread {
          var worker = try Worker(server: server, run: entered, control: RunControl()) { _ in }
          return try worker.revert(onConflict: policy)
        }
        try await shop.trial.waitUntilWorkerBlocked(by: other)
        try await other.execute(
          """
          INSERT INTO migrate.batches (run, kind, slice, ordinal, part, through_key, rows_read, rows_changed, rows_unchanged, epoch, exact)
          SELECT run, 'revert', slice, ordinal, part, through_key, rows_read, rows_changed, rows_unchanged, epoch, exact
          FROM   migrate.batches WHERE run = \(run);
          DROP TABLE migrate.undo_\(run)_1;
          COMMIT
          """)
        #expect(try await outcome == .reverted(conflicts: 0))
      }
    }
  }

  /// U05; who applies has looked at the run before somebody turned it.
  @Test func `U05: that has begun since apply looked keeps its direction`() async throws {
    try await withAppliedShop { shop, run in
      try await shop.server.psql("SELECT migrate.advance(\(run), 'revert_requested'); SELECT migrate.pause(\(run))")
      try await shop.server.psql("SELECT migrate.advance(\(run), 'batch_edge_reached')")
      let server = shop.server
      let refused = await #expect(throws: RunRefusal.self) {
        try await onThread { _ = try Runs(on: server).enter(run, only: .apply) }
      }
      guard case .refused(let message, _) = refused else { throw TestSupportError("\(String(describing: refused))") }
      #expect(message.contains("is being taken back"))
      #expect(try await shop.server.psql("SELECT state FROM migrate.runs") == [["paused"]])
      #expect(try await onThread { try Runs(on: server).enter(run).direction } == .revert)
    }
  }

  /// U05
  @Test func `U05: is refused while a worker lives, and apply while it is on its way`() async throws {
    try await withShop { shop in
      let run = try await shop.begin()
      try await shop.server.psql("SELECT migrate.pause(\(run)); SELECT migrate.advance(\(run), 'batch_edge_reached')")
      let control = RunControl()
      let server = shop.server
      let entered = try await shop.trial.run(run)
      async let outcome = onThread {
        var worker = try Worker(server: server, run: entered, control: control) { _ in }
        return try worker.apply()
      }
      try await shop.trial.wait(until: "SELECT migrate.is_working(\(run))")
      let refused = await #expect(throws: RunRefusal.self) { try await shop.trial.revert(run) }
      guard case .refused(let message, _) = refused else { throw TestSupportError("\(String(describing: refused))") }
      #expect(message.contains("is being worked on by backend"))
      control.requestStop()
      #expect(try await outcome == .paused)
      #expect(try await shop.trial.revert(run) == .reverted(conflicts: 0))

      let again = await #expect(throws: RunRefusal.self) { try await shop.trial.revert(run) }
      guard case .refused(let said, _) = again else { throw TestSupportError("\(String(describing: again))") }
      #expect(said == "run \(run) is reverted already")
    }
  }

  /// U07
  @Test func `U07: under a later run that wrote the same column is refused, and names it`() async throws {
    try await withAppliedShop { shop, first in
      let plan = try await shop.trial.plan(Shop.definition.replacing("batch: prices", with: "batch: later"))
      let second = try await shop.trial.begin(plan)
      try await shop.trial.apply(second)
      let refused = await #expect(throws: RunRefusal.self) { try await shop.trial.revert(first) }
      guard case .refused(let message, let remedy) = refused else {
        throw TestSupportError("\(String(describing: refused))")
      }
      #expect(message == "run \(second) of later came later and wrote the same columns")
      #expect(remedy == "first: `migrate revert \(second)`")
      #expect(try await shop.trial.revert(second) == .reverted(conflicts: 0))
      #expect(try await shop.trial.revert(first) == .reverted(conflicts: 0))
      #expect(try await shop.strangers.isEmpty)
    }
  }

  /// U07; between the look for later runs and the takeover is time for one to begin, write and end.
  @Test(arguments: [false, true]) func `U07: under a run that came while it was asked for is refused`(
    byProcedure: Bool
  ) async throws {
    try await withAppliedShop { shop, first in
      let plan = try await shop.trial.plan(Shop.definition)
      try await withSessions("gate", "clerk", to: shop.server) { sessions in
        let (gate, clerk) = (try #require(sessions["gate"]), try #require(sessions["clerk"]))
        try await gate.execute("BEGIN; SELECT FROM migrate.fence WHERE run = \(first) FOR UPDATE")
        async let client = refusal(of: byProcedure ? nil : first, in: shop)
        if byProcedure { try clerk.start("SELECT migrate.enter_revert(\(first))") }
        let pid = try await gate.pid
        try await shop.trial.wait(
          until: "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE \(pid) = ANY (pg_blocking_pids(pid)))")
        let second = try await shop.trial.begin(plan)
        try await shop.trial.apply(second)
        try await gate.execute("COMMIT")
        let words = "run \(second) of prices came later and wrote the same columns"
        if byProcedure {
          let refused = await #expect(throws: PostgresError.self) { try await clerk.finish() }
          #expect(refused?.message == words)
        }
        #expect(try await client == (byProcedure ? nil : words))
        #expect(try await shop.trial.value("SELECT state FROM migrate.runs WHERE run = \(first)") == "completed")
        #expect(try await shop.trial.revert(second) == .reverted(conflicts: 0))
      }
      #expect(try await shop.trial.revert(first) == .reverted(conflicts: 0))
      #expect(try await shop.strangers.isEmpty)
    }
  }

  /// P16; who wants to go on with a run that another ends in this moment, and is told to leave as well.
  @Test func `P16: of a run that has ended is told its end, also by who was to leave`() async throws {
    try await withAppliedShop { shop, run in
      let leaving = RunControl()
      leaving.requestStop()
      #expect(try await shop.trial.apply(run, control: leaving) == .completed(leftBehind: 0))
      #expect(try await shop.trial.revert(run) == .reverted(conflicts: 0))
      let server = shop.server
      let outcome = try await onThread {
        let runs = try Runs(on: server)
        return try runs.revert(runs.enter(run), onConflict: .stop, control: leaving) { _ in }
      }
      #expect(outcome == .reverted(conflicts: 0))
    }
  }

  /// What a revert of the run says that is refused.
  private func refusal(of run: Int64?, in shop: Shop) async throws -> String? {
    guard let run else { return nil }
    do {
      _ = try await shop.trial.revert(run)
      return "it was not refused"
    } catch RunRefusal.refused(let message, _) { return message }
  }

  /// U04; whatever had been committed when the run stood still.
  @Test(arguments: 0...3) func `U04: of a part of a run takes that part back`(batches: Int) async throws {
    try await withShop(rows: 40) { shop in
      let run = try await shop.begin()
      let control = RunControl()
      let events = Events { event in
        if case .batch(let record) = event, record.ordinal == batches { control.requestStop() }
      }
      if batches == 0 { control.requestStop() }
      #expect(try await shop.trial.apply(run, control: control, events: events) == .paused)
      #expect(try await shop.batchSizes(run).count == batches)
      #expect(try await shop.trial.revert(run) == .reverted(conflicts: 0))
      #expect(try await shop.strangers.isEmpty)
    }
  }

  /// A worker that has lost the connection behind its last statement finds its own work done.
  @Test func `U06: whose last steps were done before the connection broke ends well`() async throws {
    try await withAppliedShop { shop, run in
      try await shop.server.psql("SELECT migrate.advance(\(run), 'revert_requested')")
      for ordinal in [2, 1] {
        try await withSessions("migrate run by hand", to: shop.server) { sessions in
          var revert = try await SteppedRevert(
            shop.trial, run: run, on: try #require(sessions["migrate run by hand"]), ordinal: ordinal)
          #expect(try await revert.conclude() == .committed)
        }
      }
      // Killed between the end of the undo table and the last entry of the ledger.
      try await shop.server.psql("DROP TABLE migrate.undo_\(run)_1")
      #expect(try await shop.trial.revert(run, .stop) == .reverted(conflicts: 0))
      #expect(try await shop.trial.state(run) == "reverted")
    }
  }
}
