import Glibc

/// Runs `body`, which may block, on a thread of its own. The caller suspends, it does not block: two statements that wait for
/// a lock on Swift's pool (a thread a core) would stop progress, control and every other worker.
package func onThread<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
  try await withCheckedThrowingContinuation { continuation in
    let started = startThread(detached: true) { continuation.resume(with: Result { try body() }) }
    if started == nil {
      continuation.resume(throwing: PostgresError.insufficientResources("the system gives no further thread"))
    }
  }
}

/// A thread that somebody waits for. Whoever starts it joins it, once.
package struct RunningThread: Sendable {
  private let thread: pthread_t

  /// `nil` when the system refuses; `body` is not run then.
  package init?(_ body: @escaping @Sendable () -> Void) {
    guard let thread = startThread(detached: false, body) else { return nil }
    self.thread = thread
  }

  /// Waits until its body has ended.
  package func join() { pthread_join(thread, nil) }
}

/// The closure that a thread gets as its argument.
private final class ThreadBody: Sendable {
  let run: @Sendable () -> Void
  init(_ run: @escaping @Sendable () -> Void) { self.run = run }
}

/// As deep as a main thread's usual stack: PostgreSQL's parser, which recurses, runs on such threads too.
private let stackSize = 8 << 20

/// Runs `body` on a thread of its own, and nobody waits for it.
///
/// - Returns: false when the system refuses; `body` was not run then.
package func startThread(_ body: @escaping @Sendable () -> Void) -> Bool { startThread(detached: true, body) != nil }

/// - Returns: `nil` when the system refuses; `body` was not run then.
private func startThread(detached: Bool, _ body: @escaping @Sendable () -> Void) -> pthread_t? {
  var attributes = pthread_attr_t()
  guard pthread_attr_init(&attributes) == 0 else { return nil }
  defer { pthread_attr_destroy(&attributes) }
  pthread_attr_setstacksize(&attributes, stackSize)
  pthread_attr_setdetachstate(&attributes, Int32(detached ? PTHREAD_CREATE_DETACHED : PTHREAD_CREATE_JOINABLE))
  let argument = Unmanaged.passRetained(ThreadBody(body))
  var thread = pthread_t()
  let code = pthread_create(
    &thread, &attributes,
    { argument in
      if let argument { Unmanaged<ThreadBody>.fromOpaque(argument).takeRetainedValue().run() }
      return nil
    }, argument.toOpaque())
  if code == 0 { return thread }
  argument.release()
  return nil
}
