import MigratePostgres
import TestSupport
import Testing

@Suite struct `A test's database` {
  @Test func `is its own and empty`() async throws {
    try await withDatabase { first in
      try await withDatabase { second in
        try await first.psql("CREATE TABLE t (n int)")
        #expect(try await second.psql("SELECT to_regclass('t')") == [[nil]])
        #expect(try await first.psql("SELECT 1, NULL; SELECT count(*), 'x' FROM t") == [["0", "x"]])
      }
    }
  }
}
