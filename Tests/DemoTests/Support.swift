import Foundation
import Migrate
import TestSupport
import Testing

/// The files of this repository.
enum Repository {
  static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

  static func text(_ path: String) throws -> String {
    try String(contentsOf: root.appending(path: path), encoding: .utf8)
  }

  /// Compares `text` with the file, or writes it there when UPDATE_GOLDEN is set.
  static func expect(_ text: String, in path: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
    if ProcessInfo.processInfo.environment["UPDATE_GOLDEN"]?.isEmpty == false {
      try text.write(to: root.appending(path: path), atomically: true, encoding: .utf8)
    }
    let there = (try? self.text(path)) ?? ""
    #expect(
      there == text, "\(path) is not up to date: UPDATE_GOLDEN=1 swift test --filter DemoTests",
      sourceLocation: sourceLocation)
  }
}

/// The shop of `migrations/demo`, small, in a database of its own.
struct Shop: Sendable {
  let server: Server

  @discardableResult
  static func with<Value: Sendable>(
    loggingStatements: Bool = false, _ body: (Shop) async throws -> Value
  ) async throws -> Value {
    try await withDatabase(loggingStatements: loggingStatements) { server in
      try await server.psql("SET demo.size = 'small';\n" + Repository.text("migrations/demo/shop.sql"))
      return try await body(Shop(server: server))
    }
  }

  static func definition(_ name: String) throws -> Definition {
    try #require(Project(folder: Repository.root.path + "/migrations/demo").definitions([name]).first).get()
  }

  /// A number for each table that is another one when a byte of it is.
  func checksums() async throws -> [String: String] {
    var sums: [String: String] = [:]
    // But for events, which are facts.
    for row in try await server.psql(
      """
      SELECT replace(c.relnamespace::regnamespace || '.' || c.relname, 'shop.', ''),
             (xpath('//sum/text()', query_to_xml(format(
                'SELECT count(*) || '' '' || coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) AS sum FROM %s AS t', c.oid::regclass),
                false, true, '')))[1]
      FROM   pg_class AS c
      WHERE  c.relkind = 'r' AND c.relnamespace IN ('shop'::regnamespace, 'archive'::regnamespace, 'site'::regnamespace, 'staff'::regnamespace)
        AND  c.relname <> 'outbox'
      """)
    {
      sums[row.first.flatMap(\.self) ?? ""] = row.last.flatMap(\.self)
    }
    return sums
  }

  static let raise = "UPDATE shop.products SET price = round(price * 1.05, 2) WHERE status = 'active'"

  /// What the products would be if `statement` had run at once. The connection ends without a COMMIT.
  func products(after statement: String) async throws -> String? {
    let rows = try await server.psql(
      """
      BEGIN;
      \(statement);
      SELECT count(*) || ' ' || sum(hashtextextended(t::text, 0)::numeric) FROM shop.products AS t
      """)
    return rows.first?.first.flatMap(\.self)
  }

  func plan(_ name: String, batchSize: Int? = nil, workers: Int? = nil) async throws -> Compilation {
    let definition = try Self.definition(name)
    return try await onThread { [server] in
      var request = CompileRequest()
      request.batchSize = batchSize
      request.workers = workers
      return try Session(to: server).compile(definition, request)
    }
  }

  /// Applies it, or goes on with it.
  func apply(
    _ name: String, batchSize: Int? = nil, workers: Int? = nil, control: RunControl = RunControl(),
    report: @escaping @Sendable (RunEvent) -> Void = { _ in }
  ) async throws -> RunOutcome {
    let definition = try Self.definition(name)
    let compilation = try await plan(name, batchSize: batchSize, workers: workers)
    return try await onThread { [server] in
      let runs = try Runs(on: server)
      let number: Int64
      switch try runs.target(compilation, definition) {
      case .unfinished(let run): number = run.id
      case .new, .complete: number = try runs.begin(compilation, definition, ApplyRequest())
      }
      return try runs.apply(try runs.enter(number), control: control, report: report)
    }
  }

  func revert(_ name: String, onConflict policy: ConflictPolicy = .stop) async throws -> RunOutcome {
    try await onThread { [server] in
      let runs = try Runs(on: server)
      let run = try runs.enterRevert(try runs.find(name), onConflict: policy)
      return try runs.revert(run, onConflict: policy, control: RunControl()) { _ in }
    }
  }
}

extension RunOutcome {
  var isComplete: Bool {
    if case .completed = self { true } else { false }
  }
}
