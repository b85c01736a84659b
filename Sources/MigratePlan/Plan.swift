/// What will run and how it is taken back: an inert value.
///
/// It is printed, compared, written out as scripts and stored in the ledger; runner and revert need nothing else, neither the
/// file nor the compiler.
public struct Plan: Sendable, Equatable {
  /// The definition's name.
  public let definition: String
  /// SHA-256 of name, search path and parameters: what is completed is not run twice.
  public let identity: String
  /// The search path that every transaction of the run pins.
  public let searchPath: String
  /// The parameters' values.
  public let parameters: [PlannedParameter]
  /// How many rows commit together.
  public let batchSize: Int
  /// The columns that batches walk.
  public let key: [String]
  /// What runs, in order.
  public let phases: [Phase]
  /// What is written, and what takes it back.
  public let steps: [Step]
  /// What a person should know before.
  public let warnings: [PlanWarning]
  /// The tables as they were when the plan was made.
  public let tables: [PlannedTable]
  /// What the statistics promise.
  public let estimate: Estimate
  /// Definitions that must be complete before.
  public let needs: [String]

  /// The statements of `phase`; empty when it has none.
  public func statements(_ phase: Phase.Name) -> [Statement] {
    phases.first { $0.name == phase }?.statements ?? []
  }

  package init(
    definition: String, identity: String, searchPath: String, parameters: [PlannedParameter], batchSize: Int,
    key: [String], phases: [Phase], steps: [Step], warnings: [PlanWarning], tables: [PlannedTable], estimate: Estimate,
    needs: [String]
  ) {
    self.definition = definition
    self.identity = identity
    self.searchPath = searchPath
    self.parameters = parameters
    self.batchSize = batchSize
    self.key = key
    self.phases = phases
    self.steps = steps
    self.warnings = warnings
    self.tables = tables
    self.estimate = estimate
    self.needs = needs
  }
}

/// A parameter with the value that the run binds.
public struct PlannedParameter: Sendable, Equatable {
  /// The name, without its colon.
  public let name: String
  /// Its type, as PostgreSQL spells it.
  public let type: String
  /// Its value as the type's text; `nil` is NULL.
  public let value: String?

  package init(name: String, type: String, value: String?) {
    self.name = name
    self.type = type
    self.value = value
  }
}

/// One write of a plan. There is no step without an answer to how it is taken back.
public struct Step: Sendable, Equatable {
  /// Its number, from 1.
  public let number: Int
  /// The verb: `update`.
  public let verb: String
  /// The table that is written.
  public let table: String
  /// The columns that the definition writes, each with what it becomes.
  public let columns: [WrittenColumn]
  /// Which rows, by an expression that computes something; `nil` when it only compares, or all rows are meant.
  public let filter: PlannedFilter?
  /// The way back.
  public let undo: Undo

  package init(
    number: Int, verb: String, table: String, columns: [WrittenColumn], filter: PlannedFilter?, undo: Undo
  ) {
    self.number = number
    self.verb = verb
    self.table = table
    self.columns = columns
    self.filter = filter
    self.undo = undo
  }
}

/// A column that a step writes.
public struct WrittenColumn: Sendable, Equatable {
  /// The column.
  public let name: String
  /// The expression, or the constant, as it will be written.
  public let value: String
  /// Where the definition says so.
  public let place: DefinitionPlace

  package init(name: String, value: String, place: DefinitionPlace) {
    self.name = name
    self.value = value
    self.place = place
  }
}

extension WrittenColumn {
  /// One literal and nothing else; quotes inside of it are doubled.
  package static func isConstant(_ value: String) -> Bool {
    if value.utf8.elementsEqual("NULL".utf8) { return true }
    let quote = UInt8(ascii: "'")
    let bytes = Array(value.utf8)
    guard bytes.count >= 2, bytes.first == quote, bytes.last == quote else { return false }
    var index = 1
    while index < bytes.count - 1 {
      if bytes[index] == quote {
        guard index + 1 < bytes.count - 1, bytes[index + 1] == quote else { return false }
        index += 1
      }
      index += 1
    }
    return true
  }
}

/// A condition on the rows of a step.
public struct PlannedFilter: Sendable, Equatable {
  /// The expression, as the definition writes it.
  public let value: String
  /// Where it stands.
  public let place: DefinitionPlace

  package init(value: String, place: DefinitionPlace) {
    self.value = value
    self.place = place
  }
}

/// How a step is taken back.
public enum Undo: Sendable, Equatable {
  /// The old and new values of these columns are kept, and the statements of phase `revert` put them back.
  case captured(columns: [String])
  /// It cannot be taken back, for this reason.
  case unavailable(reason: String)
}

/// Something to know before the run, stored with it.
public struct PlanWarning: Sendable, Equatable {
  /// The rule's name.
  public let code: String
  /// The line of the definition, from 1; `nil` when it is about the whole.
  public let line: Int?
  /// What there is to know.
  public let message: String
  /// What to do about it.
  public let remedy: String

  package init(code: String, line: Int?, message: String, remedy: String) {
    self.code = code
    self.line = line
    self.message = message
    self.remedy = remedy
  }
}

/// A table as the plan saw it.
public struct PlannedTable: Sendable, Equatable {
  /// Schema and name, each in double quotes, as `to_regclass` reads them.
  public let name: String
  /// Its object identifier when the plan was made; another one after a dump and restore.
  public let oid: Int
  /// The key and the columns that undo holds: what a revert must find unchanged.
  public let columns: [PlannedColumn]
  /// The index that batches walk.
  public let index: String
  /// Triggers that fire on updates, also those of partitions; what the rows become is foreseen knowing these.
  public let triggers: [String]

  package init(name: String, oid: Int, columns: [PlannedColumn], index: String, triggers: [String]) {
    self.name = name
    self.oid = oid
    self.columns = columns
    self.index = index
    self.triggers = triggers
  }
}

/// A column as the plan saw it.
public struct PlannedColumn: Sendable, Equatable {
  /// Its name.
  public let name: String
  /// Its type, as PostgreSQL spells it.
  public let type: String
  /// The type's object identifier.
  public let typeOID: Int

  package init(name: String, type: String, typeOID: Int) {
    self.name = name
    self.type = type
    self.typeOID = typeOID
  }
}

/// What the statistics promise about a run.
public struct Estimate: Sendable, Equatable {
  /// Rows that are eligible.
  public let rows: Int
  /// Bytes that undo will take, before compression; 0 without undo.
  public let undoBytes: Int

  package init(rows: Int, undoBytes: Int) {
    self.rows = rows
    self.undoBytes = undoBytes
  }
}
