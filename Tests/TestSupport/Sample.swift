import Foundation

/// A few of many cases that take long: others each time, and all of them under `make torture`.
package enum Sample {
  package static let isOfAll = !(ProcessInfo.processInfo.environment["MIGRATE_TORTURE"] ?? "").isEmpty

  /// `SEED=…` repeats a run.
  package static let seed: UInt64 =
    ProcessInfo.processInfo.environment["SEED"].flatMap { UInt64($0) } ?? UInt64.random(in: 1...999_999)

  /// `count` of `cases`, in their order.
  package static func some<Case>(_ cases: [Case], _ count: Int, of name: String) -> [Case] {
    guard !isOfAll, count < cases.count else { return cases }
    var random = SplitMix(state: name.utf8.reduce(seed) { ($0 &* 1_099_511_628_211) ^ UInt64($1) })
    let chosen = Set(cases.indices.shuffled(using: &random).prefix(count))
    print("\(name): \(chosen.sorted()) of \(cases.count), SEED=\(seed)")
    return cases.indices.filter(chosen.contains).map { cases[$0] }
  }
}

/// Random numbers that come again with the same seed. Source: Steele, Lea, Flood, "Fast splittable pseudorandom number
/// generators", 2014.
package struct SplitMix: RandomNumberGenerator {
  package var state: UInt64

  package init(state: UInt64) { self.state = state }

  package mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}
