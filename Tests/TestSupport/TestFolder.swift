import Foundation
import MigrateSandbox

/// A folder in /tmp that is known to be in use as long as its process lives: by a lock, which the system takes away with the
/// process, and not by the process's number, which another one can have tomorrow or in another container.
package struct TestFolder: Sendable {
  /// Short, because the path of a socket in it may have 107 bytes only.
  package let path: String
  private let lock: Int32

  /// In memory where there is plenty: each test makes a database, of some three hundred files, and most of the time went into that.
  private static let parent = parents.first { hasRoom($0) } ?? "/tmp"
  private static let parents = ["/dev/shm", "/tmp"]

  private static func hasRoom(_ folder: String) -> Bool {
    var found = statvfs()
    let needed: UInt = 8 << 30
    return statvfs(folder, &found) == 0 && UInt(found.f_bavail) * UInt(found.f_frsize) >= needed
      && access(folder, W_OK | X_OK) == 0
  }

  private static let prefix = "migrate-test-"

  init() throws {
    _ = Self.withoutForeignServers
    while true {
      var template = Array("\(Self.parent)/\(Self.prefix)XXXXXX".utf8CString)
      guard mkdtemp(&template) != nil else { throw CocoaError(.fileWriteUnknown) }
      let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
      chmod(path, 0o755)
      let lock = open("\(path)/lock", O_CREAT | O_RDWR | O_CLOEXEC, 0o600)
      guard lock >= 0 else { throw CocoaError(.fileWriteUnknown) }
      flock(lock, LOCK_EX)
      // Before the lock, another process may have taken the folder for an abandoned one.
      if access("\(path)/lock", F_OK) == 0 {
        (self.path, self.lock) = (path, lock)
        return
      }
      close(lock)
    }
  }

  /// `PG…` variables of whoever runs the tests are meant for other servers, and libpq reads them in this process. Every test that
  /// has a server has a folder first.
  private static let withoutForeignServers: Void = {
    for name in ProcessInfo.processInfo.environment.keys where name.hasPrefix("PG") { unsetenv(name) }
  }()

  func remove() {
    try? FileManager.default.removeItem(atPath: path)
    close(lock)
  }

  /// Removes what processes left that were killed.
  static func removeAbandoned() {
    for parent in parents { removeAbandoned(in: parent) }
  }

  private static func removeAbandoned(in parent: String) {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: parent)) ?? []
    for name in names where name.hasPrefix(prefix) {
      let path = "\(parent)/\(name)"
      let lock = open("\(path)/lock", O_RDWR | O_CLOEXEC)
      // Without a lock file it is being made right now, or belongs to another account.
      guard lock >= 0 else { continue }
      defer { close(lock) }
      guard flock(lock, LOCK_EX | LOCK_NB) == 0 else { continue }
      destroySandboxes(in: path)
      try? FileManager.default.removeItem(atPath: path)
    }
  }

  /// Their servers live on when the process is killed.
  private static func destroySandboxes(in path: String) {
    let files = FileManager.default.enumerator(atPath: path)?.compactMap { $0 as? String } ?? []
    for file in files where file.hasSuffix("/.migrate-sandbox") {
      let folder = "\(path)/\(file.dropLast("/.migrate-sandbox".count))"
      try? Sandbox(folder: folder, environment: ProcessInfo.processInfo.environment).destroy()
    }
  }
}

/// Runs `body` with a short folder that is there for it alone.
@discardableResult
package func withFolder<Value: Sendable>(_ body: (String) async throws -> Value) async throws -> Value {
  let folder = try TestFolder()
  defer { folder.remove() }
  return try await body(folder.path)
}
