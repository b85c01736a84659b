import MigratePostgres
import TestSupport
import Testing

@Suite struct `An error of the server` {
  @Test func `carries all that the server says`() async throws {
    try await withDatabase { server in
      try await withConnection(to: server) { connection in
        try connection.execute("CREATE TABLE t (n int CONSTRAINT small CHECK (n < 3))")
        let error = #expect(throws: PostgresError.self) { try connection.query("INSERT INTO t VALUES (7)") }
        #expect(error?.origin == .server && error?.severity == "ERROR" && error?.sqlState == SQLState("23514"))
        #expect(error?.schema == "public" && error?.table == "t" && error?.constraint == "small")
        #expect(error?.detail == "Failing row contains (7)." && error?.class == .rowBad)

        let raised = #expect(throws: PostgresError.self) {
          try connection.execute(
            """
            DO $$ BEGIN RAISE 'no' USING ERRCODE = 'MY001', HINT = 'h', COLUMN = 'c', DATATYPE = 'd'; END $$
            """)
        }
        #expect(raised?.sqlState?.code == "MY001" && raised?.class == .rowBad && raised?.hint == "h")
        #expect(
          raised?.column == "c" && raised?.dataType == "d" && raised?.context?.contains("line 1 at RAISE") == true)

        let inner = #expect(throws: PostgresError.self) {
          try connection.execute("DO $$ BEGIN PERFORM nothing; END $$")
        }
        #expect(inner?.internalQuery == "SELECT nothing" && inner?.internalPosition == 8 && inner?.position == nil)
      }
    }
  }

  @Test(arguments: [
    ("SELECT nothing", 7),
    ("SELECT 'é', nothing", 13),
    ("SELECT '👨‍👩‍👧', 'e\u{301}', nothing", 36),
    ("SELECT 'x',\r\n nothing", 14),
    ("SELECT (1", 9),
  ]) func `has its place in bytes, behind any characters`(text: String, offset: Int) async throws {
    try await withDatabase { server in
      try await withConnection(to: server) { connection in
        let error = #expect(throws: PostgresError.self) { try connection.query(text) }
        #expect(error?.report.byteOffset(in: text) == offset)
      }
    }
  }

  /// P01 to P08: what each state asks for.
  @Test(arguments: [
    ("40001", ErrorClass.transient), ("40P01", .transient), ("55P03", .transient), ("57014", .transient),
    ("57P03", .transient), ("08006", .transient), ("25P03", .transient),
    ("22012", .rowBad), ("23505", .rowBad), ("P0001", .rowBad), ("21000", .rowBad), ("54000", .rowBad),
    ("20000", .rowBad), ("27000", .rowBad), ("2F005", .rowBad), ("MY001", .rowBad), ("XY000", .rowBad),
    ("90001", .rowBad),
    ("53100", .environment), ("53200", .environment), ("53300", .environment), ("53400", .environment),
    ("58030", .environment), ("57P01", .environment), ("57P02", .environment), ("25006", .environment),
    ("28P01", .environment), ("3D000", .environment), ("XX001", .environment), ("HV00N", .environment),
    ("42703", .definition), ("42501", .definition), ("0A000", .definition), ("25P02", .definition),
    ("54001", .definition), ("55000", .definition), ("3F000", .definition), ("", .definition),
  ]) func `P04 P06 P07 P08: has a class by its state`(code: String, expected: ErrorClass) {
    #expect(SQLState(code).errorClass == expected)
  }

  /// S08
  @Test func `S08: shows escape sequences of data instead of sending them to the terminal`() async throws {
    try await withDatabase { server in
      try await withConnection(to: server) { connection in
        let error = #expect(throws: PostgresError.self) {
          try connection.query(#"SELECT E'\x1b]0;title\x07 \u009b2J'::int"#)
        }
        let shown = try #require(error?.description)
        #expect(shown.contains(#"\u{1b}]0;title\u{7} \u{9b}2J"#) && !shown.contains("\u{1b}"))
        #expect(error?.message.contains("\u{1b}") == true)
      }
    }
  }
}
