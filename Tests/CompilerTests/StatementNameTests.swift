import MigrateJSON
import MigratePlan
import MigrateTestSupport
import Testing

@Suite struct `The name of a statement` {
  @Test("is read back as it is written", arguments: GoldenCase.all(under: "Compiler"))
  func golden(_ golden: GoldenCase) throws {
    let phases = try JSON(golden.text("plan.json"))["phases"]?.elements ?? []
    let names = phases.flatMap { $0["statements"]?.elements ?? [] }.compactMap { $0["name"]?.text }
    #expect(names.count >= 8)
    for name in names {
      #expect(Statement.Name(name)?.description.utf8.elementsEqual(name.utf8) == true, "\(name)")
    }
  }

  @Test(arguments: [
    ("collect", Statement.Name.collect), ("keys table", .keysTable), ("drop keys", .dropKeys), ("hold", .hold),
    ("wrapper for column 12", .wrapper(column: 12)), ("check: ", .check("")), ("check: check: x", .check("check: x")),
    // The accent belongs to the label, although it makes one character with the blank before it.
    ("check: \u{301}", .check("\u{301}")),
  ])
  func `is one value and one text`(text: String, name: Statement.Name) {
    #expect(Statement.Name(text) == name)
    #expect(name.description.utf8.elementsEqual(text.utf8))
  }

  @Test(arguments: ["", "fetch", "Capture", "capture ", "check:", "wrapper for column ", "wrapper for column x"])
  func `is none of this version's`(text: String) { #expect(Statement.Name(text) == nil) }
}
