import Glibc

/// The account that the server runs under. PostgreSQL refuses to run as root.
struct Account: Sendable, Equatable {
  let user: uid_t
  let group: gid_t
  let name: String

  /// Whoever runs this.
  static var current: Account { Account(user: geteuid(), group: getegid(), name: "user \(geteuid())") }

  /// Whoever runs this; for root `postgres`, else who called sudo, else `nobody`.
  static func forServer(environment: [String: String]) throws(SandboxError) -> Account {
    guard geteuid() == 0 else { return .current }
    if let postgres = named("postgres") { return postgres }
    if let caller = caller(environment), caller.user != 0 { return caller }
    if let nobody = named("nobody") { return nobody }
    throw SandboxError(
      "root may not run PostgreSQL, and there is no account to run it under", remedy: "adduser --system postgres")
  }

  /// Who called sudo.
  static func caller(_ environment: [String: String]) -> Account? {
    guard let user = environment["SUDO_UID"].flatMap({ uid_t($0) }),
      let group = environment["SUDO_GID"].flatMap({ gid_t($0) })
    else { return nil }
    return Account(user: user, group: group, name: "user \(user)")
  }

  /// The home folder that the system has for whoever runs this; cron and containers may leave HOME unset.
  static var home: String? {
    var entry = passwd()
    var found: UnsafeMutablePointer<passwd>?
    var buffer = [CChar](repeating: 0, count: 16_384)
    guard getpwuid_r(geteuid(), &entry, &buffer, buffer.count, &found) == 0, found != nil else { return nil }
    return entry.pw_dir.map { String(cString: $0) }
  }

  private static func named(_ name: String) -> Account? {
    var entry = passwd()
    var found: UnsafeMutablePointer<passwd>?
    var buffer = [CChar](repeating: 0, count: 16_384)
    guard getpwnam_r(name, &entry, &buffer, buffer.count, &found) == 0, found != nil else { return nil }
    return Account(user: entry.pw_uid, group: entry.pw_gid, name: name)
  }
}
