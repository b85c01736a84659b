internal import Glibc

/// Files and folders, by the system's own calls.
package enum Files {
  /// Whether a folder is there; a link to one counts.
  package static func isFolder(_ path: String) -> Bool {
    var status = stat()
    return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
  }

  /// The bytes of a file; `nil` when it cannot be read.
  package static func read(_ path: String) -> [UInt8]? {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = Glibc.read(file, &buffer, buffer.count)
      if count > 0 {
        bytes += buffer[..<count]
      } else if count == 0 || errno != EINTR {
        return count == 0 ? bytes : nil
      }
    }
  }

  /// Writes a new file, or over an old one; readable by its owner only, since a plan may hold what is nobody else's
  /// business (S05).
  ///
  /// - Returns: whether all of it is written.
  package static func write(_ text: String, to path: String) -> Bool {
    let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard file >= 0 else { return false }
    defer { close(file) }
    // An old file keeps the permissions that it had.
    guard fchmod(file, 0o600) == 0 else { return false }
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
      if count < 0 && errno != EINTR { return false }
      rest = rest.dropFirst(max(0, count))
    }
    return true
  }

  /// From now on a write beyond the limit for a file's size (`ulimit -f`) is an error of that write, and not the end of the program.
  static func ignoreSizeLimit() { _ = signal(SIGXFSZ, SIG_IGN) }

  /// Makes a folder for its owner only, unless it is there.
  ///
  /// - Returns: whether it is there now.
  package static func makeFolder(_ path: String) -> Bool { isFolder(path) || mkdir(path, 0o700) == 0 }

  /// Every file below `folder`. Folders that begin with a dot are passed over; links to folders are not followed, so no circle
  /// can be walked.
  static func walk(_ folder: String, depth: Int, _ visit: (String) -> Void) {
    guard depth < 16, let handle = opendir(folder) else { return }
    defer { closedir(handle) }
    while let entry = readdir(handle) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
        pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      guard !name.hasPrefix(".") else { continue }
      let path = folder + "/" + name
      var status = stat()
      guard lstat(path, &status) == 0 else { continue }
      switch status.st_mode & S_IFMT {
      case S_IFDIR: walk(path, depth: depth + 1, visit)
      case S_IFREG, S_IFLNK: if !isFolder(path) { visit(path) }
      default: continue
      }
    }
  }
}

/// What tells a file from all others, whatever path leads there.
struct FileIdentity: Equatable {
  private let device: UInt
  private let number: UInt
  let owner: uid_t

  /// `nil` when there is no such file, or it may not be seen.
  init?(_ path: String) {
    var about = stat()
    guard stat(path, &about) == 0 else { return nil }
    (device, number, owner) = (UInt(about.st_dev), UInt(about.st_ino), about.st_uid)
  }
}
