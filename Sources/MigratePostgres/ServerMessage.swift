internal import CLibpq

/// What the server has to say about a statement that has failed. Source: PostgreSQL manual, 55.8.
package struct ServerMessage: Sendable, Equatable {
  /// `ERROR`, `FATAL`, `PANIC`, in English whatever the server's language.
  package var severity: String
  /// Absent when libpq speaks for itself: a connection that broke off has no state.
  package var sqlState: SQLState?
  package var message: String
  package var detail: String?
  package var hint: String?
  /// Where in the text sent, counted in characters (Unicode scalars) from 1.
  package var position: Int?
  /// A statement that the server made itself, inside a function for instance, and the place in it.
  package var internalQuery: String?
  package var internalPosition: Int?
  /// The call stack: `PL/pgSQL function f() line 3 at RAISE`.
  package var context: String?
  package var schema: String?
  package var table: String?
  package var column: String?
  package var dataType: String?
  package var constraint: String?

  /// A message without any of what may be absent.
  package init(severity: String, sqlState: SQLState? = nil, message: String) {
    self.severity = severity
    self.sqlState = sqlState
    self.message = message
  }

  /// The bytes before ``position`` in `text`; `nil` without a position, or with one outside of it.
  ///
  /// - Parameter prefix: what was sent before the text, in one message with it.
  package func byteOffset(in text: String, behind prefix: String = "") -> Int? {
    guard let position = position.map({ $0 - prefix.unicodeScalars.count }), position >= 1 else { return nil }
    let scalars = text.unicodeScalars
    guard let index = scalars.index(scalars.startIndex, offsetBy: position - 1, limitedBy: scalars.endIndex) else {
      return nil
    }
    return text.utf8.distance(from: text.utf8.startIndex, to: index)
  }

  /// The texts that a reader sees without the secrets. Names of tables and columns stay: programs compare them.
  func redacted(by redaction: Redaction) -> ServerMessage {
    var copy = self
    copy.message = redaction.apply(to: message)
    copy.detail = detail.map(redaction.apply)
    copy.hint = hint.map(redaction.apply)
    copy.internalQuery = internalQuery.map(redaction.apply)
    copy.context = context.map(redaction.apply)
    return copy
  }
}

extension ServerMessage {
  /// The fields of a result that is an error.
  init(of result: OpaquePointer) {
    func field(_ code: Unicode.Scalar) -> String? {
      PQresultErrorField(result, Int32(code.value)).map { String(cString: $0) }
    }
    // V and not S: the severity that is not translated.
    self.init(
      severity: field("V") ?? field("S") ?? "ERROR", sqlState: field("C").map { SQLState($0) },
      message: field("M") ?? String(cString: PQresultErrorMessage(result)).trimmed)
    detail = field("D")
    hint = field("H")
    position = field("P").flatMap { Int($0) }
    internalQuery = field("q")
    internalPosition = field("p").flatMap { Int($0) }
    context = field("W")
    schema = field("s")
    table = field("t")
    column = field("c")
    dataType = field("d")
    constraint = field("n")
  }
}
