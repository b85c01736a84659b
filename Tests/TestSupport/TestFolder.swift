import Foundation
import MigrateSandbox

/// A folder in /tmp that is known to be in use as long as its process lives: by a lock, which the system takes away with the
/// process, and not by the process's number, which another one can have tomorrow or in another container.
struct TestFolder: Sendable {
  /// Short, because the path of a socket in it may have 107 bytes only.
  let path: String
  private let lock: Int32

  private static let parent = "/tmp"
  private static let prefix = "migrate-test-"

  init() throws {
    var template = Array("\(Self.parent)/\(Self.prefix)XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw CocoaError(.fileWriteUnknown) }
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    chmod(path, 0o755)
    lock = open("\(path)/lock", O_CREAT | O_RDWR | O_CLOEXEC, 0o600)
    flock(lock, LOCK_EX)
  }

  func remove() {
    try? FileManager.default.removeItem(atPath: path)
    close(lock)
  }

  /// Removes what processes left that were killed.
  static func removeAbandoned() {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: parent)) ?? []
    for name in names where name.hasPrefix(prefix) {
      let path = "\(parent)/\(name)"
      let lock = open("\(path)/lock", O_RDWR | O_CLOEXEC)
      // Without a lock file it is being made right now, or belongs to another account.
      guard lock >= 0 else { continue }
      defer { close(lock) }
      guard flock(lock, LOCK_EX | LOCK_NB) == 0 else { continue }
      try? Sandbox(folder: "\(path)/s", environment: ProcessInfo.processInfo.environment).destroy()
      try? FileManager.default.removeItem(atPath: path)
    }
  }
}
