internal import CLibpq

/// The warnings and notices of one connection, in order, until somebody takes them. Used only by the thread that owns the
/// connection: libpq calls the receiver inside its own functions.
final class Notices {
  /// A function that warns for each row must not fill the memory.
  private static let limit = 1_000
  private var kept: [ServerMessage] = []

  func append(_ message: ServerMessage) {
    if kept.count < Self.limit { kept.append(message) }
  }

  func takeAll() -> [ServerMessage] {
    defer { kept = [] }
    return kept
  }

  /// Makes this the receiver of `connection`, instead of stderr. It must outlive the connection.
  func receive(from connection: OpaquePointer) {
    PQsetNoticeReceiver(
      connection,
      { receiver, result in
        guard let receiver, let result else { return }
        Unmanaged<Notices>.fromOpaque(receiver).takeUnretainedValue().append(ServerMessage(of: result))
      }, Unmanaged.passUnretained(self).toOpaque())
  }
}

extension ServerMessage {
  /// The fields of a result that is an error or a notice.
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
