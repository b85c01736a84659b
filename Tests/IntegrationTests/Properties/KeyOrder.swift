import Migrate
import MigrateTestSupport
import TestSupport
import Testing

@Suite struct `The order of the walk is the order of the column` {
  /// Where the eligible rows are few the keys are read once into a table of the run's own: kept there under another order, the
  /// batches' ends would pass rows over.
  @Test(arguments: [
    #"text COLLATE "en-x-icu""#, "text COLLATE by_number", "text COLLATE no_case", "citext", "folded",
  ])
  func `K07 K08: of collected keys, too`(type: String) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE EXTENSION citext;
        CREATE COLLATION by_number (provider = icu, locale = 'und-u-kn');
        CREATE COLLATION no_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
        CREATE DOMAIN folded AS text COLLATE "en-x-icu";
        CREATE TABLE t (k \(type) PRIMARY KEY, v integer NOT NULL, n integer);
        INSERT INTO t SELECT chr(CASE WHEN n % 2 = 0 THEN 65 ELSE 97 END + n % 26) || CASE n % 3 WHEN 0 THEN '_' WHEN 1 THEN '' ELSE '9' END || n,
                             n % 1000, 0
        FROM   generate_series(1, 100000) AS n;
        ANALYZE t
        """)
      let before = try await image(of: "t", on: server)
      let expected = try await image(of: "t", on: server, after: "UPDATE t SET n = 1 WHERE v = 7")
      let applied = try await migrated("batch: b\nsource: t\nwhere: v = 7\nset: {n: 1}", on: server, batchSize: 7)
      #expect(applied.plan.statements(.bounds).map(\.name).contains(.collect))
      #expect(applied.outcome == .completed(leftBehind: 0))
      #expect(applied.counts == BatchCounts(batches: 15, read: 100, changed: 100))
      #expect(expected.differences(to: try await image(of: "t", on: server)) == [])
      #expect(try await reverted(applied.run, on: server) == .reverted(conflicts: 0))
      #expect(before.differences(to: try await image(of: "t", on: server)) == [])
    }
  }

  /// K20: the keys are as old as the run, the rows are not.
  @Test(arguments: ["", "undo: none\n"])
  func `K20: of collected keys those that are not eligible any more are not counted as read`(undo: String)
    async throws
  {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE t (k integer PRIMARY KEY, v integer NOT NULL, n integer);
        INSERT INTO t SELECT n, n % 1000, 0 FROM generate_series(1, 100000) AS n;
        ANALYZE t
        """)
      let stopped = try await migrated(
        "batch: b\nsource: t\nwhere: v = 7\n\(undo)set: {n: 1}", on: server, batchSize: 20, stopAfter: 1)
      #expect(stopped.plan.statements(.bounds).map(\.name).contains(.collect))
      try await server.psql("UPDATE t SET v = 0 WHERE v = 7 AND k > 20000 AND k % 2000 = 7")
      #expect(try await resumed(stopped.run, on: server) == .completed(leftBehind: 0))
      #expect(
        try await server.psql("SELECT sum(rows_read), sum(rows_changed), sum(rows_unchanged) FROM migrate.batches")
          == [["60", "60", "0"]])
      #expect(try await server.psql("SELECT count(*) FROM t WHERE n = 1") == [["60"]])
    }
  }

  /// K08: to the index 'abc' and 'ABC' are two keys, to the column one, and behind the first the second is not met.
  @Test func `K07 K08: an index with another order than its column's leads no walk`() async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE COLLATION no_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
        CREATE TABLE t (k text COLLATE no_case NOT NULL, p text NOT NULL, n integer);
        CREATE UNIQUE INDEX ON t (k COLLATE "C");
        CREATE UNIQUE INDEX ON t (p text_pattern_ops);
        INSERT INTO t VALUES ('abc', 'a'), ('ABC', 'b'), ('Abc', 'c')
        """)
      for key in ["k", "p"] {
        let yaml = "batch: b\nsource: {table: t, key: \(key)}\nset: {n: 1}"
        #expect(try await codes(of: yaml, on: server) == ["key-not-unique"], "\(key)")
      }
      #expect(try await codes(of: "batch: b\nsource: t\nset: {n: 1}", on: server) == ["no-key"])
    }
  }

  /// K08: without its own operators in sight citext is compared as the text that it can be cast to, and sorted as citext.
  @Test func `K08: a key whose own operators are out of sight is refused, and walked where they are in sight`()
    async throws
  {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE SCHEMA kinds;
        CREATE EXTENSION citext SCHEMA kinds;
        CREATE TABLE t (k kinds.citext PRIMARY KEY, n integer);
        INSERT INTO t SELECT (ARRAY['a', 'B', 'c', 'D'])[n % 4 + 1] || n, n FROM generate_series(1, 20) AS n
        """)
      let yaml = "batch: b\nsource: public.t\nset: {n: n + 100}"
      #expect(try await codes(of: yaml, on: server) == ["hidden-key-operators"])
      let applied = try await migrated(yaml + "\nsearch_path: [public, kinds]", on: server, batchSize: 3)
      #expect(applied.outcome == .completed(leftBehind: 0))
      #expect(try await server.psql("SELECT count(*) FROM t WHERE n > 100") == [["20"]])
    }
  }

  /// V20: a name without its schema means whatever stands first in the search_path on the day it is read.
  @Test func `V20: a key that is the name of an object is kept by its number`() async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE SCHEMA early;
        CREATE TABLE m0 (); CREATE TABLE m1 (); CREATE TABLE m2 (); CREATE TABLE m3 (); CREATE TABLE m4 (); CREATE TABLE m5 ();
        CREATE TABLE t (k regclass PRIMARY KEY, n integer);
        INSERT INTO t SELECT ('m' || n)::regclass, n FROM generate_series(0, 5) AS n
        """)
      let yaml = "batch: b\nsource: public.t\nsearch_path: [early, public]\nset: {n: n + 10}"
      let stopped = try await migrated(yaml, on: server, batchSize: 2, stopAfter: 1)
      #expect(stopped.outcome == .paused)
      // The last key of the first batch, and the upper end, are now something else by name.
      try await server.psql("CREATE TABLE early.m1 (); CREATE TABLE early.m5 (); DROP TABLE m5")
      #expect(try await resumed(stopped.run, on: server) == .completed(leftBehind: 0))
      #expect(try await server.psql("SELECT n FROM t ORDER BY k") == [["10"], ["11"], ["12"], ["13"], ["14"], ["15"]])
      #expect(try await server.psql("SELECT count(*), sum(rows_changed) FROM migrate.batches") == [["3", "6"]])
      #expect(try await reverted(stopped.run, on: server) == .reverted(conflicts: 0))
      #expect(try await server.psql("SELECT n FROM t ORDER BY k") == [["0"], ["1"], ["2"], ["3"], ["4"], ["5"]])
    }
  }
}
