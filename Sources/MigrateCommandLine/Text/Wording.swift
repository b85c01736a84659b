private import Glibc
internal import MigrateUnits

/// Figures as people read them. Machines get plain numbers.
package enum Wording {
  /// `1,000,000`
  package static func count(_ number: Int) -> String {
    let digits = Array(String(number.magnitude).utf8)
    var grouped: [UInt8] = number < 0 ? [UInt8(ascii: "-")] : []
    for (index, digit) in digits.enumerated() {
      if index > 0, (digits.count - index) % 3 == 0 { grouped.append(UInt8(ascii: ",")) }
      grouped.append(digit)
    }
    return String(decoding: grouped, as: UTF8.self)
  }

  /// `1 row`, `1,000 rows`
  package static func count(_ number: Int, _ one: String, _ many: String? = nil) -> String {
    "\(count(number)) \(number == 1 ? one : many ?? one + "s")"
  }

  /// `1 row`, `1000 rows`: plain, for a line that greps.
  package static func plain(_ number: Int, _ one: String, _ many: String? = nil) -> String {
    "\(number) \(number == 1 ? one : many ?? one + "s")"
  }

  /// In steps of a thousand, as disks are sold: `512 B`, `8.9 MB`.
  package static func bytes(_ number: Int) -> String {
    if number < 1_000 { return "\(number) B" }
    var unit = 1_000
    for name in ["kB", "MB", "GB", "TB", "PB"] {
      // What rounds up to 1000.0 is one of the next unit.
      let tenths = rounded(number, in: unit / 10)
      if tenths < 10_000 { return "\(tenths / 10).\(tenths % 10) \(name)" }
      unit *= 1_000
    }
    return "\(count(rounded(number, in: 1_000_000_000_000_000))) PB"
  }

  /// As a definition says it: `10GB`.
  package static func storage(_ bytes: Int) -> String { ByteSizeText.written(bytes) }

  /// `340 ms`, `41.2 s`, `2 min 03 s`, `5 h 07 min`, `3 d 04 h`: two figures, rounded once. Time does
  /// not run backwards here: what is negative is shown as nothing.
  package static func duration(_ duration: Duration) -> String {
    let (seconds, attoseconds) = duration.components
    if seconds < 0 || attoseconds < 0 { return "0 ms" }
    let milliseconds = rounded(Int(attoseconds / 1_000_000_000), in: 1_000_000)
    if seconds == 0 && milliseconds < 1_000 { return "\(milliseconds) ms" }
    let tenths = rounded(Int(attoseconds / 1_000_000_000), in: 100_000_000)
    if seconds < 60 && Int(seconds) * 10 + tenths < 600 {
      let all = Int(seconds) * 10 + tenths
      return "\(all / 10).\(all % 10) s"
    }
    let whole = Int(clamping: seconds).addingReportingOverflow(attoseconds >= 500_000_000_000_000_000 ? 1 : 0)
    return long(whole.overflow ? .max : whole.partialValue)
  }

  /// The same for what is only guessed, without tenths: `44 s`.
  package static func roughly(_ duration: Duration) -> String {
    let (seconds, attoseconds) = duration.components
    if seconds < 0 || attoseconds < 0 { return "0 s" }
    let up = Int(clamping: seconds).addingReportingOverflow(attoseconds > 0 ? 1 : 0)
    let whole = up.overflow ? Int.max : up.partialValue
    return whole < 60 ? "\(whole) s" : long(whole)
  }

  /// What is left, or what is known of it: `at least 44 s`.
  package static func left(_ duration: Duration, isLeast: Bool) -> String {
    (isLeast ? "at least " : "") + roughly(duration)
  }

  /// `35–52 s`, `50 s–1 min 10 s`; `nil` when both ends read alike.
  package static func range(_ range: ClosedRange<Duration>, unicode: Bool) -> String? {
    let (low, high) = (roughly(range.lowerBound), roughly(range.upperBound))
    guard !low.utf8.elementsEqual(high.utf8) else { return nil }
    let dash = unicode ? "–" : "-"
    guard range.upperBound <= .seconds(59) else { return "\(low)\(dash)\(high)" }
    return String(decoding: low.utf8.dropLast(2), as: UTF8.self) + dash + high
  }

  /// The time of day here, `12:03`, of a moment in seconds since 1970.
  package static func timeOfDay(_ moment: Double) -> String {
    var (seconds, parts) = (time_t(moment), tm())
    guard localtime_r(&seconds, &parts) != nil else { return "?" }
    return "\(twoDigits(Int(parts.tm_hour))):\(twoDigits(Int(parts.tm_min)))"
  }

  private static func long(_ seconds: Int) -> String {
    if seconds < 3_600 { return "\(seconds / 60) min \(twoDigits(seconds % 60)) s" }
    let minutes = rounded(seconds, in: 60)
    if minutes < 1_440 { return "\(minutes / 60) h \(twoDigits(minutes % 60)) min" }
    let hours = rounded(seconds, in: 3_600)
    return "\(count(hours / 24)) d \(twoDigits(hours % 24)) h"
  }

  /// `number` in whole units, half a unit up.
  private static func rounded(_ number: Int, in unit: Int) -> Int {
    number / unit + (number % unit >= (unit + 1) / 2 ? 1 : 0)
  }

  private static func twoDigits(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
}
