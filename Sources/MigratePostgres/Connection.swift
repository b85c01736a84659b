internal import CLibpq
import Glibc

/// A connection with one owner. Its calls block the thread: see ``onThread(_:)``.
///
/// It cannot be copied, so nothing slips between `BEGIN` and `COMMIT`. Nothing is prepared under a name and nothing set for
/// the session, so that it also works behind a pooler that shares connections by transaction.
package struct Connection: ~Copyable {
  private let handle: OpaquePointer
  private let redaction: Redaction
  /// Called by libpq for as long as the connection lives.
  private let receiver: NoticeReceiver?
  /// Cancels the running statement, from any thread.
  package let cancellation: Cancellation

  /// - Parameter warnings: get what the server warns of, once it is connected; without them it is nobody's.
  /// - Throws: origin `connecting`.
  package init(to server: Server, warnings: Warnings? = nil) throws(PostgresError) {
    let handle = try Dial.connect(to: server)
    guard let cancel = PQgetCancel(handle) else {
      PQfinish(handle)
      throw .insufficientResources("out of memory")
    }
    self.handle = handle
    redaction = server.redaction(hidingAlso: String(cString: PQpass(handle)))
    cancellation = Cancellation(handle: cancel)
    receiver = warnings.map { [redaction] in NoticeReceiver($0, redaction) }
    receiver?.listen(to: handle)
  }

  deinit { PQfinish(handle) }

  /// Runs a script of one or more statements, sent as one message. Without an explicit BEGIN they are one transaction.
  /// - Returns: what the last statement gave.
  @discardableResult
  package borrowing func execute(_ script: String) throws(PostgresError) -> Rows {
    guard !script.utf8.contains(0) else { throw .containsNUL }
    return try answer(sent: PQsendQuery(handle, script))
  }

  /// Runs one statement; `arguments` are texts for `$1`, `$2`, …, whose types the statement says: `$1::bigint`.
  @discardableResult
  package borrowing func query(_ text: String, _ arguments: [String?] = []) throws(PostgresError) -> Rows {
    guard !text.utf8.contains(0) else { throw .containsNUL }
    let count = Int32(clamping: arguments.count)
    let sent = try withCStrings(arguments) { (values) throws(PostgresError) in
      PQsendQueryParams(handle, text, count, nil, values.baseAddress, nil, nil, 0)
    }
    return try answer(sent: sent)
  }

  /// The columns that one statement would return, without running it.
  package borrowing func describe(_ text: String) throws(PostgresError) -> [ResultColumn] {
    guard !text.utf8.contains(0) else { throw .containsNUL }
    _ = try answer(sent: PQsendPrepare(handle, "", text, 0, nil))
    return try answer(sent: PQsendDescribePrepared(handle, "")).columns
  }
}

extension Connection {
  /// The process that serves this connection, as `pg_stat_activity.pid` has it.
  package var backendPID: Int32 { PQbackendPID(handle) }

  /// For instance 150018: major version and minor one.
  package var serverVersion: Int { Int(PQserverVersion(handle)) }

  /// Whether the connection is known to be of no use any more. It shows only after a call that failed.
  package var isBroken: Bool { PQstatus(handle) != CONNECTION_OK }

  /// Where the connection stands between BEGIN and COMMIT.
  package var transactionStatus: TransactionStatus {
    switch PQtransactionStatus(handle) {
    case PQTRANS_IDLE: .idle
    case PQTRANS_ACTIVE: .active
    case PQTRANS_INTRANS: .inTransaction
    case PQTRANS_INERROR: .failed
    default: .unknown
    }
  }

  package enum TransactionStatus: Sendable, Equatable {
    case idle, active, inTransaction
    /// Every statement but ROLLBACK is refused.
    case failed
    /// The connection is broken.
    case unknown
  }
}

extension Connection {
  /// The last result of what was sent, or its first error.
  ///
  /// PQexec gives the last error instead: when an administrator ends the backend that is "server closed the connection
  /// unexpectedly", and the server's own word, with its state, came before it.
  private borrowing func answer(sent: Int32) throws(PostgresError) -> Rows {
    guard sent == 1 else { throw failure(nil) }
    var last: Rows?
    var error: PostgresError?
    while let result = PQgetResult(handle) {
      switch PQresultStatus(result) {
      case PGRES_TUPLES_OK, PGRES_COMMAND_OK, PGRES_EMPTY_QUERY: last = Rows(owning: result)
      case PGRES_COPY_IN, PGRES_COPY_OUT, PGRES_COPY_BOTH:
        PQclear(result)
        error = error ?? .unreadable("COPY from or to the client is not possible here")
        leaveCopy()
      default:
        error = error ?? failure(result)
        PQclear(result)
      }
    }
    if let error { throw isBroken ? error.endingConnection : error }
    guard let last else { throw failure(nil) }
    return last
  }

  /// How libpq says that it could not send. It then still calls the connection good, until it has tried to read.
  private static let writeFailures = ["server closed the connection unexpectedly", "could not send data to server"]

  private borrowing func failure(_ result: OpaquePointer?) -> PostgresError {
    let broken = isBroken
    if let result, PQresultErrorField(result, Int32(UInt8(ascii: "C"))) != nil {
      return PostgresError(.server, ServerMessage(of: result).redacted(by: redaction), endsConnection: broken)
    }
    let text = (result.flatMap { PQresultErrorMessage($0) } ?? PQerrorMessage(handle)).map {
      String(cString: $0).trimmed
    }
    let lost = broken || Self.writeFailures.contains { text?.hasPrefix($0) == true }
    let report = ServerMessage(severity: lost ? "FATAL" : "ERROR", message: text ?? "unknown error")
    return PostgresError(lost ? .lost : .client, report.redacted(by: redaction), endsConnection: lost)
  }

  /// Ends a COPY that nobody feeds or reads, so that the connection stays usable.
  private borrowing func leaveCopy() {
    PQputCopyEnd(handle, "not possible here")
    var line: UnsafeMutablePointer<CChar>?
    while PQgetCopyData(handle, &line, 0) > 0 { PQfreemem(line) }
  }
}
