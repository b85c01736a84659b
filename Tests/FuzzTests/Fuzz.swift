import Foundation

/// How long a fuzz goes on: a bounded sample, or for MIGRATE_FUZZ seconds (`make fuzz`). The seed is printed; SEED repeats it.
struct Fuzz {
  var random: Random
  private let rounds: Int
  private let end: ContinuousClock.Instant?
  private var round = 0

  /// - Parameter rounds: how many a run of all tests has.
  init(_ name: String, rounds: Int) {
    let environment = ProcessInfo.processInfo.environment
    let seed = environment["SEED"].flatMap { UInt64($0) } ?? UInt64.random(in: 1...999_999)
    end = environment["MIGRATE_FUZZ"].flatMap { Int($0) }.map { ContinuousClock.now + .seconds($0) }
    self.rounds = rounds
    random = Random(state: seed)
    print("fuzz \(name): SEED=\(seed)")
  }

  /// Whether there is another round.
  mutating func goesOn() -> Bool {
    round += 1
    return end.map { ContinuousClock.now < $0 } ?? (round <= rounds)
  }
}

/// The same numbers for the same seed. Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
struct Random: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = (state ^ (state >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }

  mutating func below(_ count: Int) -> Int { Int.random(in: 0..<max(1, count), using: &self) }

  mutating func pick<Value>(_ values: [Value]) -> Value { values[below(values.count)] }

  /// A piece of `bytes`, at most `most` long.
  mutating func slice(of bytes: [UInt8], most: Int) -> ArraySlice<UInt8> {
    let start = below(bytes.count)
    return bytes[start..<min(bytes.count, start + 1 + below(most))]
  }

  /// One to six edits: a byte or a token put in, taken out, or doubled, and pieces of another text.
  mutating func mutated(_ original: [UInt8], with other: [UInt8], tokens: [String]) -> [UInt8] {
    var bytes = original
    for _ in 0...below(6) {
      let place = below(bytes.count + 1)
      switch below(6) {
      case 0: bytes.insert(contentsOf: pick(tokens).utf8, at: place)
      case 1: bytes.insert(UInt8(below(256)), at: place)
      case 2: bytes.removeSubrange(place..<min(bytes.count, place + 1 + below(8)))
      case 3 where place < bytes.count: bytes[place] ^= UInt8(1 << below(8))
      case 4 where !bytes.isEmpty: bytes.insert(contentsOf: slice(of: bytes, most: 40), at: place)
      case 5 where !other.isEmpty: bytes.insert(contentsOf: slice(of: other, most: 80), at: place)
      default: continue
      }
    }
    return bytes
  }
}
