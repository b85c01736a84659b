import Foundation
import RunTestSupport

/// How much of the faults a run of the tests tries: a bounded sample, or with MIGRATE_TORTURE=1 all of it (`make torture`).
enum Torture {
  static let isOn = !(ProcessInfo.processInfo.environment["MIGRATE_TORTURE"] ?? "").isEmpty

  /// `SEED=…` repeats a run.
  static let seed: UInt64 =
    ProcessInfo.processInfo.environment["SEED"].flatMap { UInt64($0) } ?? UInt64.random(in: 1...999_999)

  /// `sample`, or under torture `all`.
  static func count(_ sample: Int, torture all: Int) -> Int { isOn ? all : sample }

  /// A generator for the test `name`, whose seed is said so that it can be repeated.
  static func random(_ name: String) -> SplitMix {
    print("\(name): SEED=\(seed)")
    return SplitMix(state: name.utf8.reduce(seed) { ($0 &* 1_099_511_628_211) ^ UInt64($1) })
  }
}

/// Random numbers that come again with the same seed. Source: Steele, Lea, Flood, "Fast splittable pseudorandom number
/// generators", 2014.
struct SplitMix: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}
