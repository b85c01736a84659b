import Foundation
package import Migrate

/// psql, as a user would run it; a `.psqlrc` is not read.
package enum Psql {
  /// Runs a script from a file.
  package static func run(
    _ script: String, on server: Server, variables: [String: String] = [:], options: [String] = []
  ) async throws -> Told {
    let file = FileManager.default.temporaryDirectory.appendingPathComponent("migrate-\(UUID().uuidString).sql")
    defer { try? FileManager.default.removeItem(at: file) }
    try Data(script.utf8).write(to: file)
    return try await run(
      "psql",
      ["-X", "-d", server.redacted, "-v", "ON_ERROR_STOP=1"] + variables.flatMap { ["-v", "\($0.key)=\($0.value)"] }
        + options + ["-f", file.path])
  }

  /// The whole database as a script.
  package static func dump(_ server: Server) async throws -> Told {
    try await run("pg_dump", ["-d", server.redacted])
  }

  /// Debian's /usr/bin/psql is a script that looks for the newest of them each time.
  private static let folder: String = {
    let root = "/usr/lib/postgresql"
    let versions = (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []
    let folders = versions.compactMap(Int.init).sorted(by: >).map { "\(root)/\($0)/bin" }
    return folders.first { FileManager.default.isExecutableFile(atPath: "\($0)/psql") } ?? "/usr/bin"
  }()

  private static func run(_ program: String, _ arguments: [String]) async throws -> Told {
    try await onThread {
      let process = Process()
      process.executableURL = URL(fileURLWithPath: "\(folder)/\(program)")
      process.arguments = arguments
      process.environment = ["PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"]
      let pipe = Pipe()
      process.standardInput = FileHandle.nullDevice
      process.standardOutput = pipe
      process.standardError = pipe
      try process.run()
      let output = pipe.fileHandleForReading.readDataToEndOfFile()
      process.waitUntilExit()
      return Told(isDone: process.terminationStatus == 0, String(decoding: output, as: UTF8.self))
    }
  }

  /// Runs the plan's `apply.sql`, in a session that has done `preamble` before.
  package static func apply(
    _ compiled: Compiled, on server: Server, again: Bool = false, behind preamble: String = ""
  ) async throws -> Told {
    try await run("\(preamble)\n\(compiled.scripts.apply)", on: server, variables: again ? ["again": "true"] : [:])
  }

  /// Runs the plan's `revert.sql`.
  package static func revert(
    _ compiled: Compiled, on server: Server, onConflict policy: ConflictPolicy = .stop
  ) async throws -> Told {
    try await run(compiled.scripts.revert, on: server, variables: ["on_conflict": policy.rawValue])
  }
}
