import Foundation
import Migrate
import MigrateLedger
import MigratePlan
import MigratePostgres
import MigrateSQLFiles
import MigrateScripts
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

/// The files that psql runs where this program is not.
@Suite struct `The scripts` {
  /// Everything that psql, the server or this program could take for something else.
  private static let hostile =
    "it's \"q\" \\ \\' $$ $plan$ $plan $definition$ :x :'x' :\"x\" {run} $1 % %s -- /* é 漢\r\n\\q\n;\t&"

  /// U13
  @Test(arguments: BackEnd.allCases) func `U13: hold hostile names and values`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await withConnection(to: server) { connection in
        let table = "\"od'd \\ $$ \"\" {run}\".\"ta'ble \\ :x $plan$\""
        try connection.execute(
          """
          CREATE SCHEMA "od'd \\ $$ "" {run}";
          CREATE TABLE \(table) ("k'ey \\ :x" text COLLATE "C" PRIMARY KEY, "va""l {run} $$ :y" text, list text[]);
          """)
        for index in 0..<25 {
          try connection.query(
            "INSERT INTO \(table) VALUES ($1::text, $2::text, ARRAY[$1::text, NULL, $2::text])",
            ["\(index) " + Self.hostile, Self.hostile + " \(index)"])
        }
      }
      let inYAML = Self.hostile.yaml
      let definition = """
        # \(Self.hostile.filter { !$0.isNewline })
        batch: hostile
        source: {table: '"od''d \\ $$ "" {run}"."ta''ble \\ :x $plan$"'}
        params: {added: {type: text, default: \(inYAML)}, more: text}
        set:
          "va\\"l {run} $$ :y": |
            "va""l {run} $$ :y" || :added || :more || '{run} $$ $plan$ \\ :no'
          list: {value: [\(inYAML), "{run}"]}
        checks:
          after:
            \(Self.hostile.filter { !$0.isNewline }.yaml): SELECT 1 WHERE 'it''s' = :added
        """
      let compiled = try await Compiled(definition, on: server, batchSize: 3, parameters: ["more": Self.hostile])
      let all = "SELECT t::text FROM \"od'd \\ $$ \"\" {run}\".\"ta'ble \\ :x $plan$\" AS t ORDER BY 1"
      let before = try await server.rows(all)
      let told = try await backEnd.apply(compiled, on: server)
      #expect(told.isDone, "\(told.text)")
      let value = "\"va\"\"l {run} $$ :y\""
      let found = try await server.rows(
        "SELECT \(value) FROM \"od'd \\ $$ \"\" {run}\".\"ta'ble \\ :x $plan$\" ORDER BY length(\(value)), 1")
      let expected = (0..<25).map { Self.hostile + " \($0)" + Self.hostile + Self.hostile + "{run} $$ $plan$ \\ :no" }
      let areEqual = found == expected
      #expect(areEqual)
      #expect(try await server.value("SELECT text FROM migrate.definitions") == definition)
      #expect(try await server.value("SELECT parameters -> 'more' ->> 'value' FROM migrate.runs") == Self.hostile)
      let back = try await backEnd.revert(compiled, on: server)
      #expect(back.isDone, "\(back.text)")
      let areBack = try await server.rows(all) == before
      #expect(areBack)
    }
  }

  @Test func `hold any text between dollar signs`() async throws {
    let plan = Plan(
      definition: "x", identity: "$identity", searchPath: "", parameters: [], pace: Pace(sizing: .rows(1)), parallel: 1,
      onError: .stop,
      maxRejects: nil, key: [],
      phases: [],
      steps: [],
      warnings: [], tables: [], estimate: Estimate(rows: 0, undoBytes: 0), needs: [])
    for text in [
      "", "$", "$$", "$definition", "$definition$", "x$definition", "$definition_1$$definition", "\\", "'", "\r",
      "\n\n",
    ] {
      let script = ScriptWriter(plan, definition: text, version: "test").apply
      let call = try #require(script.split(separator: "migrate.enter(").last?.split(separator: ") \\gset").first)
      let told = try await withLedger { server in
        try await Psql.run(
          """
          \\set reason ''
          \\set again false
          \\set concurrent false
          \\pset tuples_only on
          \\pset format unaligned
          CREATE FUNCTION told(jsonb, text, text, text, boolean, boolean) RETURNS text LANGUAGE sql AS 'SELECT encode(convert_to($2, ''UTF8''), ''hex'')';
          SELECT '<' || told(\(call)) || '>';
          """, on: server)
      }
      let hex = text.utf8.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
      #expect(told.text.contains("<\(hex)>"), "\(told.text)")
    }
  }

  /// S05
  @Test func `S05: can be read by their owner only, also when an old file could by others`() async throws {
    try await withFolder { folder in
      let path = folder + "/apply.sql"
      try #require(close(creat(path, 0o644)) == 0)
      #expect(Files.write("SELECT 1", to: path))
      var status = stat()
      #expect(stat(path, &status) == 0 && status.st_mode & 0o777 == 0o600)
    }
  }

  @Test func `keep what they preview a comment, whatever it says`() async throws {
    try await withLedger { server in
      try await server.psql("CREATE TABLE t (id int PRIMARY KEY, v text)")
      // A carriage return ends a comment too.
      let compiled = try await Compiled(
        "batch: lines\nsource: t\nset:\n  v: {value: \"\\rDROP TABLE t;\\n\\\\q\\r\\nDROP TABLE t;\"}\n", on: server)
      #expect(try await Psql.apply(compiled, on: server).isDone)
      #expect(try await server.value("SELECT to_regclass('t')") == "t")
      let script = compiled.scripts.apply
      let preview = script.split(separator: "What it runs").last?.split(separator: "\\set ON_ERROR_STOP").first ?? ""
      let lines = preview.utf8.split { $0 == UInt8(ascii: "\n") || $0 == UInt8(ascii: "\r") }.dropFirst()
      #expect(lines.count > 100 && lines.allSatisfy { $0.starts(with: "--".utf8) })
    }
  }

  @Test func `P20: bring an older ledger up to date, and refuse a newer one`() async throws {
    try await withDatabase { server in
      try await server.psql(Products.table(rows: 20))
      for (index, script) in Scripts.ledger.prefix(2).enumerated() {
        try await server.psql(script)
        try await server.psql("INSERT INTO migrate.version (version) VALUES (\(index + 1))")
      }
      let compiled = try await Compiled(Products.definition, on: server)
      for script in [compiled.scripts.revert, compiled.scripts.verify] {
        let told = try await Psql.run(script, on: server)
        #expect(
          !told.isDone && told.text.contains("there is no ledger of version \(Scripts.ledger.count) here"),
          "\(told.text)")
      }
      let told = try await Psql.apply(compiled, on: server)
      #expect(told.isDone && told.text == "run 1 completed 14 rows 0 rejects\n", "\(told.text)")
      #expect(try await server.value("SELECT max(version) FROM migrate.version") == "\(Scripts.ledger.count)")

      try await server.psql("INSERT INTO migrate.version (version) VALUES (99)")
      for script in [compiled.scripts.apply, compiled.scripts.revert, compiled.scripts.verify] {
        let told = try await Psql.run(script, on: server)
        #expect(!told.isDone && told.text.contains("made by a newer version"), "\(told.text)")
      }
    }
  }

  @Test func `take what is said by -v as it is`() async throws {
    try await withLedger { server in
      try await server.psql(Products.table(rows: 20))
      let compiled = try await Compiled(Products.definition, on: server)
      let reason = Self.hostile.filter { !$0.isNewline }
      let told = try await Psql.run(compiled.scripts.apply, on: server, variables: ["reason": reason])
      #expect(told.isDone, "\(told.text)")
      #expect(
        try await server.rows("SELECT reason, version, back_end FROM migrate.runs") == ["\(reason)|test|procedure"])
      let refused = try await Psql.run(
        compiled.scripts.revert, on: server, variables: ["on_conflict": "'; DROP TABLE products; --"])
      #expect(!refused.isDone && refused.text.contains("on_conflict is stop, skip or force"), "\(refused.text)")
      #expect(try await server.value("SELECT count(*) FROM products") == "20")
    }
  }

  @Test func `install the ledger once when many come at a time`() async throws {
    try await withLedger { server in
      try await server.psql(Products.table(rows: 60))
      let expected = try await server.rows(Products.expected)
      let compiled = try await Compiled(Products.definition, on: server, batchSize: 5)
      // C09
      let told = try await withThrowingTaskGroup(of: Told.self) { group in
        for _ in 0..<8 { group.addTask { try await Psql.apply(compiled, on: server) } }
        return try await group.reduce(into: []) { $0.append($1) }
      }
      #expect(told.contains { $0.isDone })
      for one in told where !one.isDone {
        let isRefusal = [
          "is being worked on", "has begun in this moment", "has just been taken over", "was taken over",
        ].contains {
          one.text.contains($0)
        }
        #expect(isRefusal, "\(one.text)")
      }
      #expect(try await server.has(expected))
      #expect(try await server.value("SELECT count(*) FROM migrate.runs") == "1")
    }
  }

  @Test func `P24: verify what a run has promised, and say what is broken`() async throws {
    try await withLedger { server in
      try await server.psql(Products.table(rows: 60))
      let compiled = try await Compiled(
        Products.definition + "\nchecks:\n  after:\n    none is free: SELECT id FROM products WHERE price = 1\n",
        on: server,
        batchSize: 10)
      #expect(try await Psql.apply(compiled, on: server).isDone)
      let verify = compiled.scripts.verify
      // A second time would read the table a second time.
      #expect(verify.components(separatedBy: "migrate.verify(").count == 2)
      let good = try await Psql.run(verify, on: server)
      #expect(good.isDone && good.text.hasSuffix("run 1 verified\n"), "\(good.text)")
      let rows = good.text.split(separator: "\n").filter { $0.contains(" | ") }.dropFirst()
      let names = rows.map { $0.prefix { $0 != "|" }.trimmingCharacters(in: .whitespaces) }
      #expect(try await names == Client.verify(1, on: server).findings.map(\.name), "\(good.text)")

      for (damage, name) in [
        ("DELETE FROM migrate.batches WHERE ordinal = 3", "slices contiguous"),
        ("UPDATE migrate.batches SET through_key = '{7}' WHERE ordinal = 3", "slices contiguous"),
        ("DELETE FROM migrate.batches WHERE ordinal = 6", "slices contiguous"),
        ("UPDATE migrate.batches SET rows_changed = 9 WHERE ordinal = 3", "read = changed + unchanged + rejected"),
        ("INSERT INTO products VALUES (4, 100, 'active')", "left behind"),
        ("UPDATE products SET price = 1 WHERE id = 21", "check: none is free"),
      ] {
        let undo = "CREATE TABLE kept_batches AS TABLE migrate.batches; CREATE TABLE kept_products AS TABLE products;"
        try await server.psql(undo + damage)
        let found = try await Client.verify(1, on: server)
        #expect(!found.holds)
        #expect(found.findings.filter { $0.verdict == .broken }.map(\.name) == [name], "\(damage)")
        let told = try await Psql.run(verify, on: server)
        #expect(!told.isDone && told.text.contains("the run does not hold what it promised"), "\(told.text)")
        try await server.psql(
          """
          DELETE FROM migrate.batches; INSERT INTO migrate.batches OVERRIDING SYSTEM VALUE TABLE kept_batches;
          DELETE FROM products; INSERT INTO products TABLE kept_products; DROP TABLE kept_batches, kept_products
          """)
      }
      try await server.psql("UPDATE products SET price = 7 WHERE id = 9; DELETE FROM products WHERE id = 12")
      let edited = try await Client.verify(1, on: server)
      #expect(edited.holds)
      #expect(edited.findings.last?.name == "rows edited since" && edited.findings.last?.figure == 2)
    }
  }
}

extension String {
  /// As a double-quoted scalar of YAML.
  fileprivate var yaml: String {
    let escaped = unicodeScalars.map { scalar in
      switch scalar {
      case "\"": "\\\""
      case "\\": "\\\\"
      case "\n": "\\n"
      case "\r": "\\r"
      case "\t": "\\t"
      default: String(Character(scalar))
      }
    }
    return "\"\(escaped.joined())\""
  }
}
