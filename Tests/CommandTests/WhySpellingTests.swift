import MigrateJSON
import MigrateTestSupport
import TestSupport
import Testing

/// Equal values can have several texts, and who asks does not know by which of them the ledger knows a row.
@Suite struct `migrate why, of a key that has several texts` {
  private static let asked = ["3.5", "3.50", "3.500"]

  @Test(arguments: asked) func `finds what was rejected and what was mended`(key: String) async throws {
    try await withProject { project in
      try await prices(project, "validation: {small: code < 3.5}\nmax_rejects: 90%")
      #expect(try await project.migrate("apply", "codes", "--yes").status == 3)
      #expect(try await told(project, key) == ["rejected"])
      #expect(try await project.migrate("rejects", "1", "--fix", "SET note = 'seen'", "--yes").status == 0)
      #expect(try await told(project, key) == ["mended", "rejected"])
    }
  }

  @Test(arguments: asked) func `finds the pass of a canary that has the row`(key: String) async throws {
    try await withProject { project in
      try await prices(project, "canary: 50%")
      #expect(try await project.migrate("apply", "codes", "--yes").status == 4)
      #expect(try await project.migrate("resume", "1").status == 0)
      // In one of both, not in both and not in none.
      #expect(try await told(project, key) == ["changed"])
    }
  }

  private func prices(_ project: TestProject, _ rest: String) async throws {
    try await project.server.psql(
      """
      CREATE TABLE codes (code numeric PRIMARY KEY, note text);
      INSERT INTO codes SELECT n / 2.0, 'n' FROM generate_series(1, 6) AS n;
      INSERT INTO codes VALUES (3.50, 'n')
      """)
    try project.write(
      "batch: codes\nsource: public.codes\nset: {note: upper(note)}\n\(rest)\n", to: "migrations/codes.yaml")
  }

  private func told(_ project: TestProject, _ key: String) async throws -> [String] {
    let outcome = try await project.migrate("why", "codes", key, "--json")
    return try #require(outcome.events().first?["touches"]).elements.compactMap { $0["touch"]?.text }
  }
}
