import Foundation
package import MigratePostgres
import MigrateSandbox
import Synchronization

/// A PostgreSQL cluster for tests alone, in a folder of its own that goes when the process ends.
package final class TestCluster: Sendable {
  /// The one cluster that the tests of a process share; made at the first use.
  package static var shared: TestCluster {
    get async throws { try await starting.value }
  }

  private static let starting = Task {
    try await onThread {
      TestFolder.removeAbandoned()
      let cluster = try TestCluster(shared: true)
      leaving.withLock { $0.append(cluster) }
      atexit { TestCluster.removeLeaving() }
      return cluster
    }
  }

  /// Clusters that go when the process ends.
  private static let leaving = Mutex<[TestCluster]>([])

  private static func removeLeaving() {
    for cluster in leaving.withLock({ $0 }) { cluster.remove() }
  }

  private let sandbox: Sandbox
  private let folder: TestFolder
  private let isShared: Bool
  private let databases = Atomic(0)

  /// The superuser's way in, to database `postgres`.
  package var server: Server { sandbox.server }

  /// What the server logged, as JSON lines.
  package let log: ServerLog

  /// The folder that the server's socket is in.
  package var socketFolder: String { folder.path + "/s" }

  /// PostgreSQL's data folder.
  var dataPath: String { sandbox.dataPath }

  /// A server's process keeps what a statement had for the next one: given back, each page of it is cleared by the system when it
  /// comes again, which is a twentieth of what the tests take. Source: mallopt(3).
  private static let keepingMemory = [
    "MALLOC_TRIM_THRESHOLD_": "67108864", "MALLOC_MMAP_THRESHOLD_": "67108864", "MALLOC_TOP_PAD_": "1048576",
  ]

  private init(shared: Bool, settings extra: [String: String] = [:]) throws {
    folder = try TestFolder()
    isShared = shared
    let settings = [
      "jit": "off", "shared_buffers": "128MB", "max_connections": "400", "timezone": "UTC", "logging_collector": "on",
      "max_wal_size": "512MB", "log_destination": "jsonlog", "log_filename": "server", "log_rotation_age": "0",
      "log_rotation_size": "0",
    ]
    sandbox = try Sandbox(
      folder: folder.path + "/s", settings: settings.merging(extra) { $1 }, variables: Self.keepingMemory,
      environment: ProcessInfo.processInfo.environment)
    log = ServerLog(path: sandbox.dataPath + "/log/server.json")
    try sandbox.start()
  }

  /// Runs `body` with a cluster of its own, to stop and start it at will; it takes a second or two to make.
  @discardableResult
  package static func withOwn<Value: Sendable>(
    settings: [String: String] = [:], _ body: (TestCluster) async throws -> Value
  ) async throws -> Value {
    try await Places.clusters.taking { try await withNew(settings, body) }
  }

  private static func withNew<Value: Sendable>(
    _ settings: [String: String], _ body: (TestCluster) async throws -> Value
  ) async throws -> Value {
    let cluster = try await onThread { try TestCluster(shared: false, settings: settings) }
    let result: Result<Value, any Error>
    do { result = .success(try await body(cluster)) } catch { result = .failure(error) }
    try await onThread { cluster.remove() }
    return try result.get()
  }

  /// - Parameter immediately: as a crash would do it.
  package func stop(immediately: Bool = false) async throws {
    try await onThread { try self.sandbox.stop(immediately: immediately) }
  }

  package func start() async throws { try await onThread { try self.sandbox.start() } }

  /// The log can be kept for a look at it: MIGRATE_TEST_SERVER_LOG names the file that gets it.
  private func remove() {
    if isShared, let path = ProcessInfo.processInfo.environment["MIGRATE_TEST_SERVER_LOG"], !path.isEmpty {
      try? FileManager.default.removeItem(atPath: path)
      try? FileManager.default.copyItem(atPath: log.path, toPath: path)
    }
    try? sandbox.destroy()
    folder.remove()
  }

  /// Runs `body` with a database of its own, an empty one or a copy, which is dropped afterwards whoever is still connected to it.
  ///
  /// - Parameter loggingStatements: for ``ServerLog/statements(application:since:)``.
  @discardableResult
  package func withDatabase<Value: Sendable>(
    like template: DatabaseTemplate? = nil, loggingStatements: Bool = false, _ body: (Server) async throws -> Value
  ) async throws -> Value {
    func make() async throws -> Value {
      try await template?.make(on: server)
      return try await withNew(like: template?.name ?? "template0", loggingStatements: loggingStatements, body)
    }
    // Who has a cluster to himself waits for nobody there, and others wait for a cluster.
    return isShared ? try await Places.databases.taking(make) : try await make()
  }

  private func withNew<Value: Sendable>(
    like template: String, loggingStatements: Bool, _ body: (Server) async throws -> Value
  ) async throws -> Value {
    let number = databases.add(1, ordering: .relaxed).newValue
    let name = "test_\(number)"
    // CREATE DATABASE cannot be in a transaction, so these are two messages.
    try await server.psql("CREATE DATABASE \(name) TEMPLATE \(template)")
    if loggingStatements { try await server.psql("ALTER DATABASE \(name) SET log_statement = 'all'") }
    let result: Result<Value, any Error>
    let idle = IdleConnections()
    do {
      let server = server.database(name)
      result = .success(try await IdleConnections.$ofTask.withValue(idle) { try await body(server) })
    } catch { result = .failure(error) }
    idle.close()
    // A test may have stopped the server.
    _ = try? await server.psql("DROP DATABASE IF EXISTS \(name) WITH (FORCE)")
    return try result.get()
  }
}

/// A database that others are made as copies of, where what it holds takes longer to make than to copy.
package final class DatabaseTemplate: Sendable {
  package let name: String
  private let fill: @Sendable (Server) async throws -> Void
  private let made = Mutex<Task<Void, any Error>?>(nil)

  package init(_ name: String, fill: @escaping @Sendable (Server) async throws -> Void) {
    self.name = name
    self.fill = fill
  }

  /// Makes it once; whoever comes meanwhile waits.
  fileprivate func make(on server: Server) async throws {
    let (name, fill) = (name, fill)
    let task = made.withLock { made in
      if let made { return made }
      let task = Task {
        try await server.psql("CREATE DATABASE \(name) TEMPLATE template0")
        // A database that is copied has no connections.
        try await IdleConnections.$ofTask.withValue(nil) { try await fill(server.database(name)) }
      }
      made = task
      return task
    }
    try await task.value
  }
}

/// Runs `body` with a database of its own in the shared cluster: an empty one, or a copy.
@discardableResult
package func withDatabase<Value: Sendable>(
  like template: DatabaseTemplate? = nil, loggingStatements: Bool = false, _ body: (Server) async throws -> Value
) async throws -> Value {
  try await TestCluster.shared.withDatabase(like: template, loggingStatements: loggingStatements, body)
}

extension Server {
  /// Runs a script over a new connection, or over one that is as good as new.
  /// - Returns: the rows of its last statement, as texts.
  @discardableResult
  package func psql(_ script: String) async throws -> [[String?]] {
    let server = self.applicationName("psql")
    let idle = IdleConnections.ofTask ?? IdleConnections()
    return try await onThread {
      try idle.using(server) { connection in try connection.execute(script).map { try $0.values } }
    }
  }
}
