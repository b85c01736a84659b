import MigrateCommandLine
import MigrateUnits
import Testing

@Suite struct `A value on the command line` {
  @Test(arguments: [
    ("500ms", Duration.milliseconds(500)), ("2s", .seconds(2)), ("1h30m", .seconds(5_400)),
    ("1.5s", .milliseconds(1_500)),
    ("1m0.25s", .milliseconds(60_250)), ("2d", .seconds(172_800)), ("0s", .zero), ("7us", .microseconds(7)),
    ("0.1s", .milliseconds(100)), ("90m", .seconds(5_400)), ("1.50h", .seconds(5_400)),
  ])
  func `may be a duration`(text: String, duration: Duration) {
    #expect(DurationText.read(text) == duration)
  }

  @Test(arguments: [
    "", "5", "s", "1 s", "-1s", "1S", "30m1h", "1s1s", "1.5h30m", "1.s", ".5s", "1.2.3s", "1e3s", "0.0001us", "1sec",
    "١s",
    "99999999999999999999s", "106752d", "1h30",
  ])
  func `is no duration without a unit, out of order or out of range`(text: String) {
    #expect(DurationText.read(text) == nil)
  }

  @Test(arguments: [
    ("500", 500), ("5k", 5_000), ("5K", 5_000), ("1M", 1_000_000), ("2G", 2_000_000_000), ("1.5M", 1_500_000),
    ("0.25k", 250), ("1.500000k", 1_500), ("0", 0), ("9223372036854775807", Int.max),
  ])
  func `may be a size`(text: String, size: Int) {
    #expect(SizeText.read(text) == size)
  }

  @Test(arguments: [
    "", "k", "5m", "5g", "5kk", "-5", "+5", " 5", "5 k", "1.5", "1.0001k", "1_000", "1,000", "0x10", "1e3", "٣",
    "9223372036854775808", "9223372036854775807k", "10000000000G", ".5k", "1.k",
  ])
  func `is no size when it is not whole, has another unit or is too large`(text: String) {
    #expect(SizeText.read(text) == nil)
  }

  @Test func `assigns at its first equals sign`() {
    #expect(ParameterAssignment("a=b=c")?.value == "b=c")
    #expect(ParameterAssignment("a=")?.value == "")
    #expect(ParameterAssignment("a=\u{301}")?.value.unicodeScalars.first == "\u{301}")
    for text in ["", "a", "=b", "1a=b", "a b=c", "é=1", "a-b=c"] {
      #expect(ParameterAssignment(text) == nil, "\(text)")
    }
    #expect(ParameterAssignment("a=caf\u{e9}") != ParameterAssignment("a=cafe\u{301}"))
  }

  @Test func `is a run when it is a number`() {
    #expect(RunReference("17") == .run(17))
    #expect(RunReference("17a") == .name("17a"))
    #expect(RunReference("99999999999999999999").run == nil)
    #expect(ValueForm.runOrName.read("99999999999999999999") == nil)
    #expect(RunReference("+1") == .name("+1"))
  }

  @Test(arguments: [
    ("10GB", 10 << 30), ("1536MB", 1536 << 20), ("1kB", 1024), ("3TB", 3 << 40), ("1023B", 1023), ("1025B", 1025),
  ])
  func `write storage in the largest unit that comes out even`(text: String, bytes: Int) {
    #expect(ByteSizeText.written(bytes) == text)
    if !text.hasSuffix("3B"), !text.hasSuffix("5B") { #expect(ByteSizeText.read(text) == bytes) }
  }
}
