internal import MigrateCatalog
internal import MigrateDefinition
internal import MigrateDiagnostics
internal import MigrateSQL

/// What goes through, and what a person should know before.
extension Resolver {
  /// Without the rights on the table there is not even a plan; the right to make the ledger may still be given.
  mutating func checkPrivileges() {
    let span = operation.source.span
    let name = table.name.spelled
    let user = Identifier(trusted: catalog.server.user).spelled
    let written = operation.set.compactMap { table.column($0.column.value) }
    if !table.rights.schema {
      problems.append(.missingRight("USAGE ON SCHEMA \(table.name.schema.spelled)", user, at: span))
    }
    if !table.rights.select, !table.columns.allSatisfy(\.maySelect) {
      problems.append(.missingRight("SELECT ON \(name)", user, at: span))
    }
    if !table.rights.update, !written.allSatisfy(\.mayUpdate) {
      let columns = written.map(\.name.spelled).joined(separator: ", ")
      problems.append(.missingRight("UPDATE (\(columns)) ON \(name)", user, at: span))
    }
    if !catalog.server.hasLedger, !catalog.server.mayCreate {
      warnings.append(.missingRight("CREATE ON DATABASE …", user, .warning, at: nil))
    }
  }

  /// V05: 7 / 2 is 3, and a cast of the result comes too late.
  mutating func warnAboutDivision(_ expression: SQLExpression) {
    for division in expression.divisions where isInteger(division.dividend) && isInteger(division.divisor) {
      warnings.append(.integerDivision(at: expression.span(of: division.sign)))
    }
  }

  private static let integerTypes = ["smallint", "integer", "bigint"]

  /// Whether its text and the catalog tell that the value is a whole number by its type.
  private func isInteger(_ shape: SQLShape) -> Bool {
    switch shape {
    case .column(let use):
      guard let column = use.column.flatMap({ table.column($0.name.name) }) else { return false }
      let isOfRow =
        use.qualifier.map { use.scope.binding(of: $0.name) == nil && [Self.batch, alias].contains($0.name) }
        ?? (use.scope == .top)
      return isOfRow && Self.integerTypes.contains(column.base.spelling)
    case .parameter(let use):
      return resolvedParameters[use.name].map { Self.integerTypes.contains($0.type.spelling) } ?? false
    case .constant(let constant):
      // Longer ones are numeric.
      guard case .number(let digits) = constant.value, digits.utf8.count < 19 else { return false }
      return digits.utf8.allSatisfy { (0x30...0x39).contains($0) || $0 == UInt8(ascii: "-") }
    case .prefix(_, let operand): return isInteger(operand)
    case .infix(let sign, let left, let right):
      return ["+", "-", "*", "/", "%"].contains(sign) && isInteger(left) && isInteger(right)
    case .call(let name, let arguments):
      let name = name.last?.name ?? ""
      if ["abs", "mod", "coalesce", "greatest", "least"].contains(name) { return arguments.allSatisfy(isInteger) }
      return ["length", "char_length", "octet_length", "cardinality", "array_length", "strpos", "ascii"].contains(name)
    case .cast(_, let type): return ["int2", "int4", "int8"].contains(type.last?.name ?? "")
    case .and, .or, .not, .other: return false
    }
  }

  /// A column in an index makes every update write all indexes of the table.
  mutating func warnAboutIndexes(_ written: [Column]) {
    for column in written {
      let changed = [column] + table.computed(from: [column.number])
      let numbers = Set(changed.map(\.number))
      let indexes = table.indexes.filter { !$0.isSummarizing && !numbers.isDisjoint(with: $0.allColumns) }
      guard let indexed = changed.first(where: { part in indexes.contains { $0.allColumns.contains(part.number) } }),
        let span = operation.set.first(where: { $0.column.value.utf8.elementsEqual(column.name.name.utf8) })?.column
          .span
      else { continue }
      warnings.append(
        .notHOT(
          Self.named(indexed, writtenBy: column), indexes: indexes.map(\.name), all: table.indexes.count, at: span))
    }
  }
}

extension Diagnostic {
  static func missingRight(
    _ right: String, _ user: String, _ severity: Diagnostic.Severity = .error, at span: SourceSpan?
  ) -> Diagnostic {
    Diagnostic(
      "missing-privilege", severity, at: span, "\(user) lacks a privilege that apply and revert need",
      remedy: "`GRANT \(right) TO \(user)`")
  }

  fileprivate static func integerDivision(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "integer-division", .warning, at: span,
      "a whole number divided by a whole number loses what is behind the point: 7 / 2 is 3, and -7 / 2 is -3",
      remedy: "to keep it: `CAST(… AS numeric) / …`; if the whole number is meant: `div(…, …)`")
  }

  fileprivate static func notHOT(_ column: String, indexes: [String], all: Int, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "costs-hot", .warning, at: span,
      "\(column) stands in \(indexes.joined(separator: ", ")), so each changed row is written to all \(all) indexes of the table",
      remedy: "nothing to mend; it costs time and space, and VACUUM has more to do afterwards")
  }
}
