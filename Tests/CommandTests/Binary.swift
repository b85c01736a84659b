import Foundation
import MigrateJSON
import MigratePostgres
import MigrateTestSupport
import TestSupport
import Testing

/// What the program gave when it had ended.
struct Outcome: Sendable {
  /// 128 and the signal's number when one ended it.
  let status: Int32
  let out: String
  let err: String

  var lines: [String] { out.split(separator: "\n").map(String.init) }

  /// The lines of standard output as JSON.
  func events() throws -> [JSON] { try lines.map { try JSON($0) } }
}

/// The program as it was built: it lies beside the tests.
enum Binary {
  static let path: String = {
    let tests = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
    return URL(fileURLWithPath: tests).deletingLastPathComponent().appendingPathComponent("migrate").path
  }()
}

/// A project in a folder, and the database that its commands change.
struct TestProject: Sendable {
  let folder: String
  let server: Server

  /// Keywords, as libpq reads them; the tests' cluster asks for no password.
  var database: String { server.redacted }

  func write(_ text: String, to name: String) throws {
    let file = URL(fileURLWithPath: "\(folder)/\(name)")
    try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
    try text.write(to: file, atomically: true, encoding: .utf8)
  }

  /// Starts the program and does not wait.
  func start(
    _ words: [String], environment: [String: String] = [:], executable: String = Binary.path
  ) throws -> Child {
    let all = ["PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "DATABASE_URL": database].merging(environment) { $1 }
    return try Child(executable, words, in: folder, environment: all.filter { !$0.value.isEmpty })
  }

  /// Runs the program to its end.
  @discardableResult
  func migrate(_ words: String..., environment: [String: String] = [:]) async throws -> Outcome {
    try await start(words, environment: environment).finish()
  }

  /// The same, again and again until it tells what is there for moments only; what was told last.
  func migrate(_ words: String..., until isTold: (Outcome) -> Bool) async throws -> Outcome {
    let deadline = ContinuousClock.now + .seconds(30)
    while true {
      let outcome = try await start(words, environment: [:]).finish()
      if isTold(outcome) || ContinuousClock.now > deadline { return outcome }
    }
  }

  /// The only value that a query gives.
  func value(_ query: String) async throws -> String? { try await server.psql(query).first?.first.flatMap(\.self) }

  /// Waits until a query says true.
  func wait(until condition: String) async throws {
    let query = "SELECT \(condition)"
    let deadline = ContinuousClock.now + .seconds(30)
    while try await value(query) != "t" {
      guard ContinuousClock.now < deadline else { throw TestSupportError("it does not come true: \(condition)") }
      try await Task.sleep(for: .milliseconds(10))
    }
  }
}

/// The program while it runs. Its output goes to files: a pipe that nobody reads would stop it.
final class Child: @unchecked Sendable {
  private let process = Process()
  private let folder: String
  private let number: String

  fileprivate init(_ executable: String, _ words: [String], in folder: String, environment: [String: String]) throws {
    self.folder = folder
    number = UUID().uuidString
    process.executableURL = URL(fileURLWithPath: executable)
    process.arguments = words
    process.environment = environment
    process.currentDirectoryURL = URL(fileURLWithPath: folder)
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = try Self.file("\(folder)/out-\(number)")
    process.standardError = try Self.file("\(folder)/err-\(number)")
    try process.run()
  }

  private static func file(_ path: String) throws -> FileHandle {
    guard FileManager.default.createFile(atPath: path, contents: nil), let handle = FileHandle(forWritingAtPath: path)
    else { throw TestSupportError("\(path) cannot be made") }
    return handle
  }

  var isRunning: Bool { process.isRunning }

  func signal(_ number: Int32) { kill(process.processIdentifier, number) }

  /// From now on no file of the program grows beyond so many bytes; `nil` takes the limit away.
  func limitFiles(to bytes: Int?) async throws {
    let limit = bytes.map { String($0) } ?? "unlimited"
    let prlimit = try Child(
      "/usr/bin/prlimit", ["--pid", "\(process.processIdentifier)", "--fsize=\(limit):unlimited"], in: folder,
      environment: [:])
    let ended = try await prlimit.finish()
    #expect(ended.status == 0, "\(ended)")
  }

  /// Waits until the program has said `text` on standard error, or on the other one of its outputs.
  func wait(untilSaid text: String, on output: String = "err") async throws {
    try await wait(untilSaid: text, on: output) { $0.contains(text) }
  }

  /// The same of a text that `fits`; `what` is its name.
  func wait(untilSaid what: String, on output: String, _ fits: (String) -> Bool) async throws {
    let deadline = ContinuousClock.now + .seconds(30)
    while true {
      let said = try Data(contentsOf: URL(fileURLWithPath: "\(folder)/\(output)-\(number)"))
      if fits(String(decoding: said, as: UTF8.self)) { return }
      guard ContinuousClock.now < deadline else { throw TestSupportError("the program does not say: \(what)") }
      try await Task.sleep(for: .milliseconds(10))
    }
  }

  func finish() async throws -> Outcome {
    try await onThread { [self] in
      process.waitUntilExit()
      let isSignal = process.terminationReason == .uncaughtSignal
      return Outcome(
        status: process.terminationStatus + (isSignal ? 128 : 0),
        out: try String(contentsOfFile: "\(folder)/out-\(number)", encoding: .utf8),
        err: try String(contentsOfFile: "\(folder)/err-\(number)", encoding: .utf8))
    }
  }
}

/// Runs `body` with a project whose table `items` has `rows` rows, all open, and the definition `close` that closes them,
/// `batchSize` at a time.
/// - Parameter hasLedger: whether the ledger is there already, which takes longer to install than most commands run.
func withProject(
  rows: Int = 1_000, batchSize: Int = 100, hasLedger: Bool = true, _ body: (TestProject) async throws -> Void
) async throws {
  try await withDatabase(like: hasLedger ? .withLedger : nil) { server in
    try await withFolder { folder in
      let project = TestProject(folder: folder, server: server)
      try await project.makeItems(rows: rows, batchSize: batchSize)
      try await body(project)
    }
  }
}

extension TestProject {
  func makeItems(rows: Int = 1_000, batchSize: Int = 100) async throws {
    try await server.psql(
      """
      CREATE TABLE items (id bigint PRIMARY KEY, state text NOT NULL, price numeric(10,2) NOT NULL);
      INSERT INTO items SELECT n, 'open', n FROM generate_series(1, \(rows)) AS n;
      ANALYZE items
      """)
    try write(
      """
      batch: close
      source: public.items
      set:
        state: 'closed'
      batch_size: \(batchSize)

      """, to: "migrations/close.yaml")
  }

  /// From batch `number` on, the run waits at its table until the gate is opened; it gives up and tries again every half
  /// second, and looks between the tries for what was asked of it.
  func gate(behind number: Int) async throws -> Session {
    try await server.psql(
      """
      CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        IF (SELECT count(*) FROM migrate.batches) >= \(number) THEN PERFORM pg_advisory_xact_lock_shared(42); END IF;
        RETURN NULL;
      END $$;
      CREATE TRIGGER gate BEFORE UPDATE ON items FOR EACH STATEMENT EXECUTE FUNCTION gate()
      """)
    let gate = try await Session("gate", to: server)
    try await gate.execute("SELECT pg_advisory_lock(42)")
    return gate
  }

  /// When the run stands at the gate.
  func waitForGate(_ gate: Session) async throws {
    let pid = try await gate.pid
    try await wait(until: "EXISTS (SELECT FROM pg_stat_activity WHERE \(pid) = ANY (pg_blocking_pids(pid)))")
  }
}
