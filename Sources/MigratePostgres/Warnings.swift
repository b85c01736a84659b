internal import CLibpq
import Synchronization

/// What the server has warned of while statements ran: each text once, with how often. Notices, which are no warnings, are left out.
///
/// One can serve a connection after the other, of one thread or of several.
package final class Warnings: Sendable {
  private struct State {
    var heard: [ServerWarning] = []
    var others = 0
  }

  /// A trigger can say something else of each row.
  private static let mostTexts = 20

  private let state = Mutex(State())

  package init() {}

  /// What was heard since this was asked before, in the order in which it came.
  package func take() -> [ServerWarning] {
    let state = state.withLock { state in
      defer { state = State() }
      return state
    }
    return state.heard + (state.others > 0 ? [ServerWarning(message: nil, count: state.others)] : [])
  }

  fileprivate func hear(_ message: ServerMessage) {
    state.withLock { state in
      if let index = state.heard.firstIndex(where: { $0.message?.isLike(message) == true }) {
        state.heard[index].count += 1
      } else if state.heard.count < Self.mostTexts {
        state.heard.append(ServerWarning(message: message, count: 1))
      } else {
        state.others += 1
      }
    }
  }
}

/// A warning of the server's.
package struct ServerWarning: Sendable, Equatable {
  /// As it came first; `nil` stands for all that came when there were too many texts.
  package let message: ServerMessage?
  /// How often it came.
  package fileprivate(set) var count: Int
}

extension ServerMessage {
  /// Whether it says the same, wherever it comes from and whatever its code.
  fileprivate func isLike(_ other: ServerMessage) -> Bool {
    message.utf8.elementsEqual(other.message.utf8)
  }
}

/// Hands a connection's warnings on. It lives as long as the connection, which calls it.
final class NoticeReceiver: Sendable {
  private let warnings: Warnings
  private let redaction: Redaction

  init(_ warnings: Warnings, _ redaction: Redaction) {
    self.warnings = warnings
    self.redaction = redaction
  }

  /// - Parameter handle: of a connection that ends before this does.
  func listen(to handle: OpaquePointer) {
    PQsetNoticeReceiver(
      handle,
      { receiver, result in
        guard let receiver, let result else { return }
        Unmanaged<NoticeReceiver>.fromOpaque(receiver).takeUnretainedValue().receive(result)
      }, Unmanaged.passUnretained(self).toOpaque())
  }

  private func receive(_ result: OpaquePointer) {
    let message = ServerMessage(of: result)
    // A ROLLBACK for safety's sake, behind a statement that has ended the transaction itself, is warned of.
    guard message.severity == "WARNING", message.sqlState != .noActiveTransaction else { return }
    warnings.hear(message.redacted(by: redaction))
  }
}
