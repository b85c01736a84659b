import Foundation
import Migrate
import MigratePostgres
import MigrateRunner
import MigrateTestSupport
import RunTestSupport
import TestSupport
import Testing

/// C11, C12; pgbouncer gives a connection to the server for a transaction, and then to somebody else.
@Suite struct `Behind a pooler` {
  @Test(.enabled(if: Pooler.isInstalled, "pgbouncer is not installed: `make deps`"), arguments: [1, 2], [1, 4])
  func `C11 C12: with few connections a run is applied, gone on with and taken back`(
    size: Int, workers: Int
  ) async throws {
    try await Pooler.with(size: size) { pooled, server in
      let shop = try await Shop.fresh(server, rows: 40 * workers)
      // Somebody else leaves settings behind in the session that everybody shares.
      try await pooled.psql(
        "SET search_path = nowhere; SET datestyle = 'SQL, DMY'; SET default_transaction_isolation = 'serializable'")
      let client = Client(server: pooled, definition: Shop.definition(workers: workers))
      #expect(try await client.apply() == .completed(leftBehind: 0))
      let run = try await shop.newestRun
      #expect(try await shop.complaints(afterApplying: run) == [])
      // On the server the same, whoever asks.
      #expect(try await client.apply() == .completed(leftBehind: 0))
      #expect(try await client.revert(run) == .reverted(conflicts: 0))
      #expect(try await shop.complaints(afterReverting: run) == [])
      // Nor is a backend called after a batch when that is over.
      #expect(
        try await server.psql(
          "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE '% batch %'"
        )
          == [["0"]])
    }
  }

  /// The server's session lives on when its client is gone, and the one that asks for the run may get it.
  @Test(.enabled(if: Pooler.isInstalled, "pgbouncer is not installed: `make deps`"))
  func `C11: a run whose client is gone is taken over through the backend that it had`() async throws {
    try await Pooler.with(size: 1) { pooled, server in
      let shop = try await Shop.fresh(server, rows: 40)
      let trial = Trial(pooled)
      let run = try await trial.begin(try await trial.plan(Shop.definition))
      // As one leaves it that is killed: its backend is there, its last sign of life a moment ago.
      try await pooled.psql("SELECT migrate.enlist(\(run), 1, 1, NULL)")
      try await server.psql("UPDATE migrate.workers SET heartbeat_at = now() - interval '14 seconds'")
      #expect(
        try await trial.value(
          "SELECT count(*) FROM migrate.workers AS w JOIN pg_stat_activity AS a USING (pid, backend_start)") == "1")
      #expect(try await trial.apply(run) == .completed(leftBehind: 0))
      #expect(try await shop.complaints(afterApplying: run) == [])
    }
  }

  @Test(.enabled(if: Pooler.isInstalled, "pgbouncer is not installed: `make deps`"))
  func `C11: a worker that lives keeps its run`() async throws {
    try await Pooler.with(size: 1) { pooled, server in
      _ = try await Shop.fresh(server, rows: 20)
      let trial = Trial(pooled)
      let run = try await trial.begin(try await trial.plan(Shop.definition))
      try await server.psql("SELECT migrate.pause(\(run)); SELECT migrate.advance(\(run), 'batch_edge_reached')")
      let entered = try await trial.run(run)
      let control = RunControl()
      async let outcome = onThread {
        var worker = try Worker(server: pooled, run: entered, control: control) { _ in }
        return try worker.apply()
      }
      try await Trial(server).wait(until: "SELECT EXISTS (SELECT FROM migrate.workers)")
      let refusal = await #expect(throws: RunRefusal.self) { try await trial.apply(run) }
      #expect("\(refusal.map { "\($0)" } ?? "")".contains("is being worked on"))
      control.requestStop()
      #expect(try await outcome == .paused)
    }
  }

  /// Between two transactions the pooler holds no connection to the server for the client, which does not notice that there is
  /// another one. What it was told is committed may be gone.
  @Test(.enabled(if: Pooler.isInstalled, "pgbouncer is not installed: `make deps`"), arguments: [5, 39])
  func `P04 P05: a crash that the client does not notice loses no batch`(last: Int) async throws {
    // Nobody else writes pages, before which the log would be written.
    let quiet = [
      "wal_writer_delay": "10s", "bgwriter_lru_maxpages": "0", "autovacuum": "off", "checkpoint_timeout": "1h",
    ]
    try await TestCluster.withOwn(settings: quiet) { cluster in
      try await Pooler.with(size: 1, before: cluster.server, at: cluster.socketFolder) { pooled in
        let shop = try await Shop.fresh(cluster.server, rows: 391)
        let trial = Trial(pooled)
        let run = try await trial.begin(try await trial.plan(Shop.definition))
        let entered = try await trial.run(run)
        let reached = Reply<Void>()
        let isBack = DispatchSemaphore(value: 0)
        // It wakes at least each ten seconds, and on a busy machine a run may take longer.
        let writer = try await cluster.server.psql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'")
        kill(try #require(writer[0][0].flatMap { pid_t($0) }), SIGSTOP)
        async let outcome = onThread {
          let server = pooled.applicationName("migrate run \(run)")
          var worker = try Worker(server: server, run: entered, control: RunControl()) { event in
            guard case .batch(let batch) = event, batch.ordinal == last, !reached.isKnown else { return }
            reached.give(.success(()))
            isBack.wait()
          }
          return try worker.apply()
        }
        try await reached.value
        try await cluster.stop(immediately: true)
        try await cluster.start()
        let left = try await cluster.server.psql("SELECT count(*) FROM migrate.batches").first?.first ?? nil
        #expect(Int(left ?? "") ?? last < last)
        isBack.signal()
        let completed = try await outcome
        #expect(completed == .completed(leftBehind: 0))
        let complaints = try await shop.complaints(afterApplying: run)
        #expect(complaints == [])
      }
    }
  }
}

/// A pgbouncer of our own, in transaction mode.
enum Pooler {
  private static let path = "/usr/sbin/pgbouncer"
  static var isInstalled: Bool { FileManager.default.isExecutableFile(atPath: path) }

  /// Runs `body` with a database of the shared cluster through the pooler, and the same directly.
  static func with(size: Int, _ body: (Server, Server) async throws -> Void) async throws {
    let upstream = try await TestCluster.shared.socketFolder
    try await withLedger { server in
      try await with(size: size, before: server, at: upstream) { pooled in try await body(pooled, server) }
    }
  }

  /// Before a server whose socket is in the folder `upstream`.
  static func with(
    size: Int, before server: Server, at upstream: String, _ body: (Server) async throws -> Void
  ) async throws {
    try await withFolder { folder in
      let settings = """
        [databases]
        * = host=\(upstream) port=5432 user=postgres
        [pgbouncer]
        pool_mode = transaction
        default_pool_size = \(size)
        unix_socket_dir = \(folder)
        listen_port = 5432
        auth_type = any
        ignore_startup_parameters = extra_float_digits
        logfile = \(folder)/log
        pidfile = \(folder)/pid

        """
      try settings.write(toFile: "\(folder)/settings", atomically: true, encoding: .utf8)
      let process = Process()
      process.executableURL = URL(fileURLWithPath: path)
      // It refuses to run as root.
      process.arguments = ["-q"] + (geteuid() == 0 ? ["-u", "postgres"] : []) + ["\(folder)/settings"]
      chmod(folder, 0o777)
      process.standardOutput = FileHandle.nullDevice
      process.standardError = FileHandle.nullDevice
      process.standardInput = FileHandle.nullDevice
      try process.run()
      // Waiting for a child in Foundation's way needs a run loop, which threads of the pool do not have.
      defer {
        kill(process.processIdentifier, SIGKILL)
        while process.isRunning { usleep(2_000) }
      }
      let pooled = server.setting("host", folder)
      try await waitUntilListening(pooled, process, log: "\(folder)/log")
      try await body(pooled)
    }
  }

  private static func waitUntilListening(_ server: Server, _ process: Process, log: String) async throws {
    for _ in 1...2_000 {
      if (try? await server.psql("SELECT 1")) != nil { return }
      guard process.isRunning else { break }
      try await Task.sleep(for: .milliseconds(5))
    }
    let said = (try? String(contentsOfFile: log, encoding: .utf8)) ?? ""
    throw TestSupportError("pgbouncer does not listen: \(said.suffix(1_000))")
  }
}
