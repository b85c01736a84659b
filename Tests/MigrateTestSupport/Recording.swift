import Migrate
import MigrateCatalog
package import MigrateCompiler
package import MigrateDefinition
package import MigrateJSON
import MigratePlan
package import MigratePostgres
import MigrateSQL
import TestSupport

/// What a server has told about a definition, written down: with it the compiler needs no server.
package struct Recording: Sendable {
  /// The document of `sql/catalog.sql`.
  package let catalog: JSON
  /// What the probes described, the parameters, and what the planner expects.
  package let types: JSON

  package init(catalog: JSON, types: JSON) {
    self.catalog = catalog
    self.types = types
  }

  /// Asks the server. Object identifiers of the user's own objects are numbered anew, so that a recording does not depend on
  /// what was made before in the cluster.
  package static func make(_ definition: Definition, on server: Server) async throws -> Recording {
    try await onThread {
      let connection = try Connection(to: server)
      let parsed = ParsedBatch(definition)
      let query = parsed.catalogQuery(searchPath: nil)
      try connection.execute("BEGIN READ ONLY; \(CatalogQuery.settings)")
      let document = try Session(to: server).catalogDocument(for: definition)
      let path = (["pg_catalog"] + query.searchPath).map { Identifier(trusted: $0).quoted }.joined(separator: ", ")
      try connection.execute("SET LOCAL search_path = \(path), pg_temp")
      var described: [JSON.Member] = []
      for probe in try Compiler.resolve(parsed, Catalog(document)).probes {
        guard let assignment = probe.assignment, let column = try connection.describe(probe.sql.text).first else {
          continue
        }
        let type = JSON.object([
          .init("oid", .integer(Int(column.type))), .init("modifier", .integer(Int(column.modifier))),
        ])
        described.append(.init(String(assignment), type))
      }
      let plan = try Session(to: server).compile(definition, CompileRequest()).plan
      let types = JSON.object([
        .init("identity", .string(plan.identity)),
        .init(
          "parameters",
          .array(
            plan.parameters.map { parameter in
              .object([
                .init("name", .string(parameter.name)), .init("type", .string(parameter.type)),
                .init("value", .optional(parameter.value)),
              ])
            })),
        .init("estimated_rows", .integer(plan.estimate.rows)),
        .init("types", .object(described)),
      ])
      var numbers: [Int: Int] = [:]
      return Recording(catalog: document.renumbered(&numbers), types: types.renumbered(&numbers))
    }
  }

  /// Compiles with what is written down, and nothing else.
  package func compile(_ definition: Definition) throws -> Compilation {
    let parsed = ParsedBatch(definition)
    let batch = try Compiler.resolve(parsed, Catalog(catalog)).batch(besides: [])
    var described: [Int: DescribedType] = [:]
    for member in types["types"]?.members ?? [] {
      guard let assignment = Int(member.name), let oid = member.value["oid"]?.integer,
        let modifier = member.value["modifier"]?.integer
      else { continue }
      described[assignment] = DescribedType(oid: oid, modifier: modifier)
    }
    let parameters = (types["parameters"]?.elements ?? []).map { parameter in
      PlannedParameter(
        name: parameter["name"]?.text ?? "", type: parameter["type"]?.text ?? "", value: parameter["value"]?.text)
    }
    return Compiler.lower(
      batch, types: described,
      CompileInputs(
        identity: types["identity"]?.text ?? "", parameters: parameters, searchPath: parsed.searchPath, batchSize: nil,
        estimatedRows: types["estimated_rows"]?.integer ?? 0))
  }
}

extension JSON {
  /// The first object identifier that PostgreSQL gives to a user's object.
  private static let firstOfUser = 16_384

  fileprivate func renumbered(_ numbers: inout [Int: Int]) -> JSON {
    switch self {
    case .array(let elements): .array(elements.map { $0.renumbered(&numbers) })
    case .object(let members):
      .object(
        members.map { member in
          guard member.name.hasSuffix("oid"), let oid = member.value.integer, oid >= Self.firstOfUser else {
            return Member(member.name, member.value.renumbered(&numbers))
          }
          let number = numbers[oid] ?? Self.firstOfUser + numbers.count
          numbers[oid] = number
          return Member(member.name, .integer(number))
        })
    case .null, .bool, .number, .string: self
    }
  }
}
