import MigratePostgres
import TestSupport
import Testing

@Suite struct `Warnings of the server` {
  @Test func `are heard once for each text, with how often, and notices are not`() async throws {
    try await withDatabase { server in
      try await onThread {
        let warnings = Warnings()
        let connection = try Connection(to: server, warnings: warnings)
        try connection.execute(
          """
          DO $$
          BEGIN
            FOR n IN 1..10 LOOP
              RAISE WARNING 'row % of two', n % 2 USING ERRCODE = 'MG042', HINT = n;
              RAISE NOTICE 'nobody hears this';
            END LOOP;
          END $$
          """)
        // What follows an error to be safe is warned of, and nobody's concern.
        try connection.execute("ROLLBACK")
        let heard = warnings.take()
        #expect(heard.map(\.count) == [5, 5])
        #expect(heard.map(\.message?.message) == ["row 1 of two", "row 0 of two"])
        #expect(heard.map(\.message?.sqlState) == [SQLState("MG042"), SQLState("MG042")])
        #expect(warnings.take().isEmpty)
      }
    }
  }

  @Test func `of too many texts are only counted`() async throws {
    try await withDatabase { server in
      try await onThread {
        let warnings = Warnings()
        let connection = try Connection(to: server, warnings: warnings)
        try connection.execute("DO $$ BEGIN FOR n IN 1..1000 LOOP RAISE WARNING 'row %', n; END LOOP; END $$")
        let heard = warnings.take()
        #expect(heard.count == 21 && heard.last == heard.first { $0.message == nil } && heard.last?.count == 980)
      }
    }
  }

  @Test func `keep the password of the connection to themselves`() async throws {
    try await withDatabase { server in
      try await onThread {
        let warnings = Warnings()
        let connection = try Connection(to: server.setting("password", "tr0ub4dor"), warnings: warnings)
        try connection.execute("DO $$ BEGIN RAISE WARNING 'it is tr0ub4dor'; END $$")
        #expect(warnings.take().map(\.message?.message) == ["it is ***"])
      }
    }
  }
}
