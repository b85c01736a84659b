/// The settings of the server, as lines of its configuration file.
enum SandboxSettings {
  /// For trying things with some millions of rows on a small machine.
  private static let usual = [
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "autovacuum": "on",
  ]

  /// What makes it a sandbox: reachable through its folder only, and quick at the price of surviving a power cut.
  private static func fixed(socketFolder: String) -> [String: String] {
    [
      "listen_addresses": "",
      "unix_socket_directories": socketFolder,
      "port": "\(Sandbox.port)",
      "fsync": "off",
      "full_page_writes": "off",
    ]
  }

  /// - Parameter extra: overrules the usual ones, not those that make it a sandbox.
  static func text(socketFolder: String, extra: [String: String]) -> String {
    let all = usual.merging(extra) { $1 }.merging(fixed(socketFolder: socketFolder)) { $1 }
    let lines = all.sorted { $0.key < $1.key }.map { "\($0.key) = \(quoted($0.value))\n" }
    return "# Written at each start of the sandbox.\n" + lines.joined()
  }

  /// In quotes, backslashes and quotes doubled. Source: PostgreSQL manual, 20.1.2; src/backend/utils/misc/guc-file.l.
  static func quoted(_ value: String) -> String {
    let doubled = value.utf8.flatMap { byte in
      byte == UInt8(ascii: "'") || byte == UInt8(ascii: "\\") ? [byte, byte] : [byte]
    }
    return "'" + String(decoding: doubled, as: UTF8.self) + "'"
  }
}
