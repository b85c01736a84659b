internal import MigrateCatalog
internal import MigrateDefinition
internal import MigrateDiagnostics
internal import MigrateSQL

/// A value of `let` whose SQL has been parsed.
struct ParsedLet: Sendable {
  let name: Located<String>
  let value: ParsedBatch.ParsedValue
}

/// A value that is computed once a source row, then stands beside its columns.
struct NamedLet: Sendable {
  let name: Identifier
  let value: SQL
  let isVolatile: Bool
  /// As the definition writes it, for people.
  let text: String
  /// What our SQL calls the row that has it.
  let row: Identifier
}

extension Resolver {
  /// `let:` in order: each sees the joins and those before it.
  mutating func resolveLets(_ parameters: Parameters) {
    for (place, item) in parsed.lets.enumerated() {
      let count = problems.count
      checkName(of: item)
      let value = value(of: item, parameters)
      guard let value, problems.count == count else {
        unknownLets.append(Identifier(trusted: item.name.value))
        continue
      }
      ask(.value, "SELECT \(value.sql) FROM \(joinedRow)")
      lets.append(
        NamedLet(
          name: Identifier(trusted: item.name.value), value: value.sql, isVolatile: value.isVolatile, text: value.text,
          row: Identifier(trusted: "migrate let \(place + 1)")))
    }
    for item in parsed.lets where !isRead(Identifier(trusted: item.name.value)) {
      problems.append(.unusedLet(item.name.value, at: item.name.span))
    }
  }

  private mutating func checkName(of item: ParsedLet) {
    let (name, span) = (item.name.value, item.name.span)
    let identifier = Identifier(trusted: name)
    if identifier.isReserved {
      problems.append(.reservedLet(name, at: span))
    } else if table.column(name) != nil || identifier == alias || identifier == Self.batch
      || joins.contains(where: { $0.name == identifier })
    {
      problems.append(.takenLet(name, at: span))
    }
  }

  private mutating func value(of item: ParsedLet, _ parameters: Parameters) -> (
    sql: SQL, isVolatile: Bool, text: String
  )? {
    switch item.value {
    case .unreadable: return nil
    case .sql(let expression):
      guard checkExpression(expression, parameters) else { return nil }
      return (rewritten(expression), isVolatile(expression), expression.text)
    case .text(let text): return ("CAST(\(Literal(text.value)) AS text)", false, Literal(text.value).quoted)
    case .constant(let constant):
      let span = constant.span
      switch constant.value {
      case .null: return ("CAST(NULL AS text)", false, "NULL")
      case .bool(let value): return (value ? "true" : "false", false, value ? "true" : "false")
      case .number(let digits): return ("CAST(\(Literal(digits)) AS numeric)", false, digits)
      case .text(let text): return ("CAST(\(Literal(text)) AS text)", false, Literal(text).quoted)
      case .list, .map:
        problems.append(.letWithoutType(at: span))
        return nil
      }
    }
  }

  /// Whether it gives another value each time, by itself or by what `let` gives.
  func isVolatile(_ expression: SQLExpression) -> Bool {
    expression.functions.contains { volatility(of: $0) == .volatile }
      || expression.columns.contains { use in lets.contains { $0.isVolatile && use.column?.name == $0.name } }
  }

  /// The value that a name stands for where it is no column of the table: bare, or behind `batch`.
  func letNamed(_ use: ColumnUse) -> NamedLet? {
    guard let part = use.column, use.parts.count <= 2, use.qualifier.map({ $0.name == Self.batch }) ?? true else {
      return nil
    }
    return lets.first { $0.name == part.name }
  }

  /// Whether some SQL of the definition names it.
  private func isRead(_ name: Identifier) -> Bool {
    parsed.texts.contains { text in text.columns.contains { $0.column?.name == name } }
  }
}

extension Diagnostic {
  fileprivate static func reservedLet(_ name: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "reserved-let-name", at: span, "\"\(name)\" is reserved in SQL, where the name stands bare",
      remedy: "call it `\(name)_of_row`, say")
  }

  fileprivate static func takenLet(_ name: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "taken-let-name", at: span, "\"\(name)\" names a column, a join or the source row already",
      remedy: "give the value of `let` a name of its own")
  }

  fileprivate static func letWithoutType(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "untyped-let", at: span, "a list or a map has no type by itself, and no column gives it one here",
      remedy: "write it as SQL: `ARRAY['a', 'b']`, `'{\"a\": 1}'::jsonb`")
  }

  fileprivate static func unusedLet(_ name: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic("unused-let", at: span, "\"\(name)\" of `let` is not used", remedy: "use it or remove it")
  }
}
