import Foundation
import Migrate
import TestSupport
import Testing

/// `make demo` without its build, which takes minutes: with the program that the tests have.
@Suite struct `The demo` {
  /// Variables that are meant for other databases, other projects and other shells, and none that a login would set.
  private static let hostile = [
    "PGHOST": "/nowhere", "PGHOSTADDR": "192.0.2.1", "PGPORT": "1", "PGUSER": "nobody", "PGPASSWORD": "x",
    "PGDATABASE": "none",
    "PGSSLMODE": "verify-full", "PGSERVICE": "none", "PGOPTIONS": "-c nonsense=1", "PGTZ": "Asia/Kolkata",
    "PGCLIENTENCODING": "LATIN1", "DATABASE_URL": "postgres://nowhere.invalid/none", "MIGRATE_DIR": "/nowhere",
    "MIGRATE_ENV": "none", "MIGRATE_JSON": "1", "MIGRATE_BATCH_SIZE": "1", "CDPATH": "/", "TMPDIR": "/nowhere",
    "LC_ALL": "xx_YY.UTF-8",
  ]

  @Test func `goes from its first step to its last, in any environment, and proves what it says`() async throws {
    try await withFolder { folder in
      let process = try Program.process(
        "/bin/bash", ["-c", "umask 077; exec migrations/demo/run --yes"], database: Server())
      let own = ["SIZE": "small", "DEMO_BIN": try Program.folder, "MIGRATE_FOLDER": folder + "/my box"]
      process.environment = Self.hostile.merging(own) { $1 }.merging(["PATH": "/usr/bin:/bin"]) { $1 }
      let (status, text) = try await onThread { try Program.output(of: process) }
      #expect(status == 0, "\(text)")
      #expect(text.components(separatedBy: "\nproven: ").count == 4, "\(text)")
      // Whether it could be interrupted is a matter of speed, and no matter here.
      #expect(text.contains("\nrun 1 completed ") && text.contains("\nrun 1 reverted "))
      // What it advises at its end works as it stands, in a shell that knows nothing of it.
      let lines = text.components(separatedBy: "== And now\n").last?.split(separator: "\n")
      let advised = lines?.filter { $0.hasPrefix("  ") }
      let shell = try Program.process(
        "/bin/bash", ["-ec", try #require(advised).joined(separator: "\n")], database: Server())
      shell.environment = ["PATH": "/usr/bin:/bin", "HOME": "/nonexistent"]
      let (code, said) = try await onThread { try Program.output(of: shell) }
      #expect(code == 0 && said.contains("\nvip_level\n"), "\(said)")
      try Sandbox(folder: folder + "/my box", environment: [:]).destroy()
    }
  }

  @Test(arguments: [
    (["--no"], ["SIZE": "small"], "usage: "), ([], ["SIZE": "tiny"], "SIZE is tiny, which is none of "),
  ])
  func `is refused what it does not know`(words: [String], environment: [String: String], says: String) async throws {
    let process = try Program.process("/bin/bash", ["migrations/demo/run"] + words, database: Server())
    process.environment = environment.merging(["PATH": "/usr/bin:/bin"]) { $1 }
    let (status, text) = try await onThread { try Program.output(of: process) }
    #expect(status == 2 && text.contains(says), "\(text)")
  }
}
