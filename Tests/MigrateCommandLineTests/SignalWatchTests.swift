import Glibc
import MigrateCommandLine
import Synchronization
import Testing

/// In processes of their own, since a handler is the whole process's.
@Suite struct `P14 A signal watch` {
  @Test func `counts each signal, and tells of it`() async {
    await #expect(processExitsWith: .exitCode(0)) {
      for signal in Signal.allCases { restoreDefault(signal.number) }
      let told = Told()
      let watch = try SignalWatch.start { told.add($0, $1) }
      kill(getpid(), SIGINT)
      told.wait(for: 1)
      kill(getpid(), SIGINT)
      told.wait(for: 2)
      kill(getpid(), SIGTERM)
      told.wait(for: 3)
      kill(getpid(), SIGHUP)
      told.wait(for: 4)
      let asExpected =
        told.all == ["interrupt 1", "interrupt 2", "terminate 1", "hangUp 1"]
        && watch.count(of: .interrupt) == 2 && watch.count(of: .terminate) == 1 && watch.count(of: .hangUp) == 1
      finish(asExpected ? .done : .failed)
    }
  }

  @Test func `does not interrupt a read`() async {
    await #expect(processExitsWith: .exitCode(0)) {
      restoreDefault(SIGINT)
      var ends: [Int32] = [-1, -1]
      pipe(&ends)
      let (reading, writing) = (ends[0], ends[1])
      // The answer comes only after the signal was told of.
      _ = try SignalWatch.start { _, _ in _ = write(writing, "x", 1) }
      alarmInterrupt()
      var byte: UInt8 = 0
      finish(read(reading, &byte, 1) == 1 ? .done : .failed)
    }
  }

  @Test func `puts back what was, and can be started again`() async {
    await #expect(processExitsWith: .signal(SIGTERM)) {
      restoreDefault(SIGTERM)
      let watch = try SignalWatch.start { _, _ in }
      #expect(throws: SignalWatch.Failure.alreadyWatched) { try SignalWatch.start { _, _ in } }
      watch.stop()
      let told = Told()
      let second = try SignalWatch.start { told.add($0, $1) }
      kill(getpid(), SIGTERM)
      told.wait(for: 1)
      second.stop()
      kill(getpid(), SIGTERM)
      sleep(10)
    }
  }

  @Test func `leaves a signal ignored that was, as nohup means it`() async {
    await #expect(processExitsWith: .exitCode(0)) {
      signal(SIGHUP, SIG_IGN)
      restoreDefault(SIGTERM)
      let told = Told()
      let watch = try SignalWatch.start { told.add($0, $1) }
      kill(getpid(), SIGHUP)
      kill(getpid(), SIGTERM)
      told.wait(for: 1)
      finish(told.all == ["terminate 1"] && watch.count(of: .hangUp) == 0 ? .done : .failed)
    }
  }

  @Test func `passes neither mask nor ignored signals to programs that are started`() async {
    await #expect(processExitsWith: .exitCode(0)) {
      for signal in Signal.allCases { restoreDefault(signal.number) }
      StandardDescriptors.secure()
      _ = try SignalWatch.start { _, _ in }
      // In the child, each of these ends the shell.
      for name in ["INT", "TERM", "HUP", "PIPE"] {
        if system("sh -c 'kill -\(name) $$; exit 7' 2>/dev/null") >> 8 == 7 { finish(.failed) }
      }
      finish(.done)
    }
  }
}

private func restoreDefault(_ number: Int32) { signal(number, SIG_DFL) }

/// Ctrl-C in a moment, from another process.
private func alarmInterrupt() { _ = system("(sleep 0.2; kill -INT \(getpid())) &") }

private final class Told: Sendable {
  private let lines = Mutex<[String]>([])
  var all: [String] { lines.withLock { $0 } }

  func add(_ signal: Signal, _ count: Int) { lines.withLock { $0.append("\(signal) \(count)") } }

  func wait(for count: Int) {
    for _ in 0..<1_000 where all.count < count { usleep(10_000) }
  }
}
