import Foundation
import MigratePostgres
import RunTestSupport
import TestSupport
import Testing

/// P01; the real client, killed at random moments, forward and back.
@Suite struct `A client that is killed` {
  @Test func `P01: is gone on with by the next one, and by a revert`() async throws {
    var random = Torture.random("kills")
    let kills = Torture.count(20, torture: 200)
    let batches = 12
    try await withDatabase { server in
      try await withFolder { folder in
        let program = try Program(folder: folder, server: server, definition: Shop.definition)
        var killed = 0
        while killed < kills {
          let shop = try await Shop.fresh(server, rows: batches * 10)
          killed += try await Self.kill(program, ["apply", "prices", "--yes"], upTo: kills - killed, shop, &random)
          let run = try await shop.newestRun
          #expect(try await shop.complaints(afterApplying: run) == [])
          killed += try await Self.kill(program, ["revert", "\(run)", "--yes"], upTo: kills - killed, shop, &random)
          #expect(try await shop.complaints(afterReverting: run) == [])
        }
      }
    }
  }

  /// Starts the program until it ends well, and kills it each time at a random moment; half of them when the ledger says that
  /// it is among its batches.
  private static func kill(
    _ program: Program, _ arguments: [String], upTo most: Int, _ shop: Shop, _ random: inout SplitMix
  ) async throws -> Int {
    var killed = 0
    while true {
      let process = try program.start(arguments)
      if killed < most {
        if Bool.random(using: &random) {
          try await shop.waitForProgress(of: process)
        }
        try await Task.sleep(for: .milliseconds(Int.random(in: 0...60, using: &random)))
        process.kill()
      }
      let status = await process.wait()
      if status == .exited(0) { return killed }
      guard status == .killed else { throw TestSupportError("\(arguments) ended with \(status): \(program.output)") }
      killed += 1
    }
  }
}

extension Shop {
  /// Returns when the process has ended a batch, or itself.
  fileprivate func waitForProgress(of process: Program.Running) async throws {
    let count = """
      SELECT CASE WHEN to_regclass('migrate.batches') IS NOT NULL
                  THEN (xpath('/table/row/n/text()', query_to_xml('SELECT count(*) AS n FROM migrate.batches', true, false, '')))[1]::text END
      """
    let before = try await trial.value(count)
    while process.isRunning, try await trial.value(count) == before { try await Task.sleep(for: .milliseconds(2)) }
  }
}

/// The command line as it is built, with a folder of definitions and a database.
struct Program {
  private let folder: String
  private let url: String
  private let path: String

  init(folder: String, server: Server, definition: String) throws {
    self.folder = folder
    url = server.redacted
    try FileManager.default.createDirectory(atPath: "\(folder)/migrations", withIntermediateDirectories: true)
    try definition.write(toFile: "\(folder)/migrations/prices.yaml", atomically: true, encoding: .utf8)
    let products = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
    path = products.appendingPathComponent("migrate").path
    guard FileManager.default.isExecutableFile(atPath: path) else {
      throw TestSupportError("there is no program at \(path)")
    }
  }

  enum Status: Equatable { case exited(Int32), killed, signalled(Int32) }

  /// A started program. Reaped once, by ``wait()``.
  struct Running: Sendable {
    let process: Process
    var isRunning: Bool { process.isRunning }
    func kill() { Foundation.kill(process.processIdentifier, SIGKILL) }

    func wait() async -> Status {
      while process.isRunning { try? await Task.sleep(for: .milliseconds(2)) }
      guard process.terminationReason == .uncaughtSignal else { return .exited(process.terminationStatus) }
      return process.terminationStatus == SIGKILL ? .killed : .signalled(process.terminationStatus)
    }
  }

  func start(_ arguments: [String]) throws -> Running {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: path)
    process.arguments = arguments
    process.currentDirectoryURL = URL(fileURLWithPath: folder)
    process.environment = ["PATH": "/usr/bin:/bin", "DATABASE_URL": url]
    let log = "\(folder)/output"
    _ = FileManager.default.createFile(atPath: log, contents: nil)
    let output = FileHandle(forWritingAtPath: log)
    process.standardOutput = output
    process.standardError = output
    process.standardInput = FileHandle.nullDevice
    try process.run()
    return Running(process: process)
  }

  /// What the last one has said.
  var output: String { (try? String(contentsOfFile: "\(folder)/output", encoding: .utf8)) ?? "" }
}
