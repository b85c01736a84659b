import Foundation
package import MigratePostgres
import Synchronization

/// Stands between a client and the server, counts what the client sends, and cuts the connection where it is told to.
///
/// Threads and sockets: a thread for each direction of each connection. Source: PostgreSQL manual, 55.2 and 55.7.
package final class Proxy: Sendable {
  /// Where the connection breaks: before a message is passed on, behind it and before its answer, or in its middle.
  package enum Place: Sendable, CaseIterable { case before, behind, within }

  /// Which message of the client is meant.
  package enum Message: Sendable, Equatable {
    /// The n-th, from 1.
    case number(Int)
    /// The n-th COMMIT, from 1.
    case commit(Int)
  }

  private struct State {
    var cut: (message: Message, place: Place)?
    var messages = 0
    var commits = 0
    var slow: (text: [UInt8], time: Duration)?
    var heldBack = 0
    var isOpen = true
  }

  private let folder: String
  private let upstream: String
  private let listener: Int32
  private let state = Mutex(State())

  /// - Parameters:
  ///   - folder: gets the socket; an existing one.
  ///   - upstream: the folder of the server's socket.
  package init(folder: String, to upstream: String) throws {
    self.folder = folder
    self.upstream = upstream
    listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    let path = Self.socketPath(folder)
    guard Self.withAddress(path, { bind(listener, $0, $1) }) == 0, listen(listener, 128) == 0 else {
      throw TestSupportError("cannot listen at \(path)")
    }
    Thread.detachNewThread { self.accept() }
  }

  package func close() {
    state.withLock { $0.isOpen = false }
    shutdown(listener, Int32(SHUT_RDWR))
    Foundation.close(listener)
    unlink(Self.socketPath(folder))
  }

  /// The same database, through here.
  package func through(_ server: Server) -> Server { server.setting("host", folder) }

  /// Cuts once, at that message counted from now on.
  package func cut(_ place: Place, at message: Message) {
    state.withLock { state in
      state.cut = (message, place)
      state.messages = 0
      state.commits = 0
    }
  }

  /// Passes messages with this text on only after a time, from now on.
  package func holdBack(_ text: String, for time: Duration) { state.withLock { $0.slow = (Array(text.utf8), time) } }

  /// How many messages were held back, or are.
  package var heldBack: Int { state.withLock { $0.heldBack } }

  /// Whether the cut has been made; a cut that has not is taken back.
  package func disarm() -> Bool {
    state.withLock { state in
      defer { state.cut = nil }
      return state.cut == nil
    }
  }

  /// What the client has sent since ``cut(_:at:)``.
  package var messages: Int { state.withLock { $0.messages } }

  private func accept() {
    while true {
      let client = Foundation.accept(listener, nil, nil)
      guard client >= 0 else {
        if state.withLock({ $0.isOpen }), errno == EINTR || errno == ECONNABORTED { continue }
        return
      }
      let server = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
      let link = Link(client: client, server: server)
      guard Self.withAddress(Self.socketPath(upstream), { connect(server, $0, $1) }) == 0 else { continue }
      Thread.detachNewThread { self.forward(link) }
      Thread.detachNewThread { Self.answer(link) }
    }
  }

  /// From client to server, a message at a time.
  private func forward(_ link: Link) {
    defer { link.end() }
    var isFirst = true
    while let message = Self.message(from: link.client, isFirst: isFirst) {
      isFirst = false
      if let time = delay(message) { Thread.sleep(forTimeInterval: time / .seconds(1)) }
      switch decide(message) {
      case nil: guard Self.send(message[...], to: link.server) else { return }
      case .before: return
      case .within:
        _ = Self.send(message[..<(message.count / 2)], to: link.server)
        return
      case .behind:
        // No answer gets through any more; the server finds the message, and behind it the end.
        link.mute()
        _ = Self.send(message[...], to: link.server)
        shutdown(link.client, Int32(SHUT_RDWR))
        shutdown(link.server, Int32(SHUT_WR))
        link.drain()
        return
      }
    }
  }

  private func delay(_ message: [UInt8]) -> Duration? {
    state.withLock { state in
      guard let slow = state.slow, message.contains(slow.text) else { return nil }
      state.heldBack += 1
      return slow.time
    }
  }

  private func decide(_ message: [UInt8]) -> Place? {
    state.withLock { state in
      state.messages += 1
      if message.elementsEqual(Self.commit) { state.commits += 1 }
      guard let cut = state.cut else { return nil }
      let isHere =
        switch cut.message {
        case .number(let number): number == state.messages
        case .commit(let number): number == state.commits && message.elementsEqual(Self.commit)
        }
      guard isHere else { return nil }
      state.cut = nil
      return cut.place
    }
  }

  private static func answer(_ link: Link) {
    defer { link.end() }
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = recv(link.server, &buffer, buffer.count, 0)
      guard count > 0 else { return }
      if !link.isMuted, !send(buffer[..<count], to: link.client) { return }
    }
  }
}

extension Proxy {
  /// Two sockets, closed when neither direction needs them any more.
  private final class Link: Sendable {
    let client: Int32
    let server: Int32
    private let muted = Atomic(false)
    private let answered = DispatchSemaphore(value: 0)

    init(client: Int32, server: Int32) { (self.client, self.server) = (client, server) }

    deinit {
      Foundation.close(client)
      Foundation.close(server)
    }

    var isMuted: Bool { muted.load(ordering: .sequentiallyConsistent) }
    func mute() { muted.store(true, ordering: .sequentiallyConsistent) }

    /// Ends both directions.
    func end() {
      shutdown(client, Int32(SHUT_RDWR))
      shutdown(server, Int32(SHUT_RDWR))
      answered.signal()
    }

    /// Waits until the server has ended its side.
    func drain() { answered.wait() }
  }

  /// `COMMIT` as a simple query.
  private static let commit: [UInt8] = [UInt8(ascii: "Q"), 0, 0, 0, 11] + Array("COMMIT".utf8) + [0]

  private static func socketPath(_ folder: String) -> String { "\(folder)/.s.PGSQL.5432" }

  /// A type byte, which the first message of a connection lacks, the length, and what belongs to it.
  private static func message(from socket: Int32, isFirst: Bool) -> [UInt8]? {
    guard let head = receive(isFirst ? 4 : 5, from: socket) else { return nil }
    let length = head.suffix(4).reduce(0) { $0 << 8 | Int($1) }
    guard length >= 4, let body = receive(length - 4, from: socket) else { return nil }
    return head + body
  }

  private static func receive(_ count: Int, from socket: Int32) -> [UInt8]? {
    var bytes = [UInt8](repeating: 0, count: count)
    var done = 0
    while done < count {
      let got = bytes.withUnsafeMutableBytes { recv(socket, $0.baseAddress?.advanced(by: done), count - done, 0) }
      guard got > 0 else { return nil }
      done += got
    }
    return bytes
  }

  private static func send(_ bytes: ArraySlice<UInt8>, to socket: Int32) -> Bool {
    var rest = bytes
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Foundation.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
      guard count > 0 else { return false }
      rest = rest.dropFirst(count)
    }
    return true
  }

  private static func withAddress(_ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { buffer in
      for (index, byte) in path.utf8.prefix(buffer.count - 1).enumerated() { buffer[index] = byte }
    }
    return withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
    }
  }
}
