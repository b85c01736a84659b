import Foundation
import MigratePostgres
import MigrateSandbox
import TestSupport
import Testing

@Suite struct `A sandbox` {
  @Test func `starts, keeps its data, comes back after a crash, and goes`() async throws {
    try await withFolder { folder in
      let sandbox = try Sandbox(folder: folder + "/a/b", settings: ["shared_buffers": "16MB"], environment: [:])
      #expect(sandbox.status == .absent)
      try sandbox.start()
      let pid = try #require(sandbox.pid)
      try sandbox.start()
      #expect(sandbox.pid == pid)

      let connection = try Connection(to: Server(sandbox.url))
      let settings = try connection.query(
        """
        SELECT current_setting('listen_addresses'), current_setting('fsync'), current_setting('shared_buffers'),
               current_setting('server_encoding'), current_setting('max_wal_size'), current_user
        """)
      #expect(try settings.onlyRow.values == ["", "off", "16MB", "UTF8", "4GB", "postgres"])
      try connection.execute("CREATE TABLE t AS SELECT 42 AS n")

      // As the kernel would end it, with the file of its number left behind.
      kill(pid, SIGKILL)
      while sandbox.pid != nil { usleep(2_000) }
      #expect(sandbox.status == .stopped)
      try sandbox.start()
      #expect(try Connection(to: sandbox.server).query("SELECT n FROM t").onlyRow.int("n") == 42)

      try sandbox.stop()
      try sandbox.stop()
      #expect(sandbox.status == .stopped)
      try sandbox.destroy()
      try sandbox.destroy()
      #expect(sandbox.status == .absent && !FileManager.default.fileExists(atPath: sandbox.path))
    }
  }

  @Test func `is started once by two at the same time`() async throws {
    try await withFolder { folder in
      let sandbox = try Sandbox(folder: folder + "/s", settings: ["shared_buffers": "16MB"], environment: [:])
      async let first: Void = onThread { try sandbox.start() }
      async let second: Void = onThread { try sandbox.start() }
      _ = try await (first, second)
      #expect(sandbox.pid != nil)
      try sandbox.destroy()
    }
  }

  @Test func `P18: starts although the number in its file is another process's by now`() async throws {
    try await withFolder { folder in
      let sandbox = try Sandbox(folder: folder + "/s", settings: ["shared_buffers": "16MB"], environment: [:])
      try sandbox.start()
      try sandbox.stop()
      try "\(getpid())\n\(sandbox.dataPath)\n".write(
        toFile: sandbox.dataPath + "/postmaster.pid", atomically: false, encoding: .utf8)
      #expect(sandbox.status == .stopped)
      try sandbox.start()
      #expect(sandbox.pid != nil)
      try sandbox.destroy()
    }
  }

  @Test func `touches no folder that it did not make`() async throws {
    try await withFolder { parent in
      let folder = parent + "/mine"
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
      try "mine".write(toFile: folder + "/file", atomically: false, encoding: .utf8)
      let sandbox = try Sandbox(folder: folder, environment: [:])
      #expect(throws: SandboxError.self) { try sandbox.start() }
      #expect(throws: SandboxError.self) { try sandbox.destroy() }
      #expect(try String(contentsOfFile: folder + "/file", encoding: .utf8) == "mine")
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["file"])

      // Nor one behind a link.
      try FileManager.default.createSymbolicLink(atPath: folder + "-link", withDestinationPath: folder)
      defer { try? FileManager.default.removeItem(atPath: folder + "-link") }
      #expect(throws: SandboxError.self) { try Sandbox(folder: folder + "-link", environment: [:]).destroy() }
    }
  }

  @Test func `says why the server does not start`() async throws {
    try await withFolder { folder in
      let sandbox = try Sandbox(folder: folder + "/s", settings: ["shared_buffers": "many"], environment: [:])
      let error = #expect(throws: SandboxError.self) { try sandbox.start() }
      #expect(error?.message.contains("invalid value for parameter \"shared_buffers\"") == true)
      try sandbox.destroy()
    }
  }

  @Test(.enabled(if: geteuid() == 0)) func `made by root is reached by its server and by the group of who called sudo`()
    async throws
  {
    try await withFolder { folder in
      for (environment, mode) in [([:], 0o700), (["SUDO_UID": "4711", "SUDO_GID": "4712"], 0o750)] {
        let path = folder + "/\(mode)"
        let sandbox = try Sandbox(folder: path, settings: ["shared_buffers": "16MB"], environment: environment)
        try sandbox.start()
        let about = try FileManager.default.attributesOfItem(atPath: path)
        #expect(about[.posixPermissions] as? Int == mode)
        #expect(about[.groupOwnerAccountID] as? Int == 4712 || mode == 0o700)
        #expect(about[.ownerAccountID] as? Int != 0)
        #expect(try Connection(to: sandbox.server).query("SELECT 1").count == 1)
        try sandbox.destroy()
      }
    }
  }

  @Test func `has a socket whose path is not too long`() throws {
    let room = 107 - "/.s.PGSQL.5432".utf8.count
    let folder = "/" + String(repeating: "x", count: room - 1)
    #expect(try Sandbox(folder: folder, environment: [:]).path == folder)
    #expect(throws: SandboxError.self) { try Sandbox(folder: folder + "x", environment: [:]) }
    #expect(throws: SandboxError.self) { try Sandbox(folder: "relative", environment: [:]) }
  }

  @Test func `can be named in a URL, whatever its folder is called`() throws {
    let sandbox = try Sandbox(folder: "/tmp/a b@c?d&é", environment: [:])
    #expect(sandbox.url == "postgres://postgres@/postgres?host=/tmp/a%20b%40c%3Fd%26%C3%A9&port=5432")
    #expect(try Server(sandbox.url).redacted.contains("host='/tmp/a b@c?d&é'"))
  }

  @Test func `has its place by who asks`() throws {
    let folder = try Sandbox.defaultFolder(environment: ["HOME": "/home/u", "XDG_STATE_HOME": "relative"])
    #expect(folder == (geteuid() == 0 ? "/var/lib/migrate/sandbox" : "/home/u/.local/state/migrate/sandbox"))
  }
}

extension Sandbox {
  fileprivate var pid: Int32? {
    if case .running(let pid) = status { return pid }
    return nil
  }
}
