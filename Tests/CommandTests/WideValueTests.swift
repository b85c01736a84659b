import Foundation
import MigratePostgres
import TestSupport
import Testing

@Suite struct `A value of many megabytes` {
  /// V15
  @Test func `V15: stays in the server, there and back`() async throws {
    try await withProject { project in
      try await project.server.psql(
        """
        CREATE TABLE blobs (id integer PRIMARY KEY, b bytea COMPRESSION lz4);
        INSERT INTO blobs SELECT n, convert_to(repeat('x', 90000000), 'UTF8') FROM generate_series(1, 1) AS n
        """)
      let sums = "SELECT md5(b) FROM blobs"
      let before = try await project.value(sums)
      try project.write(
        "batch: blobs\nsource: blobs\nbatch_size: 1\nset:\n  b: set_byte(b, 89999999, 0)\n", to: "migrations/blobs.yaml"
      )
      for words in ["apply blobs --yes", "revert blobs --yes"] {
        // As text one value has 180 MB; the client could not hold it.
        let outcome = try await project.start(
          ["-c", "ulimit -v 160000; exec \"$0\" $1", Binary.path, words], executable: "/bin/bash"
        ).finish()
        #expect(outcome.status == 0, "\(words): \(outcome.err)")
        if words.hasPrefix("apply") { #expect(try await project.value(sums) != before) }
      }
      #expect(try await project.value(sums) == before)
    }
  }
}
