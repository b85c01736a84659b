internal import CLibpq

/// Cancels what a connection is doing, from any thread. The statement ends with `57014` and the connection stays usable;
/// without a running statement nothing happens.
package final class Cancellation: Sendable {
  /// Never changed after PQgetCancel, and read only by PQcancel, which libpq calls safe in any thread.
  private nonisolated(unsafe) let handle: OpaquePointer

  init(handle: OpaquePointer) { self.handle = handle }
  deinit { PQfreeCancel(handle) }

  /// - Returns: whether the request reached the server; not whether it came in time.
  @discardableResult package func cancel() -> Bool {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer in
      PQcancel(handle, buffer.baseAddress, Int32(buffer.count)) == 1
    }
  }
}
