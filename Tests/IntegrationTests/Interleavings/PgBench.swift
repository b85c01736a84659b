import Foundation
import MigratePostgres
import TestSupport

/// pgbench with scripts of its own, as a user would run it.
enum PgBench {
  /// Counts, edits, inserts, deletes, and transactions that touch their rows from the highest key to the lowest.
  static let scripts = [
    "count": count("random(1, 1000)"),
    "reverse": "BEGIN;" + ["random(700, 1000)", "random(400, 699)", "random(1, 399)"].map(count).joined() + "COMMIT;",
    "edit": """
    \\set k random(1, 1000)
    UPDATE counters.rows SET note = 'other' WHERE id = 10 * :k;
    """,
    "insert": """
    \\set k random(1, 1000)
    WITH born AS (
      INSERT INTO counters.rows (id, n) VALUES (10 * :k, -1000000 * nextval('counters.rows_birth_seq'))
      ON CONFLICT DO NOTHING RETURNING birth, n)
    INSERT INTO counters.added TABLE born;
    """,
    "delete": """
    \\set k random(1, 1000)
    DELETE FROM counters.rows WHERE id = 10 * :k;
    """,
  ]

  private static func count(_ key: String) -> String {
    """

    \\set k \(key)
    WITH counted AS (UPDATE counters.rows SET n = n + 1 WHERE id = 10 * :k RETURNING birth)
    INSERT INTO counters.added SELECT birth, 1 FROM counted;

    """
  }

  /// Runs the scripts at random, for at least so long; `isDone` when no client met an error. By a number of transactions, each with a rest of
  /// ten milliseconds: its clock is a signal, which a child of this process does not get.
  static func run(
    _ scripts: [String: String], clients: Int, seconds: Int, on server: Server
  ) async throws -> (isDone: Bool, text: String) {
    try await withFolder { folder in
      for (name, text) in scripts {
        try Data("\\sleep 10 ms\n\(text)".utf8).write(to: URL(fileURLWithPath: "\(folder)/\(name).sql"))
      }
      return try await onThread {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/pgbench")
        process.arguments =
          ["-n", "-c", String(clients), "-t", String(seconds * 150)]
          + scripts.keys.sorted().flatMap { ["-f", "\(folder)/\($0).sql"] } + [server.redacted]
        process.environment = ["PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"]
        let pipe = Pipe()
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = pipe
        process.standardError = pipe
        try process.run()
        let output = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (process.terminationStatus == 0, String(decoding: output, as: UTF8.self))
      }
    }
  }
}
