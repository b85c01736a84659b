import Dispatch
import Glibc
import MigrateCommandLine
import Synchronization
import Testing

@Suite struct `P26 Output` {
  private func withPipe<Result>(_ body: (_ read: Int32, _ write: Int32) throws -> Result) rethrows -> Result {
    StandardDescriptors.secure()
    var ends: [Int32] = [-1, -1]
    pipe(&ends)
    defer { close(ends[1]) }
    return try body(ends[0], ends[1])
  }

  @Test func `is written whole, through a pipe that is full and does not block`() {
    let text = String(repeating: "0123456789\n", count: 100_000)
    let received = withPipe { read, write in
      _ = fcntl(write, F_SETFL, O_NONBLOCK)
      let reader = Reader(read, count: text.utf8.count)
      #expect(Output(descriptor: write).write(text) == nil)
      return reader.bytes()
    }
    #expect(received.elementsEqual(text.utf8))
  }

  @Test func `P14 outlives a reader that went away, and remembers it`() {
    withPipe { read, write in
      close(read)
      let output = Output(descriptor: write)
      #expect(output.failure == nil)
      #expect(output.write("a") == .closed)
      #expect(output.write("b") == .closed)
      #expect(output.failure == .closed)
    }
  }

  @Test func `tells that a disk is full, and does not go on in the middle`() {
    let full = open("/dev/full", O_WRONLY)
    defer { close(full) }
    let output = Output(descriptor: full)
    #expect(output.write("a") == .system(code: ENOSPC))
    #expect(output.failure?.reason == "No space left on device")
    #expect(Output(descriptor: 9_999).write("a") == .system(code: EBADF))
  }

  @Test func `P26 ends the program with an error when results are lost, and in silence when nobody wants them`()
    async throws
  {
    let full = try #require(
      await #expect(processExitsWith: .exitCode(1), observing: [\.standardErrorContent]) {
        StandardDescriptors.secure()
        close(1)
        _ = open("/dev/full", O_WRONLY)
        Output.standard.write("result\n")
        finish(.done)
      })
    #expect(
      String(decoding: full.standardErrorContent, as: UTF8.self).contains(
        "migrate: error: standard output cannot be written: No space left on device\n"))
    await #expect(processExitsWith: .exitCode(0)) {
      StandardDescriptors.secure()
      var ends: [Int32] = [-1, -1]
      pipe(&ends)
      dup2(ends[1], 1)
      close(ends[1])
      close(ends[0])
      Output.standard.write("result\n")
      finish(.done)
    }
  }

  @Test func `P26 started without descriptors, none of them becomes a connection`() async {
    await #expect(processExitsWith: .exitCode(4)) {
      close(0)
      close(1)
      StandardDescriptors.secure()
      let next = open("/dev/null", O_RDONLY)
      let isSafe = next > 2 && Output.standard.write("x") == .system(code: EBADF)
      finish(isSafe ? .interrupted : .failed)
    }
  }
}

/// Reads on a thread of its own.
private final class Reader: Sendable {
  private let received = Mutex<[UInt8]>([])
  private let done = DispatchSemaphore(value: 0)

  init(_ descriptor: Int32, count: Int) {
    DispatchQueue(label: "reader").async { [self] in
      var buffer = [UInt8](repeating: 0, count: 65_536)
      while received.withLock({ $0.count }) < count {
        let got = read(descriptor, &buffer, buffer.count)
        if got <= 0 { break }
        received.withLock { $0 += buffer[..<got] }
      }
      close(descriptor)
      done.signal()
    }
  }

  func bytes() -> [UInt8] {
    done.wait()
    return received.withLock { $0 }
  }
}
