internal import MigrateCatalog
internal import MigrateCompiler
internal import MigrateDefinition
internal import MigrateDiagnostics
internal import MigrateJSON
internal import MigratePlan
internal import MigratePostgres
internal import MigrateSQL

/// The parameters: which are given, and what value each has.
extension Inquiry {
  /// Each value is cast by the database and read back, so that one value has one spelling (`1.050` and `1.05` are two).
  mutating func readParameters(_ connection: borrowing Connection, _ request: CompileRequest) throws(PostgresError) {
    let declared = definition.operation.parameters
    for given in request.parameters
    where !declared.contains(where: { $0.name.value.utf8.elementsEqual(given.name.utf8) }) {
      problems.append(
        .unknownParameter(given.name, nearest: Suggestion.nearest(to: given.name, among: declared.map(\.name.value))))
    }
    for declaration in declared {
      guard let known = catalog.types[declaration.type.value], let type = known else { continue }
      let name = declaration.name.value
      let given = request.parameters.last { $0.name.utf8.elementsEqual(name.utf8) }
      guard given != nil || declaration.defaultValue != nil else {
        problems.append(.missingParameter(name, type: type.name.spelling, at: declaration.name.span))
        continue
      }
      let constant = given?.value ?? declaration.defaultValue?.value
      let text = constant?.parameterText(isJSON: ["json", "jsonb"].contains(type.name.spelling))
      do throws(PostgresError) {
        try begin(connection, zone: knownZone)
        let value = try connection.query(
          "SELECT CAST(CAST($1::text AS \(type.name.spelling)) AS text) AS value", [text])
        try connection.execute("COMMIT")
        parameters.append(PlannedParameter(name: name, type: type.name.spelling, value: try value.onlyRow["value"]))
      } catch {
        if error.endsConnection { throw error }
        try connection.execute("ROLLBACK")
        problems.append(
          .unfitValue(
            text ?? "NULL", name: name, type: type.name.spelling, reason: error.message,
            at: given == nil ? declaration.defaultValue?.span : nil))
      }
    }
  }
}

extension Constant {
  /// The text that a parameter's type reads; `nil` is NULL. A list is an array, unless the type is one of JSON; a map can mean
  /// nothing else. A text is what it is, since an argument has no other way to spell JSON.
  func parameterText(isJSON: Bool) -> String? {
    switch self {
    case .null: nil
    case .bool(let value): value ? "true" : "false"
    case .number(let digits): digits
    case .text(let text): text
    case .list where isJSON: ConstantJSON.spelled(self)
    case .list(let items): ArrayText.literal(items.map { $0.parameterText(isJSON: false) })
    case .map: ConstantJSON.spelled(self)
    }
  }
}

extension Diagnostic {
  fileprivate static func unknownParameter(_ name: String, nearest: String?) -> Diagnostic {
    Diagnostic(
      "unknown-parameter", at: nil, "this definition has no parameter \"\(name)\"",
      remedy: nearest.map { "did you mean `--param \($0)=…`?" } ?? "its parameters stand under `params:`")
  }

  fileprivate static func missingParameter(_ name: String, type: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "missing-parameter", at: span, "parameter \"\(name)\" (\(type)) has no value and no default",
      remedy: "`--param \(name)=…`, or `params: {\(name): {type: \(type), default: …}}`")
  }

  /// 47: the database could not read the value. `span` is the default's; `nil` when it was given by the command.
  fileprivate static func unfitValue(
    _ value: String, name: String, type: String, reason: String, at span: SourceSpan?
  ) -> Diagnostic {
    let examples = [
      "numeric": "1.05", "integer": "42", "bigint": "42", "date": "2026-01-31", "boolean": "true",
      "timestamp with time zone": "2026-01-31T12:00:00Z", "uuid": "3f0c9a52-…", "text[]": "{a,b}",
    ]
    return Diagnostic(
      "unfit-value", at: span, "\"\(value)\" is no \(type) (parameter \(name))",
      remedy: examples[type].map { "for instance `--param \(name)=\($0)`" } ?? "PostgreSQL says: \(reason)")
  }
}
