import MigratePostgres
import TestRuns
import TestSupport
import Testing

/// Has something come to a table while a run is on its way.
enum TableChange {
  /// Each batch waits before its first row for as long as somebody holds advisory lock 7.
  static let gate = """
    CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(7); RETURN NULL; END $$;
    CREATE TRIGGER gate BEFORE UPDATE ON products FOR EACH STATEMENT EXECUTE FUNCTION gate();
    """

  /// Has `change` come into the first batch that is done, or taken back, by `work`: behind its first statement that writes rows.
  static func meeting(
    _ change: String, on server: Server, _ work: @escaping @Sendable () async throws -> Told
  ) async throws -> Told {
    try await withSessions("holder", to: server) { sessions in
      let holder = try #require(sessions["holder"])
      try await holder.execute("SELECT pg_advisory_lock(7)")
      async let told = work()
      try await server.wait(
        until: "\(try await holder.pid) = ANY (SELECT unnest(pg_blocking_pids(pid)) FROM migrate.workers)")
      try await server.psql(change)
      try await holder.execute("SELECT pg_advisory_unlock(7)")
      return try await told
    }
  }

  /// Applies, and has `change` queue for the table behind the first batch, so that it comes between that and the second one.
  static func applying(
    _ compiled: Compiled, on server: Server, by backEnd: BackEnd, change: String
  ) async throws -> Told {
    try await between(change, on: server) { try await backEnd.apply(compiled, on: server) }
  }

  /// Has `change` queue behind the batch of `work` that waits at the gate, so that it comes between that and the next one.
  static func between(
    _ change: String, on server: Server, _ work: @escaping @Sendable () async throws -> Told
  ) async throws -> Told {
    try await withSessions("holder", "changer", to: server) { sessions in
      let holder = try #require(sessions["holder"])
      let changer = try #require(sessions["changer"])
      try await holder.execute("SELECT pg_advisory_lock(7)")
      async let told = work()
      try await server.wait(
        until: "\(try await holder.pid) = ANY (SELECT unnest(pg_blocking_pids(pid)) FROM migrate.workers)")
      try changer.start(change)
      try await server.wait(until: "cardinality(pg_blocking_pids(\(try await changer.pid))) > 0")
      try await holder.execute("SELECT pg_advisory_unlock(7)")
      try await changer.finish()
      return try await told
    }
  }

  /// Has `change` come when the second batch of `work` has its snapshot, and not yet looked at the table: whether it had to wait.
  static func afterSnapshot(
    _ change: String, on server: Server, _ work: @escaping @Sendable () async throws -> Told
  ) async throws -> (Told, waited: Bool) {
    try await withSessions("holder", "changer", to: server) { sessions in
      let holder = try #require(sessions["holder"])
      let changer = try #require(sessions["changer"])
      let held = "\(try await holder.pid) = ANY (SELECT unnest(pg_blocking_pids(pid)) FROM migrate.workers)"
      try await holder.execute("SELECT pg_advisory_lock(7)")
      async let told = work()
      try await server.wait(until: held)
      try await server.psql(
        """
        ALTER FUNCTION migrate.guard_table RENAME TO look;
        CREATE FUNCTION migrate.guard_table(_run bigint, _undisturbed xid8 DEFAULT NULL) RETURNS void LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_advisory_xact_lock_shared(8); PERFORM migrate.look(_run, _undisturbed); END $$;
        """)
      try await holder.execute("SELECT pg_advisory_lock(8); SELECT pg_advisory_unlock(7)")
      try await server.wait(until: "(SELECT count(*) FROM migrate.batches) = 1")
      try await server.wait(until: held)
      try changer.start(change)
      let waits = "cardinality(pg_blocking_pids(\(try await changer.pid))) > 0"
      let done =
        "SELECT FROM pg_stat_activity WHERE pid = \(try await changer.pid) AND state = 'idle' AND query = $q$\(change)$q$"
      try await server.wait(until: "\(waits) OR EXISTS (\(done))")
      let waited = try await server.value("SELECT \(waits)") == "t"
      try await holder.execute("SELECT pg_advisory_unlock(8)")
      try await changer.finish()
      return (try await told, waited)
    }
  }
}
