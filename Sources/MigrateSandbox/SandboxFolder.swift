import Glibc

/// The folder of a sandbox: what is where, and whether it is one.
struct SandboxFolder: Sendable {
  let path: String

  var data: String { "\(path)/data" }
  /// initdb works here; the folder is renamed when it is complete, so there is no half-made `data`.
  var unfinishedData: String { "\(path)/data.new" }
  var log: String { "\(path)/server.log" }
  var settings: String { "\(path)/settings.conf" }
  private var marker: String { "\(path)/.migrate-sandbox" }
  private var socket: String { "\(path)/.s.PGSQL.\(Sandbox.port)" }

  init(_ path: String) throws(SandboxError) {
    guard path.utf8.first == UInt8(ascii: "/"), !path.utf8.contains(0), !path.utf8.contains(10) else {
      throw SandboxError("the sandbox's folder must be an absolute path, not \(path)", remedy: "begin it with '/'")
    }
    self.path = path
    // sockaddr_un.sun_path holds 108 bytes with the NUL.
    let length = socket.utf8.count
    guard length <= 107 else {
      throw SandboxError(
        "the socket's path would have \(length) bytes, 107 are possible: \(socket)",
        remedy: "choose a folder with a shorter path, such as MIGRATE_FOLDER=/tmp/sandbox")
    }
  }

  /// Whether a sandbox made this folder.
  var isMarked: Bool { FileSystem.isFolder(path) && FileSystem.isFile(marker) }

  /// The major version of PostgreSQL that made the data; `nil` when there are none.
  var version: String? {
    FileSystem.read("\(data)/PG_VERSION").flatMap { $0.split(separator: "\n").first.map(String.init) }
  }

  /// Makes the folder, or sees that it is a sandbox's.
  ///
  /// Whoever reaches the socket is the server's superuser: only the account, root, and the group of who called sudo do.
  func prepare(for account: Account, caller: Account?) throws(SandboxError) {
    if !FileSystem.exists(path) { try FileSystem.makeFolders(path) }
    // In this order: another one who starts it now writes the marker before anything else.
    guard FileSystem.isFolder(path), FileSystem.names(in: path).isEmpty || isMarked else {
      throw SandboxError(
        "\(path) holds other things and was not made by the sandbox", remedy: "choose a folder that is empty or new")
    }
    if !isMarked {
      let text = "A sandbox of migrate: `migrate sandbox destroy` removes this folder with all that is in it.\n"
      try FileSystem.write(text, to: marker)
    }
    guard geteuid() == 0 else {
      guard chmod(path, 0o700) == 0 else { throw .system("cannot set the mode of \(path)") }
      return
    }
    let owner = Account(user: account.user, group: caller?.group ?? account.group, name: account.name)
    try FileSystem.setOwner(path, owner, mode: caller == nil ? 0o700 : 0o750)
  }

  /// Runs `body` while no other process starts, stops or destroys this sandbox.
  func locked<Value>(_ body: () throws(SandboxError) -> Value) throws(SandboxError) -> Value {
    let file = open(marker, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)
    guard file >= 0 else { throw .system("cannot open \(marker)") }
    defer { close(file) }
    while flock(file, LOCK_EX) != 0 {
      guard errno == EINTR else { throw .system("cannot lock \(marker)") }
    }
    return try body()
  }

  /// The server that runs on the data. After a crash the file names a process that is gone, or by now another one's.
  var serverPID: pid_t? {
    let line = FileSystem.read("\(data)/postmaster.pid")?.split(separator: "\n").first
    guard let pid = line.flatMap({ pid_t($0) }), pid > 0, kill(pid, 0) == 0 || errno == EPERM else { return nil }
    // The server's working folder is its data folder. Where /proc does not tell, the file is believed.
    guard let folder = FileSystem.target(ofLink: "/proc/\(pid)/cwd") else { return pid }
    return folder == FileSystem.resolved(data) ? pid : nil
  }

  /// Takes away what a crashed server left; with the number of a living process in it, the server would refuse to start.
  func removeStaleLocks() {
    for path in ["\(data)/postmaster.pid", "\(socket).lock", socket] { unlink(path) }
  }

  /// The marker goes last, so that what was interrupted can be repeated.
  func remove() throws(SandboxError) {
    for name in FileSystem.names(in: path) where "\(path)/\(name)" != marker {
      let inside = "\(path)/\(name)"
      if FileSystem.isFolder(inside) { try FileSystem.removeTree(inside) } else { unlink(inside) }
    }
    try FileSystem.removeTree(path)
  }
}
