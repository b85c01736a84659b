import Foundation
import MigratePostgres
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// What `hold_when` knows without a query, and what `throttle` asks for besides.
extension `A run that holds` {
  @Test(arguments: BackEnd.allCases)
  func `stands aside for a vacuum`(by backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(Products.table(rows: 100))
      let compiled = try await Compiled(
        Products.definition + "\nthrottle: {hold_when: {autovacuum: true, wraparound: true, wal_archive: true}}\n",
        on: server)
      // The lock of a vacuum, held for as long as the test wants.
      let vacuum = try await Session("vacuum", to: server)
      try await vacuum.execute("BEGIN; LOCK TABLE products IN SHARE UPDATE EXCLUSIVE MODE")
      async let applied = backEnd.apply(compiled, on: server)
      try await waitUntilHolding(server)
      let pid = try await vacuum.pid
      #expect(
        try await server.value("SELECT hold_reason FROM migrate.progress")
          == "autovacuum: pid \(pid) vacuums, analyzes or indexes products")
      try await vacuum.execute("COMMIT")
      try await vacuum.close()
      let told = try await applied
      #expect(told.isDone, "\(told.text)")
    }
  }

  @Test func `stands aside when sessions are many, and a slot keeps much`() async throws {
    try await TestCluster.withOwn(settings: ["wal_level": "logical", "max_replication_slots": "4"]) { cluster in
      try await cluster.withDatabase { server in
        try await server.psql(
          Products.table(rows: 100) + "SELECT pg_create_physical_replication_slot('late', true);")
        try await server.psql("CREATE TABLE filler AS SELECT repeat('x', 1000) AS x FROM generate_series(1, 3000)")
        let compiled = try await Compiled(
          Products.definition + "\nthrottle: {max_active_sessions: 1, hold_when: {slot_lag: 1MB}}\n", on: server)
        let (one, two) = (try await Session("one", to: server), try await Session("two", to: server))
        try one.start("SELECT pg_sleep(60)")
        try two.start("SELECT pg_sleep(60)")
        try await server.wait(until: "(SELECT count(*) = 2 FROM pg_stat_activity WHERE wait_event = 'PgSleep')")
        async let applied = Client.apply(compiled, on: server)
        try await waitUntilHolding(server)
        #expect(
          try await server.value("SELECT hold_reason FROM migrate.progress")?.hasPrefix("max_active_sessions: ") == true
        )
        try await one.close()
        try await two.close()
        try await server.wait(until: "(SELECT hold_reason LIKE 'slot_lag: slot late keeps %' FROM migrate.progress)")
        try await server.psql("SELECT pg_drop_replication_slot('late')")
        let told = try await applied
        #expect(told.isDone, "\(told.text)")
      }
    }
  }

  /// More than any disk has, and less than this one.
  @Test(arguments: BackEnd.allCases) func `stands aside while a disk is short of room`(by backEnd: BackEnd) async throws
  {
    try await withLedger { server in
      try await server.psql(Products.table(rows: 100))
      let yaml = Products.definition + "\nthrottle: {hold_when: {free_disk: 4000TB}}\n"
      let expected = try await server.rows(Products.expected)
      async let applied = backEnd.apply(try await Compiled(yaml, on: server), on: server)
      try await waitUntilHolding(server)
      #expect(
        try await server.value("SELECT hold_reason FROM migrate.progress")
          == "free_disk: less than 4000 TB are free on the disk of the data directory")
      #expect(try await server.value("SELECT migrate.short_of_disk(1024)") == nil)
      try await server.psql("SELECT migrate.tune(1, _holds => 'none')")
      let told = try await applied
      #expect(told.isDone, "\(told.text)")
      #expect(try await server.has(expected))
    }
  }

  @Test func `says what its role needs to ask how much of a disk is free`() async throws {
    try await withLedger { server in
      try await server.psql("CREATE ROLE \"no df\"; GRANT USAGE ON SCHEMA migrate TO \"no df\"")
      try await server.psql("GRANT EXECUTE ON FUNCTION migrate.short_of_disk TO \"no df\"")
      #expect(
        try await server.psql("SET ROLE \"no df\"; SELECT migrate.short_of_disk(1024)") == [
          ["this role may not ask df on the server: GRANT pg_execute_server_program TO \"no df\""]
        ])
      try await server.psql("DROP OWNED BY \"no df\"; DROP ROLE \"no df\"")
    }
  }

  /// With a server of its own, in which a hundred thousand transactions are many, and whose WAL goes nowhere at first.
  @Test func `stands aside for a vacuum that is due, and for an archive that does not take the WAL`() async throws {
    try await withFolder { folder in
      let settings = [
        "autovacuum_freeze_max_age": "100000", "archive_mode": "on", "archive_command": "test -e \(folder)/takes",
      ]
      try await TestCluster.withOwn(settings: settings) { cluster in
        try await cluster.withDatabase { server in try await standAside(on: server, until: "\(folder)/takes") }
      }
    }
  }

  private func standAside(on server: Server, until archive: String) async throws {
    try await server.psql(Products.table(rows: 100) + "CREATE TABLE filler (n integer)")
    let compiled = try await Compiled(
      Products.definition + "\nthrottle: {hold_when: {wraparound: true, wal_archive: true}}\n", on: server)
    // Until it lets go no vacuum gets at the table.
    let holder = try await Session("holder", to: server)
    try await holder.execute("BEGIN; LOCK TABLE products IN SHARE UPDATE EXCLUSIVE MODE")
    // A subtransaction that writes has a number of its own.
    try await server.psql(
      """
      DO $$ BEGIN
        FOR n IN 1 .. 100100 LOOP
          BEGIN INSERT INTO filler VALUES (n); EXCEPTION WHEN division_by_zero THEN NULL; END;
        END LOOP;
      END $$
      """)
    try await server.psql("SELECT pg_switch_wal()")
    try await server.wait(until: "(SELECT last_failed_wal IS NOT NULL FROM pg_stat_archiver)")
    let told = try await applying(compiled, on: server) {
      // The table or what its long values are kept in, which is as old.
      try await server.wait(
        until: "(SELECT hold_reason LIKE 'wraparound: % is % transactions old' FROM migrate.progress)")
      try await holder.execute("COMMIT")
      try await server.psql("VACUUM (FREEZE) products")
      try await server.wait(
        until: "(SELECT hold_reason LIKE 'wal_archive: 0000% could not be archived' FROM migrate.progress)")
      try Data().write(to: URL(fileURLWithPath: archive))
      try await server.psql("INSERT INTO filler VALUES (0)")
      try await server.psql("SELECT pg_switch_wal()")
    }
    #expect(told.isDone, "\(told.text)")
    try await holder.close()
  }

  /// A real one, which gets the WAL and does not replay it. How far behind it is shows a second later, and not before.
  @Test func `stands aside for a standby that is behind, and goes on when it has caught up`() async throws {
    try await TestCluster.withOwn(settings: ["wal_level": "replica", "max_wal_senders": "4"]) { primary in
      try await primary.withStandby { standby in
        try await primary.withDatabase { server in
          try await server.psql(Products.table(rows: 100))
          let yaml = Products.definition + "\nbatch_size: 10\nthrottle: {max_replication_lag: 500ms, pause: 500ms}\n"
          let compiled = try await Compiled(yaml, on: server)
          try await standby.psql("SELECT pg_wal_replay_pause()")
          let told = try await applying(compiled, on: server) {
            try await server.wait(
              until: "(SELECT hold_reason LIKE 'max_replication_lag: standby % is % behind' FROM migrate.progress)")
            try await standby.psql("SELECT pg_wal_replay_resume()")
          }
          #expect(told.isDone, "\(told.text)")
          #expect(try await server.value("SELECT held_since IS NULL AND held > '0' FROM migrate.runs") == "t")
        }
      }
    }
  }
}
