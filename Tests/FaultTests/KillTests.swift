import Foundation
import MigratePostgres
import MigrateTestSupport
import RunTestSupport
import TestSupport
import Testing

/// P01; the real client, killed at random moments, forward and back.
@Suite struct `A client that is killed` {
  @Test(arguments: [(1, Shop.definition), (4, Shop.definition), (1, Shop.joined), (4, Shop.joined)])
  func `P01 P19: is gone on with by the next one, and by a revert`(workers: Int, definition: String) async throws {
    var random = Torture.random("kills of \(workers) at \(definition.utf8.count) bytes")
    let kills = Torture.count(definition == Shop.joined ? 5 : 10, torture: 200)
    // Of each worker a few batches, and of eight slices for each the most have several.
    let batches = workers == 1 ? 12 : workers * 8 * 3
    let apply = ["apply", "prices", "--yes", "--workers", "\(workers)"]
    try await withLedger { server in
      try await withFolder { folder in
        let program = try Program(folder: folder, server: server, definition: definition)
        var killed = 0
        while killed < kills {
          let shop = try await Shop.fresh(server, rows: batches * 10)
          killed += try await Self.kill(program, apply, upTo: kills - killed, shop, &random)
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
      // Killed behind its last commit, it leaves nothing to do.
      if status == .exited(0) { return killed }
      if status == .exited(1), try await shop.isReverted(arguments) { return killed }
      guard status == .killed else { throw TestSupportError("\(arguments) ended with \(status): \(program.output)") }
      killed += 1
    }
  }
}

/// C10, with the real client: SIGSTOP, somebody else goes on, SIGCONT.
@Suite struct `A client that is stopped` {
  @Test(arguments: [1, 4]) func `C10: and woken after another one has done its work changes nothing`(
    workers: Int
  ) async throws {
    var random = Torture.random("stops of \(workers)")
    try await withLedger { server in
      try await withFolder { folder in
        let program = try Program(folder: folder, server: server, definition: Shop.definition)
        for _ in 1...Torture.count(2, torture: 30) {
          try await Self.stop(program, workers, try await Shop.fresh(server, rows: 300 * workers), &random)
        }
      }
    }
  }

  private static func stop(
    _ program: Program, _ workers: Int, _ shop: Shop, _ random: inout SplitMix
  ) async throws {
    let apply = ["apply", "prices", "--yes", "--workers", "\(workers)"]
    let stopped = try program.start(apply)
    defer { stopped.kill() }
    try await shop.waitForProgress(of: stopped)
    try await Task.sleep(for: .milliseconds(Int.random(in: 0...20, using: &random)))
    stopped.signal(SIGSTOP)
    // Its last sign of life is long ago, and what its backend was doing is done.
    try await shop.trial.wait(
      until: """
        SELECT NOT EXISTS (SELECT FROM pg_stat_activity
                           WHERE datname = current_database() AND application_name LIKE 'migrate run%' AND state = 'active')
        """)
    try await shop.server.psql(
      """
      UPDATE migrate.workers SET heartbeat_at = now() - interval '1 minute'
      WHERE  worker IN (SELECT worker FROM migrate.workers FOR UPDATE SKIP LOCKED)
      """)
    let status = await (try program.start(apply)).wait()
    #expect(status == .exited(0), "\(program.output)")
    stopped.signal(SIGCONT)
    let woken = await stopped.wait()
    #expect(woken == .exited(4) || woken == .exited(0), "\(woken)")
    #expect(try await shop.complaints(afterApplying: shop.newestRun) == [])
  }
}

extension Shop {
  /// Returns when the process has ended a batch, or itself.
  fileprivate func waitForProgress(of process: Program.Running) async throws {
    let before = try await batches
    while process.isRunning, try await batches == before { try await Task.sleep(for: .milliseconds(2)) }
  }

  /// Returns when there are more batches than so many.
  func waitForProgress(behind before: Int) async throws {
    while try await batches <= before { try await Task.sleep(for: .milliseconds(2)) }
  }

  /// Batches so far, 0 without a ledger.
  var batches: Int {
    get async throws {
      guard try await trial.value("SELECT to_regclass('migrate.batches')") != nil else { return 0 }
      return Int(try await trial.value("SELECT count(*) FROM migrate.batches") ?? "") ?? 0
    }
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
    func kill() { signal(SIGKILL) }
    func signal(_ signal: Int32) { Foundation.kill(process.processIdentifier, signal) }

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
