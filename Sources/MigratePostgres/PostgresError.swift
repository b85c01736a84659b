internal import Glibc

/// An error of the database, or on the way to it.
///
/// The fields of the server's message can be read directly: `error.sqlState`, `error.detail`, `error.position`.
@dynamicMemberLookup
package struct PostgresError: Error, Sendable, Equatable {
  /// Who found the error.
  package enum Origin: Sendable, Equatable {
    /// The server answered with it.
    case server
    /// No connection came about. The state is known when the server itself refused.
    case connecting
    /// The connection broke off without an answer: whether the last statement took effect is not known.
    case lost
    /// This program: an answer that cannot be read as asked, a text that cannot be sent.
    case client
    /// The connection parameters cannot be read.
    case parameters
  }

  package let origin: Origin
  package let report: ServerMessage
  /// The connection cannot be used any more. After a COMMIT that means: ask the ledger what happened, whatever the state
  /// says, because an administrator's shutdown can arrive after the commit and before its answer.
  package let endsConnection: Bool

  package subscript<Value>(dynamicMember field: KeyPath<ServerMessage, Value>) -> Value { report[keyPath: field] }

  /// What to do about it.
  package var `class`: ErrorClass {
    switch origin {
    case .client, .server: report.sqlState?.errorClass ?? .definition
    case .connecting: report.sqlState?.errorClass ?? .transient
    case .lost: .transient
    case .parameters: .definition
    }
  }

  /// The same, when it turns out that it took the connection with it.
  var endingConnection: PostgresError { PostgresError(origin, report, endsConnection: true) }

  /// The same, with what to do about it where the server has not said so itself.
  package func hinting(_ hint: String) -> PostgresError {
    guard report.hint == nil else { return self }
    var report = report
    report.hint = hint
    return PostgresError(origin, report, endsConnection: endsConnection)
  }

  /// Whether a connection did not come about because the server was down, or about to come up. One that is full, or that nobody
  /// reaches, can be up and well.
  package var tellsOfDownServer: Bool {
    guard origin == .connecting else { return false }
    if let state = report.sqlState { return state == .cannotConnectNow }
    // Without a word of the server all there is to go by is libpq's text, which quotes the operating system's. A server that has ended
    // takes its socket's file along.
    return [ECONNREFUSED, ENOENT].contains { report.message.contains(String(cString: strerror($0))) }
  }

  package init(_ origin: Origin, _ report: ServerMessage, endsConnection: Bool = false) {
    self.origin = origin
    self.report = report
    self.endsConnection = endsConnection
  }
}

extension PostgresError {
  /// An answer that is not what the reader expects of it.
  package static func unreadable(_ message: String) -> PostgresError {
    PostgresError(.client, ServerMessage(severity: "ERROR", message: message))
  }

  /// What the server would say at the first statement that writes, with a word on why.
  package static func readOnly(_ message: String, hint: String) -> PostgresError {
    var report = ServerMessage(severity: "ERROR", sqlState: .readOnlyTransaction, message: message)
    report.hint = hint
    return PostgresError(.client, report)
  }

  /// A server of `version`, which lacks what all of this stands on; `nil` when it is new enough. The catalog's query is the first
  /// to ask for what came with PostgreSQL 15, and its own error would tell nobody what to do.
  package static func tooOld(_ version: Int) -> PostgresError? {
    guard version < 150_000 else { return nil }
    var report = ServerMessage(
      severity: "ERROR", message: "the server is PostgreSQL \(version / 10_000), and the least that will do is 15")
    report.hint = "upgrade it, or name another server"
    return PostgresError(.client, report)
  }

  /// This program lacks memory or threads; the state is that of a server in the same distress.
  static func insufficientResources(_ message: String) -> PostgresError {
    PostgresError(.client, ServerMessage(severity: "ERROR", sqlState: .insufficientResources, message: message))
  }

  /// To C a NUL ends a text: what follows it would be left out without a word. The server refuses it with the same state.
  static var containsNUL: PostgresError {
    let message = "a text with a NUL byte cannot be sent to the server"
    let report = ServerMessage(severity: "ERROR", sqlState: .characterNotInRepertoire, message: message)
    return PostgresError(.client, report)
  }

  static func invalidParameters(_ message: String, hint: String) -> PostgresError {
    var report = ServerMessage(severity: "ERROR", message: message)
    report.hint = hint
    return PostgresError(.parameters, report)
  }
}

extension PostgresError: CustomStringConvertible {
  /// For people and logs: a line a field, data without its escape sequences.
  package var description: String {
    let code = report.sqlState.map { " \($0.code)" } ?? ""
    let head = "\(report.severity)\(code): \(report.message)"
    let rest = [("detail", report.detail), ("hint", report.hint), ("context", report.context)]
    let lines = rest.compactMap { name, text in text.map { "  \(name): \($0)" } }
    return ([head] + lines).map(Self.withoutControls).joined(separator: "\n")
  }

  /// Values from the database can hold what a terminal obeys; here it is shown instead.
  private static func withoutControls(_ text: String) -> String {
    var result = String.UnicodeScalarView()
    for scalar in text.unicodeScalars {
      switch scalar.value {
      case 9, 10: result.append(scalar)
      case 0..<32, 127..<160: result.append(contentsOf: "\\u{\(String(scalar.value, radix: 16))}".unicodeScalars)
      default: result.append(scalar)
      }
    }
    return String(result)
  }
}
