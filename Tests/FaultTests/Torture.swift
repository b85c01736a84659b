import RunTestSupport
import TestSupport

/// How much of the faults a run of the tests tries: a bounded sample, or with MIGRATE_TORTURE=1 all of it (`make torture`).
enum Torture {
  static let isOn = Sample.isOfAll
  static let seed = Sample.seed

  /// `sample`, or under torture `all`.
  static func count(_ sample: Int, torture all: Int) -> Int { isOn ? all : sample }

  /// A generator for the test `name`, whose seed is said so that it can be repeated.
  static func random(_ name: String) -> SplitMix {
    print("\(name): SEED=\(seed)")
    return SplitMix(state: name.utf8.reduce(seed) { ($0 &* 1_099_511_628_211) ^ UInt64($1) })
  }
}
