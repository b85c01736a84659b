package import MigrateCompiler
package import MigrateDefinition
package import MigrateDiagnostics
internal import MigratePlan
package import MigrateScripts

extension Compilation {
  /// The plan as scripts for psql.
  ///
  /// - Parameter version: of the program, which the ledger keeps.
  /// - Throws: what a client can run and `migrate.drive` cannot.
  package func scripts(of definition: Definition, version: String) throws(Diagnostics) -> ScriptWriter {
    if let tooMany = tooManyValues(definition) { throw Diagnostics(source: definition.source, [tooMany]) }
    return ScriptWriter(plan, definition: String(decoding: definition.source.bytes, as: UTF8.self), version: version)
  }

  /// At the first parameter, as they are declared, that does not fit any more.
  private func tooManyValues(_ definition: Definition) -> Diagnostic? {
    let limit = ScriptWriter.mostValues
    guard let statement = plan.phases.flatMap(\.statements).max(by: { $0.arguments.count < $1.arguments.count }),
      statement.arguments.count > limit
    else { return nil }
    let bound = definition.operation.parameters.filter { statement.arguments.contains(":\($0.name.value)") }
    let others = statement.arguments.count - bound.count
    return .tooManyValues(
      statement.arguments.count, limit, statement: statement.name,
      at: bound.indices.contains(limit - others) ? bound[limit - others].name.span : nil)
  }
}

extension Diagnostic {
  fileprivate static func tooManyValues(
    _ count: Int, _ limit: Int, statement: Statement.Name, at span: SourceSpan?
  ) -> Diagnostic {
    Diagnostic(
      "too-many-values", at: span,
      "its statement \"\(statement)\" binds \(count) values, and inside of the database at most \(limit) can be bound",
      remedy: """
        `migrate apply` runs it as it is; for scripts gather some of them in one parameter, \
        `factors: {type: jsonb}`, and say `(:factors ->> 'winter')::numeric`
        """)
  }
}
