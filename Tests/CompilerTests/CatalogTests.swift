import MigrateCatalog
import MigrateJSON
import MigrateTestSupport
import Testing

@Suite struct `A word of the server's catalog that this version does not know is refused` {
  @Test(arguments: [
    ["tables", "0", "kind"], ["tables", "0", "triggers", "0", "timing"],
    ["tables", "0", "referenced_by", "0", "on_update"], ["functions", "0", "volatile"], ["functions", "0", "kind"],
  ])
  func refused(path: [String]) throws {
    let golden = try #require(GoldenCase.all(under: "Compiler").first { $0.name == "after-trigger" })
    let key: JSON = [
      "name": "place", "schema": "shop", "table": "places", "oid": 1, "columns": [1], "referring": ["place"],
      "is_indexed": true, "rows": 0, "on_update": "c", "on_delete": "a",
    ]
    let document = try JSON(golden.text("catalog.json")).replacing(at: ["tables", "0", "referenced_by"], by: [key])
    #expect(try Catalog(document).asked.first??.referencedBy.first?.onUpdate == .cascade)
    let refusal = #expect(throws: Malformed.self) { try Catalog(document.replacing(at: path[...], by: "?")) }
    #expect(refusal?.member == path.last)
  }
}

extension JSON {
  /// The document with another value where the path of names and numbers leads; unchanged where it leads nowhere.
  fileprivate func replacing(at path: ArraySlice<String>, by value: JSON) -> JSON {
    guard let first = path.first else { return value }
    switch self {
    case .object(let members):
      return .object(
        members.map {
          Member($0.name, $0.name == first ? $0.value.replacing(at: path.dropFirst(), by: value) : $0.value)
        })
    case .array(let elements):
      return .array(
        elements.enumerated().map {
          String($0.offset) == first ? $0.element.replacing(at: path.dropFirst(), by: value) : $0.element
        })
    case .null, .bool, .number, .string: return self
    }
  }
}
