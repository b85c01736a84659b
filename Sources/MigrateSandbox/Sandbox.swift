import Glibc
package import MigratePostgres

/// A private PostgreSQL cluster to try things in. It is reached through a socket in its folder and not by network, and has
/// nothing to do with the clusters of the system. Its calls block: the longest, the first start, for some seconds.
package struct Sandbox: Sendable {
  package enum Status: Sendable, Equatable {
    case absent, stopped
    case running(pid: Int32)
  }

  /// To be shown to whoever starts it.
  package static let warning =
    "fsync is off in the sandbox: it is quick, and a power cut or a crash of the machine can destroy its data"

  static let port = 5432

  private let folder: SandboxFolder
  private let settings: [String: String]
  private let variables: [String: String]
  private let account: Account
  private let caller: Account?

  /// - Parameters:
  ///   - path: the folder, absolute; ``defaultFolder(environment:)`` when `nil`.
  ///   - settings: of the server, over those of the sandbox; in force from the next start on.
  ///   - variables: in the server's environment.
  package init(
    folder path: String? = nil, settings: [String: String] = [:], variables: [String: String] = [:],
    environment: [String: String]
  ) throws(SandboxError) {
    folder =
      if let path { try SandboxFolder(path) } else {
        try SandboxFolder(Self.defaultFolder(environment: environment))
      }
    account = try Account.forServer(environment: environment)
    caller = geteuid() == 0 ? Account.caller(environment) : nil
    self.settings = settings
    self.variables = variables
  }

  /// `/var/lib/migrate/sandbox` for root, else `~/.local/state/migrate/sandbox`.
  package static func defaultFolder(environment: [String: String]) throws(SandboxError) -> String {
    if geteuid() == 0 { return "/var/lib/migrate/sandbox" }
    if let state = environment["XDG_STATE_HOME"], state.utf8.first == UInt8(ascii: "/") {
      return "\(state)/migrate/sandbox"
    }
    let said = environment["HOME"].flatMap { $0.isEmpty ? nil : $0 }
    guard let home = said ?? Account.home, !home.isEmpty else {
      throw SandboxError(
        "this account has no home folder, where the sandbox would live", remedy: "set HOME, or name a folder")
    }
    return "\(home)/.local/state/migrate/sandbox"
  }

  package var path: String { folder.path }

  /// What the server writes, errors of its start included.
  package var logPath: String { folder.log }

  /// PostgreSQL's data folder.
  package var dataPath: String { folder.data }

  /// For `--database` and DATABASE_URL.
  package var url: String { "postgres://postgres@/postgres?host=\(Self.percentEncoded(folder.path))&port=\(Self.port)" }

  /// The same as ``url``, for a connection.
  package var server: Server {
    Server().setting("host", folder.path).setting("port", "\(Self.port)").setting("user", "postgres")
      .setting("dbname", "postgres")
  }

  package var status: Status {
    guard folder.isMarked, folder.version != nil else { return .absent }
    return folder.serverPID.map { .running(pid: $0) } ?? .stopped
  }

  /// Makes the cluster when there is none, and starts it when it does not run; also after a crash.
  package func start() throws(SandboxError) {
    try folder.prepare(for: account, caller: caller)
    try folder.locked { () throws(SandboxError) in
      guard folder.serverPID == nil else { return }
      let binaries = try PostgresBinaries.find(version: folder.version, account: account)
      if folder.version == nil { try initialize(binaries) }
      try FileSystem.write(SandboxSettings.text(socketFolder: folder.path, extra: settings), to: folder.settings)
      folder.removeStaleLocks()
      try launch(binaries)
    }
  }

  /// - Parameter immediately: as a crash would do it; the next start recovers.
  package func stop(immediately: Bool = false) throws(SandboxError) {
    guard folder.isMarked else { return }
    try folder.locked { () throws(SandboxError) in try halt(immediately ? "immediate" : "fast") }
  }

  /// Stops the server and removes the folder, which must be a sandbox's.
  package func destroy() throws(SandboxError) {
    guard FileSystem.exists(folder.path) else { return }
    guard folder.isMarked else {
      throw SandboxError(
        "\(folder.path) was not made by the sandbox and is left alone", remedy: "remove it by hand if it may go")
    }
    try folder.locked { () throws(SandboxError) in
      try halt("immediate")
      try folder.remove()
    }
  }
}

extension Sandbox {
  private func initialize(_ binaries: PostgresBinaries) throws(SandboxError) {
    try FileSystem.removeTree(folder.unfinishedData)
    try FileSystem.removeTree(folder.data)
    let outcome = try run(
      binaries.initdb, "-D", folder.unfinishedData, "-U", "postgres", "--auth-local=trust", "--auth-host=reject",
      "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions")
    guard outcome.status == 0 else { throw .failed("initdb", outcome.output) }
    let main = "\(folder.unfinishedData)/postgresql.conf"
    guard let text = FileSystem.read(main) else { throw .system("cannot read \(main)") }
    try FileSystem.write(text + "\ninclude \(SandboxSettings.quoted(folder.settings))\n", to: main)
    guard rename(folder.unfinishedData, folder.data) == 0 else { throw .system("cannot rename to \(folder.data)") }
  }

  /// Processes of a server that was killed can live on for a moment and hold its memory; the start is repeated then.
  private func launch(_ binaries: PostgresBinaries) throws(SandboxError) {
    for attempt in 1... {
      let before = FileSystem.read(folder.log)?.utf8.count ?? 0
      let outcome = try run(binaries.pgCtl, "start", "-w", "-t", "60", "-s", "-D", folder.data, "-l", folder.log)
      if outcome.status == 0 { return }
      let said = String(decoding: (FileSystem.read(folder.log) ?? "").utf8.dropFirst(before), as: UTF8.self)
      guard attempt < 50, said.contains("is still in use") else { throw .failed("pg_ctl start", outcome.output + said) }
      usleep(200_000)
    }
  }

  private func halt(_ mode: String) throws(SandboxError) {
    guard folder.serverPID != nil else { return }
    let binaries = try PostgresBinaries.find(version: folder.version, account: account)
    let outcome = try run(binaries.pgCtl, "stop", "-w", "-s", "-m", mode, "-D", folder.data)
    guard outcome.status == 0 || folder.serverPID == nil else { throw .failed("pg_ctl stop", outcome.output) }
  }

  private func run(_ program: String, _ arguments: String...) throws(SandboxError) -> Command.Outcome {
    try Command(
      program: program, arguments: arguments, account: account, variables: variables.map { "\($0.key)=\($0.value)" }
    ).run()
  }

  /// Source: RFC 3986, 2.3; '/' stands for itself in a query.
  private static func percentEncoded(_ text: String) -> String {
    let plain = Set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/".utf8)
    let hex = Array("0123456789ABCDEF".utf8)
    let bytes = text.utf8.flatMap { byte in
      plain.contains(byte) ? [byte] : [UInt8(ascii: "%"), hex[Int(byte >> 4)], hex[Int(byte & 15)]]
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}

extension SandboxError {
  fileprivate static func failed(_ program: String, _ output: String) -> SandboxError {
    let lines = output.split(separator: "\n").suffix(12).joined(separator: "\n    ")
    return SandboxError(
      "\(program) failed:\n    \(lines)", remedy: "the lines above say why; the folder is left as it is")
  }
}
