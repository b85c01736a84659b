private import Glibc

/// Reads the values that were not typed out: `@FILE`, and `-` for standard input.
package struct LongValueReader: Sendable {
  /// Why a file could not be read.
  package enum Failure: Error, Sendable, Equatable {
    /// As the system says it: `No such file or directory`.
    case unreadable(String)
    case tooLong(limit: Int)
  }

  /// What is longer is no value but a mistake, `/dev/zero` for instance.
  package static let limit = 16 * 1024 * 1024

  /// The bytes of the file, of standard input for `-`.
  package let read: @Sendable (_ path: String) -> Result<[UInt8], Failure>

  package init(read: @escaping @Sendable (_ path: String) -> Result<[UInt8], Failure>) {
    self.read = read
  }

  /// Reads from the system.
  package static let system = LongValueReader { path in
    Result { () throws(Failure) in
      if path.utf8.elementsEqual("-".utf8) { return try bytes(from: STDIN_FILENO) }
      let descriptor = open(path, O_RDONLY | O_CLOEXEC)
      if descriptor < 0 { throw .unreadable(String(cString: strerror(errno))) }
      defer { close(descriptor) }
      return try bytes(from: descriptor)
    }
  }

  private static func bytes(from descriptor: Int32) throws(Failure) -> [UInt8] {
    var content: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = Glibc.read(descriptor, &buffer, buffer.count)
      if count == 0 { return content }
      if count < 0 && errno == EINTR { continue }
      if count < 0 { throw .unreadable(String(cString: strerror(errno))) }
      content += buffer[..<count]
      if content.count > limit { throw .tooLong(limit: limit) }
    }
  }
}
