internal import CLibpq
import Glibc

/// Makes the connection: PQconnectdb, and the SQLSTATE of a refusal.
///
/// libpq keeps the state of a failed connection to itself, except in verbose messages; and messages can be made verbose only
/// on a connection that exists. So it is begun, told, and then waited for here.
enum Dial {
  /// Seconds to wait for a server that does not answer; `connect_timeout` overrules it, 0 means for ever.
  private static let patience = 30

  static func connect(to server: Server) throws(PostgresError) -> OpaquePointer {
    _ = ignoreBrokenPipes
    // Texts are UTF-8 on our side, whatever PGCLIENTENCODING says: a cut or replaced byte would be a changed value.
    let all = server.setting("client_encoding", "UTF8").parameters
    let handle = try withCStrings(all.map(\.keyword) + [nil]) { (keywords) throws(PostgresError) in
      try withCStrings(all.map(\.value) + [nil]) { (values) throws(PostgresError) in
        // Several hosts: only libpq itself can give up one of them and take the next, so that is left to it.
        namesSeveralHosts(server)
          ? PQconnectdbParams(keywords.baseAddress, values.baseAddress, 0)
          : PQconnectStartParams(keywords.baseAddress, values.baseAddress, 0)
      }
    }
    guard let handle else { throw .insufficientResources("out of memory") }
    // Warnings and notices are nobody's yet; libpq itself would write them to stderr, across what is shown there.
    PQsetNoticeReceiver(handle, { _, _ in }, nil)
    PQsetErrorVerbosity(handle, PQERRORS_VERBOSE)
    let timedOut = PQstatus(handle) == CONNECTION_OK ? false : !finish(handle)
    PQsetErrorVerbosity(handle, PQERRORS_DEFAULT)
    guard PQstatus(handle) == CONNECTION_OK else {
      let redaction = server.redaction(hidingAlso: String(cString: PQpass(handle)))
      let report = timedOut ? .timeout : ServerMessage(ofFailedConnection: String(cString: PQerrorMessage(handle)))
      PQfinish(handle)
      throw .notConnected(report.redacted(by: redaction))
    }
    return handle
  }

  /// Here, in PGHOST or in the service file.
  private static func namesSeveralHosts(_ server: Server) -> Bool {
    guard let options = PQconndefaults() else { return false }
    defer { PQconninfoFree(options) }
    let effective = Server.parameters(of: options) + server.parameters
    return ["host", "hostaddr"].contains { keyword in
      effective.last { $0.keyword == keyword }?.value.utf8.contains(UInt8(ascii: ",")) == true
    }
  }

  /// - Returns: false when the time is up.
  private static func finish(_ handle: OpaquePointer) -> Bool {
    let deadline = timeout(of: handle).map { ContinuousClock.now + .seconds($0) }
    var next = PQstatus(handle) == CONNECTION_BAD ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING
    while next == PGRES_POLLING_READING || next == PGRES_POLLING_WRITING {
      let events = next == PGRES_POLLING_READING ? POLLIN : POLLOUT
      guard wait(for: PQsocket(handle), events: Int16(events), until: deadline) else { return false }
      next = PQconnectPoll(handle)
    }
    return true
  }

  private static func timeout(of handle: OpaquePointer) -> Int? {
    guard let options = PQconninfo(handle) else { return patience }
    defer { PQconninfoFree(options) }
    let said = Server.parameters(of: options).first { $0.keyword == "connect_timeout" }
    guard let seconds = said.flatMap({ Int($0.value) }) else { return patience }
    return seconds > 0 ? seconds : nil
  }

  /// Writing to a server that is gone must be an error of that call, not the end of the process. libpq sees to it for
  /// sockets without TLS; with TLS it depends on the library.
  private static let ignoreBrokenPipes: Void = { _ = signal(SIGPIPE, SIG_IGN) }()
}

/// Waits until the socket is ready.
/// - Returns: false when the deadline passes first.
func wait(for socket: Int32, events: Int16, until deadline: ContinuousClock.Instant?) -> Bool {
  var descriptor = pollfd(fd: socket, events: events, revents: 0)
  while true {
    var milliseconds: Int32 = -1
    if let deadline {
      let left = (deadline - .now).components
      let rounded = left.seconds * 1_000 + (left.attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000
      milliseconds = Int32(clamping: max(0, rounded))
    }
    let ready = poll(&descriptor, 1, milliseconds)
    if ready > 0 { return true }
    if ready == 0 { return false }
    // Anything but a signal is for libpq to find out, which then says what it is.
    if errno != EINTR { return true }
  }
}

extension PostgresError {
  fileprivate static func notConnected(_ report: ServerMessage) -> PostgresError {
    PostgresError(.connecting, report, endsConnection: true)
  }
}

extension ServerMessage {
  fileprivate static let timeout = ServerMessage(severity: "FATAL", message: "the server did not answer in time")

  /// `… failed: FATAL:  57P03: the database system is starting up`: the state goes into its field and out of the text, and so
  /// does the line about the server's source file. Of several hosts, the last one's state counts.
  init(ofFailedConnection text: String) {
    var state: SQLState?
    let lines = text.split(separator: "\n").filter { !$0.utf8.starts(with: "LOCATION:".utf8) }.map { line in
      let bytes = Array(line.utf8)
      guard let start = Self.stateStart(in: bytes) else { return String(line) }
      state = SQLState(String(decoding: bytes[start..<start + 5], as: UTF8.self))
      return String(decoding: bytes[..<start] + bytes[(start + 7)...], as: UTF8.self)
    }
    self.init(severity: "FATAL", sqlState: state, message: lines.joined(separator: "\n").trimmed)
  }

  /// Where `57P03: ` begins after a severity and `:  `.
  private static func stateStart(in line: [UInt8]) -> Int? {
    let colon = UInt8(ascii: ":")
    let space = UInt8(ascii: " ")
    let isCode: (UInt8) -> Bool = {
      (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0)
    }
    return line.indices.first { start in
      start >= 3 && start + 7 <= line.count
        && line[start - 3..<start].elementsEqual([colon, space, space])
        && line[start..<start + 5].allSatisfy(isCode)
        && line[start + 5] == colon && line[start + 6] == space
    }
  }
}
