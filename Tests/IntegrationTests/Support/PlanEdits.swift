package import Migrate
internal import MigrateSQL
import TestSupport

/// Plans made anew with other statements: to slow a run down where a test wants to look, and to prove that the tests can fail.
extension Plan {
  /// The same with the statements of one phase passed through `edit`; `nil` leaves one out.
  package func editing(
    _ phase: Phase.Name, _ edit: (Statement) throws -> [Statement]
  ) rethrows -> Plan {
    let phases = try phases.map { $0.name == phase ? Phase(phase, try $0.statements.flatMap(edit)) : $0 }
    return Plan(
      definition: definition, identity: identity, searchPath: searchPath, parameters: parameters, pace: pace,
      parallel: parallel, expectations: expectations, canary: canary, onError: onError, maxRejects: maxRejects,
      key: key,
      phases: phases, steps: steps,
      warnings: warnings,
      tables: tables, estimate: estimate,
      needs: needs)
  }

  /// The same with `old` replaced by `new` in one statement; in both forms of the change, which are one to a mutant.
  /// - Throws: when the statement does not say `old`: an edit that changes nothing would prove nothing.
  package func replacing(
    _ old: String, by new: String, in name: Statement.Name, of phase: Phase.Name = .batches
  ) throws -> Plan {
    var found = false
    let edited = editing(phase) { statement in
      let isMeant = statement.name == name || (name == .change && statement.name == .changeAsCaptured)
      guard isMeant, statement.text.contains(old) else { return [statement] }
      found = true
      return [statement.with(text: statement.text.replacing(old, with: new))]
    }
    guard found else { throw TestSupportError("\(name) of phase \(phase.rawValue) does not say: \(old)") }
    return edited
  }

  /// The same with `text`, which must return no row, as a check before the statement called `name`.
  package func inserting(_ text: String, before name: Statement.Name, of phase: Phase.Name = .batches) -> Plan {
    editing(phase) { statement in
      guard statement.name == name else { return [statement] }
      return [Statement(.check("of a test"), why: "a test wants it", SQL(pieces: [.verbatim(text)])), statement]
    }
  }

  /// The same as if the triggers had been there when the plan was made, and had been seen through.
  package func overlooking(_ triggers: String...) -> Plan {
    let tables = tables.map {
      PlannedTable(
        name: $0.name, oid: $0.oid, columns: $0.columns, index: $0.index, triggers: $0.triggers + triggers)
    }
    return Plan(
      definition: definition, identity: identity, searchPath: searchPath, parameters: parameters, pace: pace,
      parallel: parallel, expectations: expectations, canary: canary, onError: onError, maxRejects: maxRejects,
      key: key,
      phases: phases, steps: steps,
      warnings: warnings,
      tables: tables, estimate: estimate,
      needs: needs)
  }

  /// The same without the time limit for locks: a test that holds one decides itself when it lets go.
  package func patient() throws -> Plan {
    try replacing("SET LOCAL lock_timeout = '500ms'", by: "SET LOCAL lock_timeout = 0", in: .settings)
      .replacing("SET LOCAL lock_timeout = '500ms'", by: "SET LOCAL lock_timeout = 0", in: .settings, of: .revert)
  }
}

extension Statement {
  /// The same with another text, in which `{run}` and `$n::` mean what they meant.
  package func with(text: String) -> Statement {
    var pieces: [SQL.Piece] = []
    var rest = Substring(text)
    var plain = ""
    func flush() {
      if !plain.isEmpty { pieces.append(.verbatim(plain)) }
      plain = ""
    }
    while let character = rest.first {
      if rest.hasPrefix(RenderedSQL.runToken) {
        flush()
        pieces.append(.run)
        rest = rest.dropFirst(RenderedSQL.runToken.count)
      } else if character == "$", let parameter = rest.prefixMatch(of: /\$(\d+)::/), let number = Int(parameter.1),
        arguments.indices.contains(number - 1)
      {
        flush()
        // The type follows as it stands in the text.
        pieces.append(.parameter(Parameter(arguments[number - 1], TypeName(trusted: ""))))
        rest = rest[parameter.range.upperBound...]
      } else {
        plain.append(character)
        rest = rest.dropFirst()
      }
    }
    flush()
    return Statement(name, step: step, why: why, SQL(pieces: pieces))
  }
}
