import Migrate
import MigrateLedger
import MigratePostgres
@testable import MigrateRunner
import RunTestSupport
import TestSupport
import Testing

@Suite struct `A worker that was taken over` {
  /// C10: stopped after each statement, at both levels and both ways to capture. Whoever takes over does not wait for it.
  @Test(arguments: Level.allCases, [SteppedPart.begin, .statement(.bound), .statement(.capture), .statement(.change)])
  func `C10: and wakes later changes nothing`(level: Level, last: SteppedPart) async throws {
    try await withShop { shop in
      let run = try await shop.begin(edit: { try $0.patient() })
      let end = try await wake(
        shop, run, level, stoppedAfter: last == .statement(.capture) ? .statement(level.capture) : last)
      #expect(end != .committed, "at \(end.map { "\($0)" } ?? "no end")")
      #expect(try await shop.trial.apply(run) == .completed(leftBehind: 0))
      #expect(try await shop.wrong(run) == Shop.Wrong())
      #expect(try await shop.differsFromOneStatement.isEmpty)
      #expect(try await shop.trial.revert(run) == .reverted(conflicts: 0))
      #expect(try await shop.strangers.isEmpty)
    }
  }

  /// Takes over while the batch stands behind `last`, wakes it, and lets it run to its end.
  private func wake(_ shop: Shop, _ run: Int64, _ level: Level, stoppedAfter last: SteppedPart) async throws
    -> BatchEnd?
  {
    try await withSessions("migrate run by hand", to: shop.server) { sessions in
      let hand = try #require(sessions["migrate run by hand"])
      var zombie = try await SteppedBatch(shop.trial, run: run, on: hand, number: level.rawValue)
      try await zombie.run(through: last)
      #expect(try await shop.trial.value("SELECT migrate.take_over(\(run), 1)") == "2")
      return try await zombie.conclude()
    }
  }

  /// C10; the batch that stands between its last statement and COMMIT counts, and whoever takes over waits for that.
  @Test(arguments: Level.allCases)
  func `C10: between finish and commit is waited for, and its batch counts`(level: Level) async throws {
    try await withShop { shop in
      let run = try await shop.begin()
      try await withSessions("migrate run by hand", "successor", to: shop.server) { sessions in
        let (hand, successor) = (try #require(sessions["migrate run by hand"]), try #require(sessions["successor"]))
        var batch = try await SteppedBatch(shop.trial, run: run, on: hand, number: level.rawValue)
        try await batch.run(through: .statement(.finish))
        try successor.start("SELECT migrate.take_over(\(run), 1)")
        try await successor.waitUntilBlocked(by: hand)
        #expect(try await batch.conclude() == .committed)
        #expect(try await successor.finish().onlyRow[0] == "2")
      }
      #expect(try await shop.trial.apply(run) == .completed(leftBehind: 0))
      #expect(try await shop.wrong(run) == Shop.Wrong())
      #expect(try await shop.batchSizes(run) == ["10", "9"])
    }
  }

  /// C10; what stands before the first batch is its own as well: whoever takes over waits for that.
  @Test func `C10: while it fixes the last key is waited for`() async throws {
    try await withShop { shop in
      let run = try await shop.begin(edit: { plan in
        try plan.patient().editing(.bounds) { statement in
          guard statement.name == .upper else { return [statement] }
          return [
            statement.with(
              text: """
                WITH gate AS MATERIALIZED (SELECT pg_advisory_xact_lock_shared(7)) SELECT u.* FROM gate, (\(statement.text)) AS u
                """)
          ]
        }
      })
      let outcome = try await withSessions("holder", "successor", to: shop.server) { sessions in
        let (holder, successor) = (try #require(sessions["holder"]), try #require(sessions["successor"]))
        try await holder.execute("SELECT pg_advisory_lock(7)")
        return try await shop.trial.applying(run) {
          try await shop.trial.waitUntilWorkerBlocked(by: holder)
          try successor.start("SELECT migrate.take_over(\(run), epoch) FROM migrate.fence")
          let isWaiting = """
            SELECT EXISTS (SELECT FROM pg_stat_activity
                           WHERE application_name LIKE 'migrate run%' AND pid = ANY (pg_blocking_pids(\(try await successor.pid))))
            """
          try await shop.trial.wait(until: isWaiting)
          try await holder.execute("SELECT pg_advisory_unlock(7)")
          try await successor.finish()
        }
      }
      #expect(outcome == .takenOver)
      #expect(try await shop.trial.apply(run) == .completed(leftBehind: 0))
      #expect(try await shop.wrong(run) == Shop.Wrong())
    }
  }

  /// C10; stopped, taken over, and woken by a signal that it was sent meanwhile.
  @Test func `C10: and is asked to leave does not pause what is another's`() async throws {
    try await withShop { shop in
      let run = try await shop.begin()
      let server = shop.server
      let outcome = try await onThread {
        let runs = try Runs(on: server)
        let entered = try runs.enter(run)
        try Connection(to: server).query(
          "SELECT migrate.take_over($1::bigint, $2::integer)", ["\(run)", "\(entered.epoch)"])
        let control = RunControl()
        control.requestStop()
        return try runs.apply(entered, control: control) { _ in }
      }
      #expect(outcome == .takenOver)
      #expect(try await shop.server.psql("SELECT state FROM migrate.runs") == [["running"]])
      #expect(try await shop.server.psql("SELECT count(*) FROM migrate.requests") == [["0"]])
    }
  }

  /// C10; not only its batches: how the run stands is the successor's to say.
  @Test(arguments: ["P0001", "53100"]) func `C10: and then fails does not fail the run`(code: String) async throws {
    try await withShop { shop in
      try await shop.server.psql(
        """
        CREATE FUNCTION shop.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE 'no' USING ERRCODE = '\(code)'; END $$;
        CREATE TRIGGER refuse BEFORE UPDATE ON shop.products FOR EACH ROW WHEN (OLD.id = 100) EXECUTE FUNCTION shop.refuse();
        """)
      let run = try await shop.begin(edit: { try $0.patient() })
      let outcome = try await withSessions("holder", to: shop.server) { sessions in
        let holder = try #require(sessions["holder"])
        try await holder.execute("BEGIN; SELECT FROM shop.products WHERE id = 50 FOR UPDATE")
        return try await shop.trial.applying(run) {
          try await shop.trial.waitUntilWorkerBlocked(by: holder)
          try await shop.server.psql("SELECT migrate.take_over(\(run), epoch) FROM migrate.fence")
          try await holder.execute("COMMIT")
        }
      }
      #expect(outcome == .takenOver)
      #expect(try await shop.server.psql("SELECT state, failure FROM migrate.runs") == [["running", nil]])
    }
  }

  /// C10; a worker that takes over ends the backend of a client that was stopped in a transaction.
  @Test(arguments: [Statement.Name.change, .finish])
  func `C10: loses its backend when it stands in a transaction`(last: Statement.Name) async throws {
    try await withShop { shop in
      let run = try await shop.begin()
      try await withSessions("migrate run by hand", to: shop.server) { sessions in
        let hand = try #require(sessions["migrate run by hand"])
        try await hand.execute("SELECT migrate.enlist(\(run), 1, 1, NULL)")
        var zombie = try await SteppedBatch(shop.trial, run: run, on: hand, number: Level.locked.rawValue)
        try await zombie.run(through: .statement(.change))
        // Its last sign of life is long ago; the one in the last statement nobody can see.
        try await shop.server.psql("UPDATE migrate.workers SET heartbeat_at = now() - interval '1 minute'")
        if last == .finish { try await zombie.run(through: .statement(last)) }
        #expect(try await shop.trial.apply(run) == .completed(leftBehind: 0))
        #expect(try await zombie.conclude() == .lost)
      }
      #expect(try await shop.wrong(run) == Shop.Wrong())
    }
  }

  /// P02; its statement still runs: the next one waits for its undo row or its rows, whatever then becomes of it.
  @Test(arguments: [true, false]) func `P02: with its statement still running is waited for`(commits: Bool) async throws
  {
    try await withShop { shop in
      let run = try await shop.begin(edit: { try $0.patient() })
      try await withSessions("migrate run by hand", to: shop.server) { sessions in
        let hand = try #require(sessions["migrate run by hand"])
        var old = try await SteppedBatch(shop.trial, run: run, on: hand, number: 1)
        try await old.run(through: .statement(commits ? .finish : .change))
        if commits {
          // The same worker, which has lost its connection and not its epoch.
          async let next = applyInSameEpoch(shop, run)
          try await shop.trial.waitUntilWorkerBlocked(by: hand)
          #expect(try await old.conclude() == .committed)
          #expect(try await next == .completed(leftBehind: 0))
        } else {
          let next = try await shop.trial.applying(run) {
            try await shop.trial.waitUntilWorkerBlocked(by: hand)
            #expect(try await old.conclude() != .committed)
          }
          #expect(next == .completed(leftBehind: 0))
        }
      }
      #expect(try await shop.wrong(run) == Shop.Wrong())
      #expect(try await shop.batchSizes(run) == ["10", "9"])
      #expect(try await shop.differsFromOneStatement.isEmpty)
    }
  }

  /// P03; a crash has taken the commit back, and the number of its transaction with it.
  @Test func `P03: goes on when the transaction it asks about is none any more`() async throws {
    try await withShop { shop in
      let id = try await shop.begin()
      let run = try await shop.trial.run(id)
      let next = try await shop.trial.value("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint + 1000000")
      let server = shop.server.applicationName("migrate run \(id)")
      let outcome = try await onThread {
        var worker = try Worker(server: server, run: run, control: RunControl()) { _ in }
        worker.unsettled = next
        return try worker.apply()
      }
      #expect(outcome == .completed(leftBehind: 0))
      #expect(try await shop.wrong(id) == Shop.Wrong())
    }
  }

  private func applyInSameEpoch(_ shop: Shop, _ id: Int64) async throws -> RunOutcome {
    let run = try await shop.trial.run(id)
    let server = shop.server.applicationName("migrate run \(id)")
    return try await onThread {
      var worker = try Worker(server: server, run: run, control: RunControl()) { _ in }
      return try worker.apply()
    }
  }

  @Test func `C10: commits when the fence is not locked: that mutant dies`() async throws {
    try await withShop { shop in
      let run = try await shop.begin(edit: Mutant.withoutFenceLock)
      // Under REPEATABLE READ the plain read still sees the old epoch.
      #expect(try await wake(shop, run, .snapshot, stoppedAfter: .statement(.change)) == .committed)
    }
  }

  @Test func `C10: is not waited for when the fence is not locked: that mutant dies`() async throws {
    try await withShop { shop in
      let run = try await shop.begin(edit: Mutant.withoutFenceLock)
      try await withSessions("migrate run by hand", "successor", to: shop.server) { sessions in
        let (hand, successor) = (try #require(sessions["migrate run by hand"]), try #require(sessions["successor"]))
        var batch = try await SteppedBatch(shop.trial, run: run, on: hand, number: Level.locked.rawValue)
        try await batch.run(through: .statement(.finish))
        #expect(try await successor.execute("SELECT migrate.take_over(\(run), 1)").onlyRow[0] == "2")
        // Two workers, and both can commit.
        #expect(try await batch.conclude() == .committed)
      }
    }
  }

  @Test func `C10: commits when the epoch is not compared: that mutant dies`() async throws {
    try await withShop { shop in
      let run = try await shop.begin(edit: Mutant.withoutEpoch)
      #expect(try await wake(shop, run, .locked, stoppedAfter: .statement(.change)) == .committed)
    }
  }
}

@Suite struct `Taking over` {
  @Test func `is given to one of twenty who try at once`() async throws {
    try await withShop { shop in
      let run = try await shop.begin()
      let server = shop.server
      let taken = try await withThrowingTaskGroup(of: String?.self) { group in
        // Nobody gets there before all have asked: the holder lets go when twenty wait.
        let holder = try await NamedSession("holder", to: server)
        try await holder.execute("BEGIN; SELECT FROM migrate.fence WHERE run = \(run) FOR UPDATE")
        for _ in 1...20 {
          group.addTask {
            try await server.psql("SELECT migrate.take_over(\(run), 1)").first?.first.flatMap(\.self)
          }
        }
        try await shop.trial.wait(
          until: """
            SELECT count(*) = 20 FROM pg_stat_activity
            WHERE  datname = current_database() AND application_name = 'psql' AND wait_event_type = 'Lock'
            """)
        try await holder.execute("COMMIT")
        try await holder.close()
        return try await group.reduce(into: [String]()) { if let epoch = $1 { $0.append(epoch) } }
      }
      #expect(taken == ["2"])
    }
  }

  /// C10. Between the takeover and the first look at the run somebody else takes it over, too: two would work in one epoch.
  @Test(arguments: [false, true])
  func `C10: gives each its own epoch, or none`(isRevert: Bool) async throws {
    try await withShop { shop in
      let run = try await shop.begin()
      if isRevert {
        #expect(try await shop.trial.apply(run) == .completed(leftBehind: 0))
      } else {
        try await shop.server.psql("SELECT migrate.pause(\(run)); SELECT migrate.advance(\(run), 'batch_edge_reached')")
      }
      let server = shop.server
      let before = try await shop.trial.value("SELECT epoch FROM migrate.fence") ?? ""
      let entered = try await withSessions("holder", to: server) { sessions in
        let holder = try #require(sessions["holder"])
        let pid = try await holder.pid
        // The one who enters is stopped behind his takeover.
        try await holder.execute("BEGIN; SELECT FROM migrate.runs WHERE run = \(run) FOR UPDATE")
        async let entering = onThread {
          do {
            let runs = try Runs(on: server)
            let entered =
              isRevert ? try runs.enterRevert(runs.find(String(run)), onConflict: .stop) : try runs.enter(run)
            return "\(entered.epoch)"
          } catch let refusal as RunRefusal {
            guard case .refused(let message, _) = refusal else { throw refusal }
            return message
          }
        }
        do {
          try await shop.trial.wait(
            until: "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE \(pid) = ANY (pg_blocking_pids(pid)))")
        } catch {
          try await holder.execute("COMMIT")
          throw error
        }
        async let taken = server.psql(
          "SET lock_timeout = '20s'; SELECT migrate.take_over(\(run), (SELECT epoch FROM migrate.fence WHERE run = \(run)))"
        )
        // It waits for the one who enters, or it need not.
        try await Task.sleep(for: .milliseconds(200))
        try await holder.execute("COMMIT")
        let mine = try await entering
        let theirs = try await taken.last?.last ?? nil
        #expect(theirs != nil && theirs != mine, "mine \(mine), theirs \(theirs ?? "")")
        return mine
      }
      #expect(Int(entered) == (Int(before) ?? 0) + 1, "\(entered)")
    }
  }

  @Test func `by twenty workers at once does every row once`() async throws {
    try await withShop(rows: 200) { shop in
      let run = try await shop.begin()
      let outcomes = try await withThrowingTaskGroup(of: String.self) { group in
        for _ in 1...20 {
          group.addTask {
            do { return "\(try await shop.trial.apply(run))" } catch let refusal as RunRefusal {
              guard case .refused(let message, _) = refusal else { throw refusal }
              return message
            }
          }
        }
        return try await group.reduce(into: [String]()) { $0.append($1) }
      }
      #expect(outcomes.contains { $0.contains("completed") }, "\(outcomes)")
      #expect(try await shop.trial.state(run) == "completed")
      #expect(try await shop.wrong(run) == Shop.Wrong())
      #expect(try await shop.differsFromOneStatement.isEmpty)
      #expect(try await shop.counts(run) == ["199", "199", "0"])
    }
  }
}

@Suite struct `A pause` {
  @Test func `in flight costs the batch no second try`() async throws {
    try await withShop { shop in
      let run = try await shop.begin(edit: { try $0.patient() })
      let events = Events()
      let control = RunControl()
      try await withSessions("writer", to: shop.server) { sessions in
        let writer = try #require(sessions["writer"])
        try await writer.execute("BEGIN; SELECT FROM shop.products WHERE id = 50 FOR UPDATE")
        let outcome = try await shop.trial.applying(run, control: control, events: events) {
          try await shop.trial.waitUntilWorkerBlocked(by: writer)
          #expect(try await shop.trial.value("SELECT migrate.pause(\(run))") == "pausing")
          try await writer.execute("COMMIT")
          try await shop.trial.wait(until: "SELECT state = 'paused' FROM migrate.runs WHERE run = \(run)")
          #expect(try await shop.batchSizes(run) == ["10"])
          #expect(try await shop.trial.value("SELECT migrate.resume(\(run))") == "running")
        }
        #expect(outcome == .completed(leftBehind: 0))
      }
      #expect(events.retries.isEmpty && events.mostTries == 1)
      #expect(try await shop.wrong(run) == Shop.Wrong())
    }
  }
}
