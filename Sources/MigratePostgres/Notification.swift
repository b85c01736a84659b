internal import CLibpq

/// A message of NOTIFY.
package struct Notification: Sendable, Equatable {
  package let channel: String
  package let payload: String
  /// The backend that sent it.
  package let sender: Int32

  /// Those that libpq has received and nobody has seen.
  static func takeAll(from connection: OpaquePointer) -> [Notification] {
    var result: [Notification] = []
    while let notify = PQnotifies(connection) {
      result.append(
        Notification(
          channel: String(cString: notify.pointee.relname), payload: String(cString: notify.pointee.extra),
          sender: notify.pointee.be_pid))
      PQfreemem(notify)
    }
    return result
  }
}
