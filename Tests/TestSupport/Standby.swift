import Foundation
package import MigratePostgres

extension TestCluster {
  /// Runs `body` with a standby that replays what this cluster writes; it takes a second or two to make. `body` gets the superuser's
  /// way in.
  package func withStandby(_ body: (Server) async throws -> Void) async throws {
    let found = try await server.psql("SELECT setting FROM pg_config WHERE name = 'BINDIR'").first?.first
    guard let binaries = found ?? nil else { throw TestSupportError("the server does not say where its programs are") }
    try await withFolder { folder in
      // PostgreSQL does not run as root: the standby belongs to whom the cluster belongs to.
      let owner = try FileManager.default.attributesOfItem(atPath: dataPath)
      let (user, group) = (owner[.ownerAccountID] as? Int ?? 0, owner[.groupOwnerAccountID] as? Int ?? 0)
      let place = "\(folder)/s"
      try FileManager.default.createDirectory(
        atPath: place, withIntermediateDirectories: false,
        attributes: [.ownerAccountID: user, .groupOwnerAccountID: group, .posixPermissions: 0o755])
      func run(_ script: String) async throws {
        let drop = geteuid() == 0 ? ["setpriv", "--reuid=\(user)", "--regid=\(group)", "--clear-groups", "--"] : []
        try await Self.run(drop + ["bash", "-ec", "exec 2>\(place)/said\n\(script)"], said: "\(place)/said")
      }
      try await run(
        """
        cd \(place)
        \(binaries)/pg_basebackup -h \(socketFolder) -U postgres -D data -R -X stream -c fast --no-sync
        # Foundation waits until nobody holds its files any more, and the server would hold them for as long as it lives.
        for file in $(ls /proc/self/fd); do if [ $file -gt 2 ]; then eval "exec $file>&-"; fi; done
        \(binaries)/pg_ctl start -w -s -D data -l log -o '-c unix_socket_directories=\(place) -c logging_collector=off'
        """)
      let result: Result<Void, any Error>
      do { result = .success(try await body(server.setting("host", place))) } catch { result = .failure(error) }
      try await run("\(binaries)/pg_ctl stop -w -s -m immediate -D \(place)/data")
      try result.get()
    }
  }

  private static func run(_ words: [String], said: String) async throws {
    try await onThread {
      let process = Process()
      process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
      process.arguments = ["-i", "-C", "/", "PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8"] + words
      process.standardInput = FileHandle.nullDevice
      process.standardOutput = FileHandle.nullDevice
      process.standardError = FileHandle.nullDevice
      try process.run()
      process.waitUntilExit()
      guard process.terminationStatus == 0 else {
        throw TestSupportError("a standby: \((try? String(contentsOfFile: said, encoding: .utf8)) ?? "nothing said")")
      }
    }
  }
}
