import Foundation
import Testing

@Suite struct `Each trap` {
  /// Traps that no test shows yet. A number that gets a test leaves this list.
  private static let open: Set<String> = []

  /// Group and last number.
  private static let groups = [("C", 20), ("K", 30), ("P", 30), ("U", 17), ("V", 23), ("Y", 13)]

  @Test func `has a test that carries its number, or a reason why it does not apply, or is known to be open`() throws {
    let names = try Self.names()
    var listed: [String] = []
    for match in try Repository.text("docs/traps.md").matches(of: /\| ([A-Z]\d\d[a-z]?) \| [^|]+ \| (.*) \|/) {
      let (number, text) = (String(match.1), String(match.2))
      listed.append(number)
      if text.hasPrefix("does not apply: ") {
        #expect(!names.contains { Self.carries($0, number) }, "\(number) has a test")
        continue
      }
      #expect(text.hasPrefix("not yet: ") == Self.open.contains(number), "\(number): \(text)")
      if Self.open.contains(number) {
        #expect(!names.contains { Self.carries($0, number) }, "\(number) has a test")
        continue
      }
      let name = text.trimmingCharacters(in: ["*"])
      #expect(Self.carries(name, number), "\(number): \(name)")
      #expect(names.contains(name), "\(number): there is no test called \(name)")
    }
    let all = Self.groups.flatMap { group, last in (1...last).map { group + String(format: "%02d", $0) } }
    // Two traps of one number.
    #expect(listed == all.flatMap { $0 == "C05" ? [$0, "C05b"] : [$0] })
  }

  private static func carries(_ name: String, _ number: String) -> Bool {
    name.split(whereSeparator: { !$0.isLetter && !$0.isNumber }).contains { $0.elementsEqual(number) }
  }

  /// The tests' names: in back quotes behind `func`, or as the first argument of `@Test`.
  private static func names() throws -> Set<String> {
    let folder = Repository.root.appending(path: "Tests")
    let files = FileManager.default.enumerator(atPath: folder.path)?.compactMap { $0 as? String } ?? []
    var names: Set<String> = []
    for file in files where file.hasSuffix(".swift") {
      let text = try Repository.text("Tests/\(file)")
      names.formUnion(text.matches(of: /func `([^`]+)`/).map { String($0.1) })
      names.formUnion(text.matches(of: /@Test\(\s*"([^"]+)"/).map { String($0.1) })
    }
    return names
  }
}
