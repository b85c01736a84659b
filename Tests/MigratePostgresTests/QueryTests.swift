import MigratePostgres
import TestSupport
import Testing

@Suite struct `A connection` {
  @Test func `gives rows by name and by index, NULL as nil`() async throws {
    try await withDatabase { server in
      try await withConnection(to: server) { connection in
        let rows = try connection.query(
          "SELECT n, nullif(n, 2) AS maybe, n = 1 AS first, n / 2::float8 AS half FROM generate_series(1, $1::int) n",
          ["2"])
        #expect(rows.count == 2 && rows.commandTag == "SELECT 2" && rows.affectedRows == 2)
        #expect(rows.columns.map(\.name) == ["n", "maybe", "first", "half"])
        #expect(try rows[0].int("n") == 1 && rows[1].int64(0) == 2)
        #expect(try rows[0]["maybe"] == "1" && rows[1][1] == nil && rows[1].isNull("maybe"))
        #expect(try rows[0].bool("first") && !rows[1].bool("first") && rows[0].double("half") == 0.5)
        #expect(try rows[1].ifPresent("maybe", rows[1].int) == nil && rows[0].ifPresent("maybe", rows[0].int) == 1)
        #expect(try rows[1].values == ["2", nil, "f", "1"])
      }
    }
  }

  @Test func `knows the server's version, and one that is too old is refused with a remedy`() async throws {
    try await withDatabase { server in
      try await withConnection(to: server) { connection in
        let said = try connection.query("SELECT current_setting('server_version_num')").onlyRow.int(0)
        #expect(connection.serverVersion == said)
        #expect(PostgresError.tooOld(said) == nil)
      }
    }
    let refusal = PostgresError.tooOld(140_020)
    #expect(refusal?.message == "the server is PostgreSQL 14, and the least that will do is 15")
    #expect(refusal?.hint == "upgrade it, or name another server")
    #expect(PostgresError.tooOld(150_000) == nil)
  }

  @Test func `tells what is wrong with a read instead of crashing`() async throws {
    try await withDatabase { server in
      let row = try await withConnection(to: server) { try $0.query("SELECT NULL AS nothing, 'x' AS \"Text\"").onlyRow }
      let reads: [(String, () throws -> Void)] = [
        ("the result has no column text", { _ = try row.text("text") }),
        ("there is no column 7 in a result of 2", { _ = try row[7] }),
        ("there is no column -1 in a result of 2", { _ = try row[-1] }),
        ("column nothing is NULL, an integer was expected", { _ = try row.int(0) }),
        ("column Text is not an integer", { _ = try row.int64("Text") }),
        ("column Text is not a boolean", { _ = try row.bool("Text") }),
        ("column Text is not an array", { _ = try row.array("Text") }),
      ]
      for (message, read) in reads {
        let error = #expect(throws: PostgresError.self) { try read() }
        #expect(error?.message == message && error?.origin == .client && error?.endsConnection == false)
      }
      let rows = try await withConnection(to: server) { try $0.query("VALUES (1), (2)") }
      let error = #expect(throws: PostgresError.self) { try rows.onlyRow }
      #expect(error?.message == "2 rows came where one was expected")
      #expect(throws: PostgresError.self) { try rows[2][0] }
    }
  }

  /// C12
  @Test func `C12: sends a script as one message, with settings for its transaction alone`() async throws {
    try await withDatabase { server in
      try await withConnection(to: server) { connection in
        let rows = try connection.execute(
          "BEGIN; SET LOCAL lock_timeout = '7s'; CREATE TABLE t (n int); SELECT current_setting('lock_timeout')")
        #expect(try rows.onlyRow[0] == "7s" && connection.transactionStatus == .inTransaction)
        #expect(try connection.execute("COMMIT").commandTag == "COMMIT")
        #expect(try connection.query("SHOW lock_timeout").onlyRow[0] == "0" && connection.transactionStatus == .idle)
        #expect(try connection.execute("").isEmpty)

        // A script without BEGIN is one transaction as well.
        #expect(throws: PostgresError.self) { try connection.execute("INSERT INTO t VALUES (1); SELECT 1 / 0") }
        #expect(try connection.query("SELECT FROM t").isEmpty)
        #expect(try connection.query("SELECT FROM pg_prepared_statements").isEmpty)
      }
    }
  }

  @Test func `describes columns without running the statement`() async throws {
    try await withDatabase { server in
      try await withConnection(to: server) { connection in
        let columns = try connection.describe("SELECT 1 / 0 AS n, 'x'::varchar(7) AS v, $1::bigint")
        #expect(columns.map(\.name) == ["n", "v", "int8"])
        #expect(columns.map(\.type) == [23, 1043, 20] && columns.map(\.modifier) == [-1, 11, -1])
        #expect(try connection.describe("CREATE TABLE t ()").isEmpty)
        let error = #expect(throws: PostgresError.self) { try connection.describe("SELECT nothing") }
        #expect(error?.sqlState == SQLState("42703") && error?.position == 8)
      }
    }
  }

  @Test func `stays usable after COPY, which it does not do`() async throws {
    try await withDatabase { server in
      try await withConnection(to: server) { connection in
        try connection.execute("CREATE TABLE t (n int)")
        for script in ["COPY t FROM STDIN", "COPY (SELECT generate_series(1, 10000)) TO STDOUT"] {
          #expect(throws: PostgresError.self) { try connection.execute(script) }
          #expect(try connection.query("SELECT 1").onlyRow[0] == "1")
        }
      }
    }
  }

  @Test func `says who it is and where`() async throws {
    try await withDatabase { server in
      try await withConnection(to: server.applicationName("a \"name\" with 'quotes'")) { connection in
        let row = try connection.query(
          "SELECT pg_backend_pid(), current_setting('application_name'), current_setting('client_encoding')"
        ).onlyRow
        #expect(try row.values == ["\(connection.backendPID)", "a \"name\" with 'quotes'", "UTF8"])
        let isBroken = connection.isBroken
        #expect(!isBroken)
      }
    }
  }

  @Test func `refuses more arguments than the protocol has, and goes on`() async throws {
    try await withDatabase { server in
      try await withConnection(to: server) { connection in
        let error = #expect(throws: PostgresError.self) {
          try connection.query("SELECT 1", Array(repeating: "x", count: 70_000))
        }
        #expect(error?.origin == .client && error?.class == .definition)
        try connection.execute("SELECT 1")
      }
    }
  }

  /// A NUL would end the text for C.
  @Test func `refuses a NUL instead of sending half a statement`() async throws {
    try await withDatabase { server in
      try await withConnection(to: server) { connection in
        let errors = [
          #expect(throws: PostgresError.self) { try connection.execute("SELECT 1\0; SELECT 2") },
          #expect(throws: PostgresError.self) { try connection.query("SELECT $1::text", ["a\0b"]) },
          #expect(throws: PostgresError.self) { try connection.describe("SELECT '\0'") },
        ]
        for error in errors {
          #expect(error?.sqlState == .characterNotInRepertoire && error?.class == .rowBad)
        }
      }
    }
  }

  @Test func `gets no wrong bytes from a database without an encoding, but an error`() async throws {
    try await withDatabase { server in
      try await server.psql("CREATE DATABASE ascii ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
      try await withConnection(to: server.database("ascii").setting("client_encoding", "LATIN1")) { connection in
        let text = try connection.query("SELECT 'é'").onlyRow[0]
        #expect(text == "é")
        let error = #expect(throws: PostgresError.self) {
          try connection.query(#"SELECT convert_from('\xff', 'SQL_ASCII')"#)
        }
        #expect(error?.sqlState == .characterNotInRepertoire)
      }
      try await server.psql("DROP DATABASE ascii")
    }
  }
}
