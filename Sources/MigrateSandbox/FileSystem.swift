import Glibc

/// The few calls on files that the sandbox needs. As root it works in a folder that belongs to another account, so it
/// follows no link there.
enum FileSystem {
  static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

  static func isExecutable(_ path: String) -> Bool { access(path, X_OK) == 0 }

  /// A folder itself, not a link to one.
  static func isFolder(_ path: String) -> Bool { kind(path) == S_IFDIR }

  /// A file itself, not a link to one.
  static func isFile(_ path: String) -> Bool { kind(path) == S_IFREG }

  private static func kind(_ path: String) -> mode_t? {
    var about = stat()
    return lstat(path, &about) == 0 ? about.st_mode & S_IFMT : nil
  }

  /// Makes the folder and those above it that are missing. What root makes the server's account must be able to enter, so
  /// there the umask does not count.
  static func makeFolders(_ path: String) throws(SandboxError) {
    var made = ""
    for part in path.split(separator: "/") {
      made += "/\(part)"
      let isMade = mkdir(made, 0o755) == 0
      guard isMade || errno == EEXIST else { throw .system("cannot make the folder \(made)") }
      guard !isMade || geteuid() != 0 || chmod(made, 0o755) == 0 else {
        throw .system("cannot set the mode of \(made)")
      }
    }
    guard exists(path) else { throw .system("cannot make the folder \(path)") }
  }

  static func setOwner(_ path: String, _ owner: Account, mode: mode_t) throws(SandboxError) {
    guard lchown(path, owner.user, owner.group) == 0 else { throw .system("cannot give \(path) to \(owner.name)") }
    guard chmod(path, mode) == 0 else { throw .system("cannot set the mode of \(path)") }
  }

  /// Writes a file that all may read, the server's account among them, whatever the umask is.
  static func write(_ text: String, to path: String) throws(SandboxError) {
    let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0o644)
    guard file >= 0 else { throw .system("cannot write \(path)") }
    defer { close(file) }
    guard fchmod(file, 0o644) == 0 else { throw .system("cannot set the mode of \(path)") }
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { throw .system("cannot write \(path)") }
      rest.removeFirst(count)
    }
  }

  /// The whole file; `nil` when it cannot be read.
  static func read(_ path: String) -> String? {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    return String(decoding: readAll(file), as: UTF8.self)
  }

  /// What comes out of `file` until its end.
  static func readAll(_ file: Int32) -> [UInt8] {
    var result: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = Glibc.read(file, &buffer, buffer.count)
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { return result }
      result.append(contentsOf: buffer[..<count])
    }
  }

  /// The names in a folder, without `.` and `..`, sorted by bytes.
  static func names(in folder: String) -> [String] {
    guard let stream = opendir(folder) else { return [] }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
        pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
  }

  static func target(ofLink path: String) -> String? {
    var buffer = [CChar](repeating: 0, count: 4_096)
    let count = readlink(path, &buffer, buffer.count)
    return count > 0 ? String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self) : nil
  }

  /// The path without links and dots; itself when it does not exist.
  static func resolved(_ path: String) -> String {
    guard let real = realpath(path, nil) else { return path }
    defer { free(real) }
    return String(cString: real)
  }

  /// Removes a folder and all in it. By rm, which is safe against one who puts a link in its way meanwhile.
  static func removeTree(_ path: String) throws(SandboxError) {
    guard isFolder(path) else { return }
    let remove = Command(program: "/bin/rm", arguments: ["-rf", "--one-file-system", "--", path], account: .current)
    let outcome = try remove.run()
    guard outcome.status == 0 else {
      throw SandboxError("cannot remove \(path): \(outcome.output)", remedy: "look at the owner of that folder")
    }
  }
}

extension SandboxError {
  /// A call of the system that failed, with its reason from `errno`.
  static func system(_ what: String) -> SandboxError {
    let reason = String(cString: strerror(errno))
    return SandboxError("\(what): \(reason)", remedy: "look at the owner and the mode of the folders in that path")
  }
}
