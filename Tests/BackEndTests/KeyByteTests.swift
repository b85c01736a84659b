import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

@Suite struct `Keys that differ in their bytes alone` {
  /// To Swift the two last are one text.
  @Test(.timeLimit(.minutes(2)), arguments: BackEnd.allCases)
  func `V16 K06: are rows of their own, and batches may end between them`(backEnd: BackEnd) async throws {
    try await withLedger { server in
      try await server.psql(
        """
        CREATE TABLE words (word text COLLATE "C" PRIMARY KEY, n integer);
        INSERT INTO words VALUES ('a', 1), (U&'e\\0301', 2), (U&'\\00e9', 3)
        """)
      let compiled = try await Compiled(
        "batch: raise\nsource: words\nset: {n: n + 100}\n", on: server, batchSize: 1)
      #expect(try await backEnd.apply(compiled, on: server).isDone)
      #expect(
        try await server.rows("SELECT octet_length(word), n FROM words ORDER BY word COLLATE \"C\"")
          == ["1|101", "3|102", "2|103"])
      #expect(try await backEnd.revert(compiled, on: server).isDone)
      #expect(try await server.value("SELECT sum(n) FROM words") == "6")
    }
  }
}
