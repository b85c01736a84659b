@testable import MigrateCompiler
import MigrateDefinition
import MigrateDiagnostics
import MigrateJSON
@testable import MigrateSQL
import MigrateTestSupport
import Testing

/// What a statement calls its own relations, a source row of the user's must not be called (X22).
@Suite struct `Every name that our statements give a relation` {
  @Test func `is one that no source row can have`() throws {
    var found: [String: String] = [:]
    for golden in GoldenCase.all(under: "Compiler") {
      let operation = try definition(golden.text("definition.yaml")).operation
      let users =
        operation.joins.map(\.name.value) + operation.joins.compactMap { _ in operation.source.alias?.value }
        + operation.steps.compactMap { $0.from?.name.value }
        + ["users", "u_row"].filter { _ in !operation.joins.isEmpty }
        + (operation.publish == nil ? [] : operation.source.table.map { [$0.value.name] } ?? [])
        // A query has no name of its own.
        + ["batch_row"].filter { _ in operation.source.table == nil }
        + (operation.isStepped ? operation.source.alias.map { [$0.value] } ?? [] : [])
      let phases = try JSON(golden.text("plan.json"))["phases"]?.elements ?? []
      for statement in phases.flatMap({ $0["statements"]?.elements ?? [] }) {
        let text = try #require(statement["text"]?.text).replacing(RenderedSQL.runToken, with: "1")
        for name in try #require(try PgQuery.parse(Array(text.utf8))).relationNames {
          // The definition names those itself, and the source's name stands for its locked rows, too.
          if users.contains(name) || name.hasPrefix("migrate let ") || name.hasPrefix("migrate forgotten ") { continue }
          found[name] = "\(golden.name), \(statement["name"]?.text ?? "")"
        }
      }
    }
    // Nothing is forbidden in vain; and when these are not found, the reading is at fault.
    #expect(Name.ofRelations.subtracting(found.keys).sorted() == [])
    for (name, place) in found.sorted(by: { $0.key < $1.key }) {
      #expect(Name.ofRelations.contains(name), "\(name), in \(place)")
    }
  }
}

extension ParseTree {
  /// The aliases in FROM, INTO and UPDATE, and the names of WITH; not what the user's own table is called.
  fileprivate var relationNames: [String] {
    switch self {
    case .array(let items): return items.flatMap(\.relationNames)
    case .object(let members):
      let isUsers = self["relname"] != nil && self["schemaname"].map { $0.text != "migrate" } == true
      let own = [isUsers ? nil : self["alias"]?["aliasname"]?.text, self["ctename"]?.text].compactMap(\.self)
      return own + members.flatMap(\.value.relationNames)
    case .string, .number, .bool: return []
    }
  }
}
