import MigrateDefinition
import MigrateDiagnostics

/// The rest of a valid definition, to be put before what a test is about.
let head = "batch: b\nsource: shop.products\n"
/// The rest of a valid definition, to be put behind it.
let foot = "set: {x: y}\n"

func source(_ yaml: String) -> SourceText { SourceText(path: "a.yaml", bytes: Array(yaml.utf8)) }

func decode(_ yaml: String) throws(Diagnostics) -> Definition { try Definition(source(yaml)) }

/// What a person would read; empty when nothing is wrong.
func refusal(of bytes: [UInt8]) -> String {
  do {
    _ = try Definition(SourceText(path: "a.yaml", bytes: bytes))
    return ""
  } catch {
    return DiagnosticRenderer(color: false).render(error)
  }
}

func refusal(of yaml: String) -> String { refusal(of: Array(yaml.utf8)) }

func codes(of yaml: String) -> [String] { codes(of: Array(yaml.utf8)) }

func codes(of bytes: [UInt8]) -> [String] {
  do {
    _ = try Definition(SourceText(path: "a.yaml", bytes: bytes))
    return []
  } catch {
    return error.all.map(\.code)
  }
}

/// The scalar at `key` of a map, read by the reader alone.
func scalar(_ key: String, in bytes: [UInt8]) -> YAMLScalar? {
  let document = YAMLReader.read(SourceText(path: "a.yaml", bytes: bytes))
  guard document.diagnostics.isEmpty, case .mapping(let mapping)? = document.root?.content else { return nil }
  for entry in mapping.entries where entry.key.text.utf8.elementsEqual(key.utf8) {
    if case .scalar(let scalar) = entry.value.content { return scalar }
  }
  return nil
}

/// The same numbers in each run (splitmix64).
struct Seeded: RandomNumberGenerator {
  private var state: UInt64

  init(_ seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = (state ^ (state >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }

  mutating func pick<Value>(_ values: [Value]) -> Value {
    values[Int(next() % UInt64(values.count))]
  }
}
