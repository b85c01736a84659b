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
