import Foundation
import MigrateJSON
import MigrateTestSupport
import TestSupport
import Testing

@Suite struct `migrate why` {
  /// What is known of a row: the runs, the newest first, each in a word and with its changes.
  private func told(_ project: TestProject, _ words: String...) async throws -> [String] {
    let outcome = try await project.start(["why"] + words + ["--json"]).finish()
    try #require(outcome.status == 0, "\(outcome)")
    return try #require(try outcome.events().first?["touches"]).elements.map { touch in
      let changes = (touch["changes"]?.elements ?? []).map { change in
        " \(change["column"]?.text ?? "")=\(change["before"]?.text ?? "NULL")>\(change["after"]?.text ?? "NULL")"
      }
      return "\(touch["run"]?.integer ?? 0) \(touch["touch"]?.text ?? "")" + changes.joined()
    }
  }

  private func define(_ project: TestProject, _ name: String, _ rest: String) throws {
    try project.write("batch: \(name)\n\(rest)\n", to: "migrations/\(name).yaml")
  }

  @Test func `tells each run that touched a row, the newest first, with before, after, who, when and why`() async throws
  {
    try await withProject { project in
      try define(
        project, "dearer",
        "source: public.items\nwhere: id > 500\nset: {price: price * 2, state: upper(state)}\nbatch_size: 70")
      try await project.migrate("apply", "close", "--yes", "--reason", "year's end")
      try await project.migrate("apply", "dearer", "--yes")
      let why = try await project.migrate("why", "items", "600")
      let host = try #require(try await project.value("SELECT client_host FROM migrate.runs LIMIT 1"))
      let at = try #require(
        try await project.value(
          "SELECT to_json(ended_at) #>> '{}' FROM (SELECT set_config('timezone', 'UTC', false)) AS s, migrate.batches WHERE run = 1 AND ordinal = 6"
        ))
      #expect(
        why.out.hasSuffix(
          """

            state      closed → CLOSED
            price      600.00 → 1200.00

          run 1 close, batch 6: at \(at) by postgres on \(host): year's end
            state      open → closed

          """), "\(why.out)\(at)")
      #expect(why.lines.first == "public.items, id 600" && why.lines[1].hasPrefix("run 2 dearer, batch 2: at "))
      #expect(try await told(project, "items", "500") == ["1 changed state=open>closed"])
      #expect(try await told(project, "public.items", "600", "price") == ["2 changed price=600.00>1200.00"])
      #expect(
        try await project.migrate("why", "items", "500", "price").out
          == "public.items, id 500: price\nno run has touched it\n")
      #expect(
        try await project.migrate("why", "items", "2000").out
          == "public.items, id 2000\nthere is no such row, and no run has touched one of that key\n")
      for (id, isThere) in [("500", JSON.bool(true)), ("2000", .bool(false))] {
        let told = try #require(try await project.migrate("why", "items", id, "price", "--json").events().first)
        #expect(told["is_there"] == isThere && told["touches"]?.elements.isEmpty == true, "\(told.compact)")
      }
    }
  }

  @Test func `tells of a revert what came back and what did not, and says where the undo is gone`() async throws {
    try await withProject { project in
      try await project.migrate("apply", "close", "--yes")
      try await project.server.psql("UPDATE items SET state = 'sold' WHERE id = 7; DELETE FROM items WHERE id = 8")
      let revert = try await project.migrate(
        "revert", "1", "--yes", "--on-conflict", "skip", "--reason", "wrong year")
      #expect(revert.status == 5)
      let edited = try await project.migrate("why", "items", "7").out
      #expect(
        edited.contains(#" by postgres: wrong year; not this row, which was edited since {"state": "sold"}"#),
        "\(edited)")
      #expect(try await project.migrate("why", "items", "8").out.contains("wrong year; not this row, which was gone\n"))
      #expect(try await project.migrate("why", "items", "9").out.contains(" by postgres: wrong year\n"))
      // A revert without conflicts needs its undo no more.
      try await project.migrate("apply", "close", "--yes")
      #expect(try await project.migrate("revert", "2", "--yes").status == 0)
      #expect(try await told(project, "items", "9") == ["2 maybe", "1 changed state=open>closed"])
      let back = try await project.migrate("why", "items", "9").out
      #expect(
        back.contains(
          "  maybe      it is taken back, and its undo, which had the values, went with that; a batch had gone over this key\n"
            + "  reverted   at "), "\(back)")
    }
  }

  /// Half-way back the undo has them all, and only some rows are restored.
  @Test func `tells of a run that is being taken back what it did, and which rows are back`() async throws {
    try await withProject { project in
      try await project.migrate("apply", "close", "--yes")
      try await project.server.psql("UPDATE items SET state = 'sold' WHERE id = 450")
      let stopped = try await project.migrate("revert", "1", "--yes", "--on-conflict", "stop")
      #expect(stopped.status == 5, "\(stopped)")
      for id in ["450", "950"] {
        #expect(try await told(project, "items", id) == ["1 changed state=open>closed"])
        #expect(!(try await project.migrate("why", "items", id).out.contains("reverted")))
      }
      try await project.server.psql(
        """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not 450'; END $$;
        UPDATE items SET state = 'closed' WHERE id = 450;
        CREATE CONSTRAINT TRIGGER refuse AFTER UPDATE ON items FOR EACH ROW WHEN (old.id = 450) EXECUTE FUNCTION refuse()
        """)
      #expect(try await project.migrate("revert", "1", "--yes").status == 1)
      for (id, isBack) in [("450", false), ("350", false), ("950", true)] {
        #expect(try await told(project, "items", id) == ["1 changed state=open>closed"])
        #expect(try await project.migrate("why", "items", id).out.contains("\n  reverted   at ") == isBack)
      }
    }
  }

  @Test func `tells how a row of quarantine was mended, by whom, when and why, and what a revert made of that`()
    async throws
  {
    try await withProject { project in
      try await project.quarantine()
      #expect(try await project.migrate("apply", "close", "--yes").status == 3)
      #expect(
        try await project.migrate(
          "rejects", "1", "--fix", "SET price = 3", "--where", "id = 500", "--reason", "too dear", "--yes"
        ).status == 0)
      try await project.server.psql(
        """
        DO $$ BEGIN CREATE ROLE mender SUPERUSER; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
        SET SESSION AUTHORIZATION mender; SELECT migrate.mend(1, 'price', 'price - 2')
        """)
      #expect(
        try await told(project, "items", "500") == [
          "1 mended price=3.00>1.00", "1 mended price=500.00>3.00", "1 rejected",
        ])
      #expect(
        try await told(project, "items", "500", "price") == ["1 mended price=3.00>1.00", "1 mended price=500.00>3.00"])
      #expect(try await told(project, "items", "500", "state") == ["1 rejected"])
      #expect(try await told(project, "items", "501", "price") == [])
      let host = try #require(try await project.value("SELECT client_host FROM migrate.runs"))
      let at = try await project.server.psql(
        "SELECT to_json(fixed_at) #>> '{}' FROM (SELECT set_config('timezone', 'UTC', false)) AS s, migrate.fixes WHERE key = '{500}' ORDER BY fix"
      ).map { $0[0] ?? "" }
      let why = try await project.migrate("why", "items", "500", "price").out
      #expect(
        why == """
          public.items, id 500: price

          run 1 close, mended: at \(at[1]) by mender
            price      3.00 → 1.00
            by         SET price = (price - 2)

          run 1 close, mended: at \(at[0]) by postgres on \(host): too dear
            price      500.00 → 3.00
            by         SET price = 3 WHERE id = 500

          """, "\(why)")
      #expect(try await project.migrate("apply", "--rejects", "1", "--yes").status == 0)
      try await project.server.psql("UPDATE items SET price = 7, state = 'open' WHERE id = 500")
      let back = try await project.migrate(
        "revert", "1", "--yes", "--on-conflict", "skip", "--reason", "wrong year")
      #expect(back.status == 5, "\(back)")
      let undone = try await project.migrate("why", "items", "500", "price").out
      #expect(
        undone.contains(" by postgres: wrong year; not this row, which was edited since {\"price\": \"7.00\"}\n"),
        "\(undone)")
    }
  }

  @Test(arguments: [
    (["items", "7", "prise"], "public.items has no column \"prise\"\n  help: did you mean `price`?"),
    (["items", "7", "nowhere"], "public.items has no column \"nowhere\"\n  help: the columns are id, state, price"),
    (["pairs", "1", "2", "notes"], "public.pairs has no column \"notes\"\n  help: did you mean `note`?"),
    (["trios", "1,2,3", "notes"], "public.trios has no column \"notes\"\n  help: did you mean `note`?"),
  ])
  func `names a column that the table does not have, and the nearest one`(words: [String], said: String) async throws {
    try await withProject { project in
      try await project.server.psql(
        """
        CREATE TABLE pairs (a integer, b integer, note text, PRIMARY KEY (a, b));
        CREATE TABLE trios (a integer, b integer, c integer, note text, PRIMARY KEY (a, b, c))
        """)
      #expect(try await project.migrate("apply", "close", "--yes").status == 0)
      let refused = try await project.start(["why"] + words).finish()
      #expect(refused.status == 2 && refused.err.contains(said), "\(refused)")
    }
  }

  @Test func `tells of quarantine, and what is known without undo`() async throws {
    try await withProject { project in
      try await project.quarantine()
      try await project.migrate("apply", "close", "--yes")
      #expect(try await told(project, "items", "500") == ["1 rejected"])
      #expect(try await told(project, "items", "501") == ["1 changed state=open>closed"])
      let why = try await project.migrate("why", "items", "500")
      #expect(why.out.contains("  rejected   new row for relation \"items\" violates check constraint"), "\(why.out)")
      try define(project, "bare", "source: public.items\nwhere: id > 900\nset: {price: '1.00'}\nundo: none")
      try await project.migrate("apply", "bare", "--yes")
      #expect(try await told(project, "items", "950") == ["2 done", "1 changed state=open>closed"])
      #expect(try await told(project, "items", "900") == ["1 changed state=open>closed"])
      #expect(
        try await project.migrate("why", "items", "950", "price").out.contains(
          "  done       written, or found as it should be: "))
      try await project.server.psql("DROP TABLE migrate.undo_2_1")
      #expect(try await told(project, "items", "950", "price") == ["2 maybe"])
    }
  }

  @Test func `tells of a row of quarantine what is open, and what was done at the second try`() async throws {
    try await withProject { project in
      try await project.quarantine()
      #expect(try await project.migrate("apply", "close", "--yes").status == 3)
      #expect(try await project.migrate("apply", "--rejects", "1", "--yes").status == 3)
      #expect(try await told(project, "items", "500") == ["1 rejected"])
      // Since then it has the reason that is told.
      let rejected = try #require(try await project.migrate("why", "items", "500", "--json").events().first)
      let reject = try #require(try await project.migrate("rejects", "1", "--json").events().first)
      #expect(rejected["touches"]?.elements.first?["at"]?.text == reject["rejected_at"]?.text, "\(rejected)")
      #expect(try await told(project, "items", "499") == ["1 changed state=open>closed"])
      #expect(try await project.migrate("rejects", "1", "--fix", "SET price = 1", "--yes").status == 0)
      #expect(try await project.migrate("apply", "--rejects", "1", "--yes").status == 0)
      let mended = "1 mended price=500.00>1.00"
      #expect(try await told(project, "items", "500") == ["1 changed state=open>closed", mended])
      #expect(try await told(project, "items", "500", "price") == [mended])
      #expect(try await project.migrate("revert", "1", "--yes").status == 0)
      #expect(try await told(project, "items", "500") == ["1 maybe", mended])
      // Left out and never done: the run has not touched it.
      #expect(try await project.migrate("apply", "close", "--yes").status == 3)
      #expect(try await told(project, "items", "500") == ["2 rejected", "1 maybe", mended])
      #expect(try await project.migrate("revert", "2", "--yes").status == 0)
      #expect(try await told(project, "items", "500") == ["1 maybe", mended])
      #expect(try await told(project, "items", "499") == ["2 maybe", "1 maybe"])
    }
  }

  /// Both passes go over its key, and rows are rejected in both.
  @Test(arguments: ["id", "id, sku"])
  func `tells of a row the pass of a canary that it belongs to`(key: String) async throws {
    try await withLedger { server in
      try await withFolder { folder in
        let project = TestProject(folder: folder, server: server)
        try await server.psql(
          """
          CREATE TABLE t (id integer, sku text, n integer, PRIMARY KEY (\(key)));
          INSERT INTO t SELECT n, 's' || n, n FROM generate_series(1, 60) AS n; ANALYZE t
          """)
        try define(project, "half", "source: t\nset: {n: n + 1}\nvalidation: {odd: n % 3 > 0}\ncanary: 50%")
        #expect(try await project.migrate("apply", "half", "--yes").status == 4)
        #expect(try await project.migrate("resume", "1").status == 3)
        let isOne = key == "id"
        let touches = """
          SELECT w.touch, count(*), count(DISTINCT t.id), count(DISTINCT s.canary),
                 bool_and(s.canary = ((hashtextextended(\(isOne ? "id::text" : "ARRAY[id::text, sku]::text"), 0) & 9223372036854775807) % 100000 < 50000))
          FROM   t, migrate.why('t', \(isOne ? "ARRAY[id::text]" : "ARRAY[id::text, sku]")) AS w
          JOIN   migrate.batches AS b ON b.kind = 'apply' AND b.seq = w.seq
          JOIN   migrate.slices AS s ON (s.run, s.slice) = (b.run, b.slice)
          GROUP  BY w.touch ORDER BY w.touch
          """
        #expect(
          try await project.server.psql(touches) == [
            ["changed", "40", "40", "2", "t"], ["rejected", "20", "20", "2", "t"],
          ])
        try await server.psql("DROP TABLE migrate.undo_1_1")
        #expect(
          try await project.server.psql(touches) == [
            ["maybe", "40", "40", "2", "t"], ["rejected", "20", "20", "2", "t"],
          ])
      }
    }
  }

  /// The column's type, how it is written, and the key of row n.
  @Test(arguments: [
    ("bigint", "n"), ("numeric(8,2)", "n / 4.0"),
    ("text COLLATE \"C\"", "CASE n % 2 WHEN 0 THEN 'a' ELSE 'B' END || n"),
    ("text COLLATE \"en-x-icu\"", "CASE n % 2 WHEN 0 THEN 'a' ELSE 'B' END || n"), ("varchar(9)", "'k,' || n"),
    ("character(6)", "'c' || n"), ("uuid", "md5(n::text)::uuid"), ("bytea", "decode(md5(n::text), 'hex')"),
    ("timestamptz", "'2026-03-29 00:00 Europe/Berlin'::timestamptz + n * interval '7 minutes'"),
    ("date", "date '2026-01-01' + n"), ("positive", "n"), ("\"Kind of\"", "(ARRAY['b', 'a', 'C c'])[n]::\"Kind of\""),
    ("regclass", "n::oid::regclass"), ("interval", "n * interval '1 hour'"),
  ])
  func `finds a row by a key of any type, as the batches have compared it`(type: String, key: String) async throws {
    try await withLedger { server in
      try await withFolder { folder in
        let project = TestProject(folder: folder, server: server)
        let rows = type == "\"Kind of\"" ? 3 : 40
        try await server.psql(
          """
          CREATE DOMAIN positive AS integer CHECK (VALUE > 0); CREATE TYPE "Kind of" AS ENUM ('b', 'a', 'C c');
          CREATE TABLE t ("The key" \(type) PRIMARY KEY, n integer NOT NULL, tags text[] NOT NULL);
          INSERT INTO t SELECT \(key), n, ARRAY['a', n::text] FROM generate_series(1, \(rows)) AS n; ANALYZE t
          """)
        try define(project, "count", "source: t\nset:\n  n: n + 100\n  tags: array_append(tags, 'b')\nbatch_size: 1")
        #expect(try await project.migrate("apply", "count", "--yes").status == 0)
        for n in [1, 2, 3, rows] {
          let key = try #require(
            try await server.psql("SELECT CAST(\"The key\" AS text) FROM t WHERE n = \(n + 100)").first?.first?.flatMap(
              \.self))
          #expect(
            try await told(project, "t", key) == ["1 changed n=\(n)>\(n + 100) tags={a,\(n)}>{a,\(n),b}"], "\(key)")
        }
      }
    }
  }

  @Test func `takes a key of several columns as words or in one, with quotes around a comma`() async throws {
    try await withLedger { server in
      try await withFolder { folder in
        let project = TestProject(folder: folder, server: server)
        try await server.psql(
          """
          CREATE TABLE t (a varchar(9), b integer, price integer, sku text NOT NULL UNIQUE, PRIMARY KEY (a, b));
          INSERT INTO t SELECT 'a,' || n / 3, n % 3, n, 's' || n FROM generate_series(0, 29) AS n;
          CREATE TABLE parts (a integer, b text, PRIMARY KEY (a, b)) PARTITION BY RANGE (a);
          CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (100);
          INSERT INTO parts SELECT n, 'x' FROM generate_series(1, 20) AS n; ANALYZE
          """)
        try define(project, "one", "source: t\nset: {price: price + 1}\nbatch_size: 4")
        try define(project, "two", "source: parts\nset: {b: '''y'''}\nbatch_size: 4")
        #expect(try await project.migrate("apply", "one", "--yes").status == 0)
        let found = ["1 changed price=7>8"]
        #expect(try await told(project, "t", "a,2", "1") == found)
        #expect(try await told(project, "t", "\"a,2\",1") == found)
        #expect(try await told(project, "t", "\"a,2\",1", "price") == found)
        #expect(try await told(project, "t", "a,2", "1", "price") == found)
        for words in [["t", "7"], ["t", "a", "1", "2", "3"], ["t", "\"a,2,1"]] {
          let refused = try await project.start(["why"] + words).finish()
          #expect(
            refused.status == 1 && refused.err.contains("the key of public.t is (a, b), which these words are not"),
            "\(refused)")
        }
        let none = try await project.migrate("why", "nowhere", "7")
        #expect(none.status == 1 && none.err.contains("there is no table nowhere"))
        // Under its present name, and by what it is a part of.
        try await server.psql("ALTER TABLE t RENAME TO renamed")
        #expect(try await told(project, "renamed", "a,2", "1") == found)
      }
    }
  }

  @Test func `finds a row of a partition, and one that a run has walked by another key`() async throws {
    try await withLedger { server in
      try await withFolder { folder in
        let project = TestProject(folder: folder, server: server)
        try await server.psql(
          """
          CREATE TABLE parts (a integer PRIMARY KEY, n integer) PARTITION BY RANGE (a);
          CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (100);
          INSERT INTO parts SELECT n, n FROM generate_series(1, 20) AS n;
          CREATE TABLE u (sku text NOT NULL UNIQUE, id integer NOT NULL, n integer);
          INSERT INTO u SELECT 's' || n, n, n FROM generate_series(1, 20) AS n; ANALYZE
          """)
        try define(project, "one", "source: parts\nset: {n: n + 1}\nbatch_size: 4")
        try define(project, "two", "source: u\nset: {n: n + 1}\nbatch_size: 4")
        #expect(try await project.migrate("apply", "one", "two", "--yes").status == 0)
        #expect(try await told(project, "part", "7") == ["1 changed n=7>8"])
        #expect(try await told(project, "parts", "7") == ["1 changed n=7>8"])
        #expect(try await told(project, "u", "s7") == ["2 changed n=7>8"])
        try await server.psql("ALTER TABLE u ADD PRIMARY KEY (id)")
        #expect(try await told(project, "u", "7") == ["2 changed n=7>8"])
        try await server.psql("DELETE FROM u WHERE id = 8")
        #expect(try await told(project, "u", "8") == ["2 maybe"])
        #expect(
          try await project.migrate("why", "u", "8").out.contains(
            "it has walked (sku), which of a row that is gone nobody knows"))
        // Before there is a ledger nothing is known.
        let bad = try await project.migrate("why", "u", "seven")
        #expect(bad.status == 1 && bad.err.contains("invalid input syntax for type integer: \"seven\""))
      }
    }
  }

  @Test func `opens the arrays of the row's own batch and no others`() async throws {
    try await withProject(rows: 20_000, batchSize: 100) { project in
      try await project.migrate("apply", "close", "--yes")
      #expect(try await told(project, "items", "15000") == ["1 changed state=open>closed"])
      let query = try #require(
        try await project.value(
          "SELECT migrate.image_query(1, 'items', 'migrate.undo_1_1', ARRAY['CAST($1[1] AS bigint)'])"))
      let plan = try await project.server.psql(
        """
        SET enable_seqscan = off; PREPARE look(text[], integer, integer, integer) AS \(query);
        SET plan_cache_mode = force_generic_plan; EXPLAIN EXECUTE look('{15000}', 0, 150, 0)
        """
      ).compactMap { $0.first ?? nil }.joined(separator: "\n")
      #expect(plan.contains("Index Cond: ((slice = $2) AND (ordinal = $3) AND (part = $4))"), "\(plan)")
    }
  }
}
