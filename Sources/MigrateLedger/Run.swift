package import MigratePlan
package import MigratePostgres

/// A run as the ledger knows it, with all that is needed to go on with it or to take it back.
package struct Run: Sendable {
  package let id: Int64
  package let name: String
  package let direction: RunDirection
  package let epoch: Int
  /// As planned; who goes on with the run may take another one.
  package var pace: Pace
  /// How many may do its batches beside each other.
  package let workers: Int
  /// How many of them do.
  package var crew = CrewPolicy.usual
  package let keyCount: Int
  /// The last key of the source; `nil` for an empty table, and while ``isBounded`` is false.
  package let upperKey: [String?]?
  package let isBounded: Bool
  /// `name` to value, for the parameters and the built-in ones.
  package let parameters: [String: String?]
  package let statements: [RunStatement]
  package let estimatedRows: Int
  package let conflictPolicy: ConflictPolicy?
  package let undoReason: String?
  package let onError: OnError
  /// Whether its batches only compute, and one transaction shows what they have computed.
  package let isPublishedAtOnce: Bool
  /// Whether a revert takes it back in one transaction, too.
  package var revertsAtOnce: Bool
  /// Whether it expects anything of what it finds.
  package let expects: Bool
  /// Whether who has read the run may lock its table as a writer does; who may update only some of the columns may not.
  package let mayLock: Bool
  /// What locks its table before the snapshot of a transaction that applies: as a writer where it may.
  package let lock: String

  /// Whether anything can make it hold.
  package var holds: Bool { statements.contains { $0.phase == .holds } }

  /// The statements of `phase`, in order.
  package func statements(_ phase: Phase.Name) -> [RunStatement] { statements.filter { $0.phase == phase } }

  /// The statement called `name`.
  ///
  /// - Throws: when the run's plan has none.
  package func statement(_ phase: Phase.Name, _ name: Statement.Name) throws(PostgresError) -> RunStatement {
    guard let found = statements.first(where: { $0.phase == phase && $0.name == name }) else {
      throw .unreadable(
        "run \(id) has no statement \(name) in phase \(phase.rawValue); its plan was made by another version")
    }
    return found
  }
}

/// How many of the workers that a run may have are at work.
package enum CrewPolicy: Sendable {
  /// All of them, from its first batch on.
  case all
  /// Two at first, and more as long as they make it faster, which is not tried before so long.
  case asNeeded(behind: Duration)

  /// To find out costs up to five seconds in which a run may be slower, of which one of a minute notices little.
  package static let usual = asNeeded(behind: .seconds(25))
}

/// A statement of a run, ready to be sent.
package struct RunStatement: Sendable, Equatable {
  package let phase: Phase.Name
  package let step: Int?
  package let name: Statement.Name
  package let text: String
  package let arguments: [String]
}

/// Values by role, from which each statement takes those that it names.
package struct Bindings: Sendable {
  package private(set) var values: [String: String?]

  package init(_ values: [String: String?] = [:]) { self.values = values }

  package func with(_ role: String, _ value: String?) -> Bindings {
    var copy = self
    copy.values.updateValue(value, forKey: role)
    return copy
  }

  /// A key under `role.1`, `role.2`, … and as one array under `role`; `nil` is the beginning of all keys, which `role.none` says.
  package func with(key: [String?]?, as role: String, count: Int) -> Bindings {
    var copy = with(role, key.map(ArrayText.literal)).with("\(role).none", key == nil ? "true" : "false")
    for index in 0..<count { copy.values.updateValue(key?[index], forKey: "\(role).\(index + 1)") }
    return copy
  }

  package func arguments(for statement: RunStatement) throws(PostgresError) -> [String?] {
    var arguments: [String?] = []
    for role in statement.arguments {
      guard let value = values[role] else {
        throw .unreadable("statement \(statement.name) asks for \(role), which nobody gave")
      }
      arguments.append(value)
    }
    return arguments
  }
}

extension Connection {
  /// Runs a statement of a run with the values that it asks for.
  @discardableResult
  package borrowing func run(_ statement: RunStatement, _ bindings: Bindings) throws(PostgresError) -> Rows {
    try query(statement.text, bindings.arguments(for: statement))
  }
}
