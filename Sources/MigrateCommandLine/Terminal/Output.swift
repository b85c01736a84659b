private import Glibc
private import Synchronization

/// Standard output or standard error, written whole: a line is one piece even when threads write at once.
///
/// A failure does not interrupt the caller: a run must not stop between two batches because `head` has seen enough (P14,
/// P26). It is kept, later writes do nothing, and the command asks for ``failure`` before it calls itself done.
package final class Output: Sendable {
  /// Why nothing more is written.
  package enum Failure: Error, Sendable, Equatable {
    /// Nobody reads any more. Not worth a word: `migrate history | head` is no mistake.
    case closed
    /// The system's number for it: a full disk, a descriptor that was closed.
    case system(code: Int32)

    /// As the system says it.
    package var reason: String {
      switch self {
      case .closed: "nobody reads it any more"
      case .system(let code): String(cString: strerror(code))
      }
    }
  }

  /// Results.
  package static let standard = Output(descriptor: STDOUT_FILENO)
  /// Talk, progress and errors.
  package static let error = Output(descriptor: STDERR_FILENO)

  package let descriptor: Int32
  private let state = Mutex<Failure?>(nil)

  /// - Parameter descriptor: stays the caller's, and is not closed here.
  package init(descriptor: Int32) {
    self.descriptor = descriptor
  }

  /// What went wrong so far, if anything did.
  package var failure: Failure? { state.withLock { $0 } }

  /// Writes all of `text`. - Returns: what went wrong, now or before.
  @discardableResult
  package func write(_ text: String) -> Failure? {
    var bytes = Array(text.utf8)
    return state.withLock { failure in
      if failure == nil { failure = writeAll(&bytes) }
      return failure
    }
  }

  private func writeAll(_ bytes: inout [UInt8]) -> Failure? {
    var done = 0
    while done < bytes.count {
      let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress.map { $0 + done }, $0.count - done) }
      if count >= 0 {
        done += count
        continue
      }
      switch errno {
      case EINTR: continue
      // Someone who shares the descriptor made it non-blocking: ssh and some CI runners do.
      case EAGAIN:
        var waiting = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        poll(&waiting, 1, -1)
      case EPIPE: return .closed
      case let code: return .system(code: code)
      }
    }
    return nil
  }
}

/// What has to be so before anything else happens in the program.
package enum StandardDescriptors {
  /// Makes sure of two things. A broken pipe is an error of the write, not the end of the program; and descriptors 0 to 2 are
  /// taken: started with `>&-` the connection to the database would become descriptor 1, and our output part of its protocol.
  package static func secure() {
    ignoreBrokenPipes()
    for descriptor in STDIN_FILENO...STDERR_FILENO where fcntl(descriptor, F_GETFD) == -1 && errno == EBADF {
      // The lowest free number is taken, which is this one. Opened the wrong way round, so that using it fails as before.
      _ = open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY)
    }
  }

  /// By a handler that does nothing rather than by SIG_IGN, which programs that we start would inherit.
  private static func ignoreBrokenPipes() {
    var action = sigaction()
    action.__sigaction_handler.sa_handler = { _ in }
    action.sa_flags = SA_RESTART
    sigaction(SIGPIPE, &action, nil)
  }
}
