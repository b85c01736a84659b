internal import MigrateCatalog
internal import MigrateDefinition
internal import MigrateDiagnostics
internal import MigrateSQL

/// The parameters, and the schemas that names are looked up in.
extension Resolver {
  mutating func resolveParameters() -> Parameters {
    var parameters: Parameters = [
      Identifier(trusted: "run_id"): Parameter(":run_id", .bigint),
      Identifier(trusted: "started_at"): Parameter(":started_at", TypeName(trusted: "timestamp with time zone")),
    ]
    for declaration in operation.parameters {
      let spelling = declaration.type.value
      guard let known = catalog.types[spelling], let type = known else {
        problems.append(.unknownType(spelling, at: declaration.type.span))
        continue
      }
      let name = Identifier(trusted: declaration.name.value)
      parameters[name] = Parameter(":\(declaration.name.value)", type.name)
    }
    resolvedParameters = parameters
    return parameters
  }

  mutating func checkUnusedParameters() {
    for declaration in operation.parameters
    where !usedParameters.contains(Identifier(trusted: declaration.name.value)) {
      problems.append(.unusedParameter(declaration.name.value, at: declaration.name.span))
    }
  }

  mutating func checkSearchPath() {
    let said = operation.searchPath ?? []
    for schema in catalog.searchPath {
      let span = said.first { $0.value.utf8.elementsEqual(schema.name.utf8) }?.span
      if !schema.exists, let span {
        problems.append(
          .unknownSchema(schema.name, at: span, nearest: Suggestion.nearest(to: schema.name, among: catalog.schemas)))
      }
      // Only where the definition's own SQL names something that is looked up there.
      let looksUp = parsed.texts.contains { text in
        text.functions.contains { call in
          call.name.count == 1 && !candidates(for: call).contains { $0.schema.utf8.elementsEqual("pg_catalog".utf8) }
        }
      }
      if schema.exists, schema.isOpenToOthers, looksUp {
        warnings.append(.openSchema(schema.name, at: span))
      }
    }
  }
}

extension Diagnostic {
  private static let usualTypes = [
    "smallint", "integer", "bigint", "numeric", "real", "double precision", "text", "varchar", "boolean", "date",
    "timestamp",
    "timestamptz", "interval", "uuid", "json", "jsonb", "bytea",
  ]

  fileprivate static func unknownType(_ type: String, at span: SourceSpan) -> Diagnostic {
    let nearest = Suggestion.nearest(to: type, among: usualTypes)
    return Diagnostic(
      "unknown-type", at: span, "no type \"\(type)\"",
      remedy: nearest.map { "did you mean `\($0)`?" }
        ?? "for instance `bigint`, `numeric`, `text`, `date`, `timestamptz`, `text[]`; a type of a schema by both names"
    )
  }

  fileprivate static func unusedParameter(_ name: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "unused-parameter", at: span, "parameter \"\(name)\" is not used",
      remedy: "write `:\(name)` where its value belongs, or take it out")
  }

  fileprivate static func unknownSchema(_ name: String, at span: SourceSpan, nearest: String?) -> Diagnostic {
    Diagnostic(
      "unknown-schema", at: span, "no schema \"\(name)\"",
      remedy: nearest.map { "did you mean \"\($0)\"?" } ?? "the schemas are listed by: `psql -c '\\dn'`")
  }

  fileprivate static func openSchema(_ name: String, at span: SourceSpan?) -> Diagnostic {
    Diagnostic(
      "open-schema", .warning, at: span,
      "every role may create functions in schema \(name), where this definition looks them up",
      remedy: "`REVOKE CREATE ON SCHEMA \(name) FROM PUBLIC`, or write the schema before each function")
  }
}
