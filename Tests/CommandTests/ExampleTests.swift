import Foundation
import MigrateCommandLine
import MigratePostgres
import TestSupport
import Testing

/// The examples of `--help`, run as they stand there.
@Suite struct `The examples of the help` {
  static let lines: [String] = {
    let commands = Commands.program.commands + Commands.program.commands.flatMap(\.subcommands)
    return Commands.program.examples.map(\.line) + commands.flatMap(\.examples).map(\.line)
  }()

  @Test func `are there for each command that does something`() {
    for command in Commands.program.commands where command.name != "version" {
      #expect(!command.examples.isEmpty, "\(command.name)")
    }
  }

  @Test(arguments: lines)
  func `do what they say`(line: String) async throws {
    try await withProject { project in
      try project.write(
        """
        batch: prices
        source: public.items
        params: {rate: {type: numeric, default: 1.1}}
        set:
          price: round(price * :rate, 2)
        batch_size: 100
        on_error: continue

        """, to: "migrations/prices.yaml")
      try await stage(line, project)
      let shell = Process()
      shell.executableURL = URL(fileURLWithPath: "/bin/bash")
      shell.arguments = ["-c", "set -e\n" + line]
      shell.environment = [
        "PATH": "\((Binary.path as NSString).deletingLastPathComponent):/usr/bin:/bin",
        "DATABASE_URL": project.database,
        // What a person answers.
        "MIGRATE_YES": "1", "MIGRATE_FOLDER": project.folder + "/box",
      ]
      shell.currentDirectoryURL = URL(fileURLWithPath: project.folder)
      let pipe = Pipe()
      (shell.standardOutput, shell.standardError) = (pipe, pipe)
      try shell.run()
      let said = try await onThread { try pipe.fileHandleForReading.readToEnd() ?? Data() }
      shell.waitUntilExit()
      #expect(shell.terminationStatus == 0, "\(line): \(String(decoding: said, as: UTF8.self))")
      if line.contains("sandbox") {
        let destroyed = try await project.migrate(
          "sandbox", "destroy", "--yes", environment: ["MIGRATE_FOLDER": project.folder + "/box"])
        #expect(destroyed.status == 0)
      }
    }
  }

  /// Run 17, where the example has one: complete, or paused for who steers it.
  private func stage(_ line: String, _ project: TestProject) async throws {
    let word = line.split(separator: " ").dropFirst().first ?? ""
    guard
      ["revert", "status", "wait", "why", "rejects", "verify", "pause", "resume", "cancel", "tune"].contains(word)
        || line.contains("--rejects")
    else { return }
    #expect(try await project.migrate("apply", "close", "--yes").status == 0)
    try await project.server.psql(
      """
      ALTER TABLE migrate.runs ALTER run RESTART WITH 17;
      CREATE SCHEMA shop;
      CREATE TABLE shop.products (id bigint PRIMARY KEY, price numeric);
      CREATE TABLE shop.order_items (order_id bigint, line bigint, PRIMARY KEY (order_id, line))
      """)
    try project.write("SELECT migrate.require('prices');", to: "drop_old_price.sql")
    guard ["pause", "resume", "cancel", "tune"].contains(word) else {
      #expect(try await project.migrate("apply", "prices", "--yes").status == 0)
      return
    }
    let gate = try await project.gate(behind: 12)
    let child = try project.start(["apply", "prices", "--yes"])
    try await project.waitForGate(gate)
    child.signal(15)
    #expect(try await child.finish().status == 4)
    try await gate.close()
  }
}
