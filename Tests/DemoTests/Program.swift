import Foundation
import Migrate
import Testing

/// The program as people run it, from the build folder that this test came from.
enum Program {
  static var folder: String {
    get throws {
      let link = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
      let folder = URL(fileURLWithPath: link).deletingLastPathComponent().path
      let isThere = FileManager.default.isExecutableFile(atPath: folder + "/migrate")
      try #require(isThere, "there is no \(folder)/migrate")
      return folder
    }
  }

  /// `environment` is all that it sees, besides PATH.
  static func process(
    _ program: String, _ arguments: [String], database: Server, in folder: URL = Repository.root
  ) throws -> Process {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    process.currentDirectoryURL = folder
    process.environment = [
      "PATH": "\(try Self.folder):/usr/bin:/bin", "LC_ALL": "C.UTF-8", "DATABASE_URL": database.url,
      "HOME": "/nonexistent",
    ]
    process.standardInput = FileHandle.nullDevice
    return process
  }

  /// Starts it. A child inherits which signals its parent's thread blocks, and threads of a pool block them all.
  static func start(_ process: Process) throws {
    var none = sigset_t()
    sigemptyset(&none)
    var before = sigset_t()
    pthread_sigmask(SIG_SETMASK, &none, &before)
    defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
    try process.run()
  }

  /// Runs it to its end; both streams in order.
  static func output(of process: Process) throws -> (status: Int32, text: String) {
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = pipe
    try start(process)
    let data = try pipe.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    return (process.terminationStatus, String(decoding: data, as: UTF8.self))
  }

  static func migrate(_ arguments: String..., database: Server) throws -> Process {
    try process(try folder + "/migrate", arguments, database: database)
  }
}

extension Server {
  /// As one text, for DATABASE_URL. Tests reach their cluster by a socket and have no password.
  var url: String { redacted }
}
