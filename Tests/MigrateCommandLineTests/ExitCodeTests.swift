import MigrateCommandLine
import Testing

@Suite struct `P25 Exit codes` {
  @Test func `are a promise to scripts`() {
    let table = ExitCode.allCases.map { "\($0.rawValue) \($0.meaning)" }
    #expect(
      table == [
        "0 done", "1 failed", "2 usage or definition error", "3 done with rejects",
        "4 paused, held, cancelled or taken back",
        "5 conflicts", "6 timed out",
      ])
  }
}
