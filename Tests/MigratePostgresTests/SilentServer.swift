import Glibc
import TestSupport

/// Listens on the loopback interface and never says a word.
final class SilentServer {
  let port: UInt16
  private let socket: Int32

  init() throws {
    socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let socket = socket
    let bound = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
        bind(socket, pointer, size) == 0 && listen(socket, 1) == 0 && getsockname(socket, pointer, &size) == 0
      }
    }
    guard bound else { throw TestSupportError("cannot listen on the loopback interface") }
    port = UInt16(bigEndian: address.sin_port)
  }

  deinit { close(socket) }
}
