package import MigratePostgres
import Synchronization

/// An answer that one thread gives and others wait for.
package final class Reply<Value: Sendable>: Sendable {
  private struct State {
    var answer: Result<Value, PostgresError>?
    var waiting: [CheckedContinuation<Void, Never>] = []
  }

  private let state = Mutex(State())

  package init() {}

  /// The first answer counts.
  package func give(_ answer: Result<Value, PostgresError>) {
    let waiting = state.withLock { state in
      if state.answer == nil { state.answer = answer }
      defer { state.waiting = [] }
      return state.waiting
    }
    for continuation in waiting { continuation.resume() }
  }

  package var isKnown: Bool { state.withLock { $0.answer != nil } }

  package var value: Value {
    get async throws(PostgresError) {
      while true {
        if let answer = state.withLock({ $0.answer }) { return try answer.get() }
        await withCheckedContinuation { continuation in
          let known = state.withLock { state in
            if state.answer == nil { state.waiting.append(continuation) }
            return state.answer != nil
          }
          if known { continuation.resume() }
        }
      }
    }
  }
}
