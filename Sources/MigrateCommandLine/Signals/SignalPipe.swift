private import Glibc
internal import Synchronization

/// The way from a signal's handler to a thread: a pipe, and what has to be undone.
struct SignalPipe: Sendable {
  /// The one of this process.
  static let installation = Mutex<SignalPipe?>(nil)

  /// Where the handler writes; -1 for nowhere. The one thing that the handler reads.
  private static let writeEnd = Atomic<Int32>(-1)
  private static let endOfPipe: UInt8 = 0

  private let descriptor: Int32
  private let previous: [(signal: Signal, action: sigaction)]

  /// Makes the pipe, the thread that reads it, and the handlers.
  static func install(_ receive: @escaping @Sendable (UInt8) -> Void) -> Result<SignalPipe, SignalWatch.Failure> {
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { return .failure(.system(code: errno)) }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    // Were the reader ever so slow, a handler must not wait.
    _ = fcntl(ends[1], F_SETFL, O_NONBLOCK)
    if let code = detachThread({ [reading = ends[0]] in read(from: reading, receive) }) {
      ends.forEach { close($0) }
      return .failure(.system(code: code))
    }
    writeEnd.store(ends[1], ordering: .sequentiallyConsistent)
    unblock()
    return .success(SignalPipe(descriptor: ends[1], previous: Signal.allCases.compactMap(handle)))
  }

  /// Takes the handlers away, then ends the thread.
  func remove() {
    for (signal, action) in previous {
      var action = action
      sigaction(signal.number, &action, nil)
    }
    Self.writeEnd.store(-1, ordering: .sequentiallyConsistent)
    // What came before is still told. The write end stays open: a handler that runs just now on another thread may hold its
    // number, and if the number were free again its byte might go into a connection.
    Self.write(Self.endOfPipe, to: descriptor)
  }

  private static func handle(_ signal: Signal) -> (signal: Signal, action: sigaction)? {
    var previous = sigaction()
    sigaction(signal.number, nil, &previous)
    if isIgnored(previous) { return nil }
    var action = sigaction()
    action.__sigaction_handler.sa_handler = { number in
      let descriptor = SignalPipe.writeEnd.load(ordering: .sequentiallyConsistent)
      let before = errno
      if descriptor >= 0 { SignalPipe.write(UInt8(truncatingIfNeeded: number), to: descriptor) }
      errno = before
    }
    action.sa_flags = SA_RESTART
    sigaction(signal.number, &action, nil)
    return (signal, previous)
  }

  /// A program inherits the mask of the thread that started it, and threads of a pool, Dispatch's for one, block everything:
  /// without this nobody could stop a run that such a thread has begun.
  private static func unblock() {
    var signals = sigset_t()
    sigemptyset(&signals)
    for signal in Signal.allCases { sigaddset(&signals, signal.number) }
    pthread_sigmask(SIG_UNBLOCK, &signals, nil)
  }

  private static func isIgnored(_ action: sigaction) -> Bool {
    unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self) == unsafeBitCast(SIG_IGN, to: Int.self)
  }

  private static func write(_ byte: UInt8, to descriptor: Int32) {
    var byte = byte
    _ = Glibc.write(descriptor, &byte, 1)
  }

  private static func read(from descriptor: Int32, _ receive: (UInt8) -> Void) {
    defer { close(descriptor) }
    var byte: UInt8 = 0
    while true {
      let count = Glibc.read(descriptor, &byte, 1)
      if count < 0 && errno == EINTR { continue }
      if count <= 0 || byte == endOfPipe { return }
      receive(byte)
    }
  }

  /// Runs `body` on a thread of its own. - Returns: the system's number for what went wrong.
  private static func detachThread(_ body: @escaping @Sendable () -> Void) -> Int32? {
    final class Body: Sendable {
      let run: @Sendable () -> Void
      init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }
    let context = Unmanaged.passRetained(Body(body))
    var thread = pthread_t()
    let code = pthread_create(
      &thread, nil,
      { context in
        if let context { Unmanaged<Body>.fromOpaque(context).takeRetainedValue().run() }
        return nil
      }, context.toOpaque())
    if code != 0 {
      context.release()
      return code
    }
    pthread_detach(thread)
    return nil
  }
}
