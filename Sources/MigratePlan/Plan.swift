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
  /// How many rows commit together, and how fast batches follow one another.
  public let pace: Pace
  /// How many workers may do its batches beside each other.
  public let parallel: Int
  /// What pauses the run when it finds or does something else.
  public let expectations: [PlannedExpectation]
  /// The part of the rows that is done first; `nil` is none.
  public let canary: PlannedCanary?
  /// The column that says when a row was changed: a run does those that were since the last one; `nil`: all rows.
  public let incremental: String?
  /// Whether batches only compute, and one transaction behind the last of them shows what they have computed.
  public let isPublishedAtOnce: Bool
  /// What becomes of rows that the database refuses.
  public let onError: OnError
  /// How many rows may be in quarantine before the run ends: a number of rows or, with a sign of per cent, a part of the rows read.
  /// `nil` where none can come there.
  public let maxRejects: String?
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
  /// Those that steps write, as they were then.
  public let written: [PlannedTarget]
  /// What the statistics promise.
  public let estimate: Estimate
  /// Definitions that must be complete before.
  public let needs: [String]

  /// The statements of `phase`; empty when it has none.
  public func statements(_ phase: Phase.Name) -> [Statement] {
    phases.first { $0.name == phase }?.statements ?? []
  }

  /// Whether there are several writes, or one that is no update of the source's own rows.
  package var isStepped: Bool { steps.contains { $0.work != nil } }

  /// Whether its rows are read once, when the run begins.
  package var isFrozen: Bool { tables.contains { !$0.runAt.isEmpty } }

  /// The SQL that pins what decides about the meaning of a text, for a transaction of a batch; a plan without it is none.
  package var settings: String { statements(.batches).first { $0.name == .settings }?.text ?? "" }

  package init(
    definition: String, identity: String, searchPath: String, parameters: [PlannedParameter], pace: Pace,
    parallel: Int, expectations: [PlannedExpectation] = [], incremental: String? = nil, canary: PlannedCanary? = nil,
    isPublishedAtOnce: Bool = false, onError: OnError,
    maxRejects: String?, key: [String],
    phases: [Phase], steps: [Step], warnings: [PlanWarning], tables: [PlannedTable],
    written: [PlannedTarget] = [], estimate: Estimate, needs: [String]
  ) {
    self.definition = definition
    self.identity = identity
    self.searchPath = searchPath
    self.parameters = parameters
    self.pace = pace
    self.parallel = parallel
    self.expectations = expectations
    self.incremental = incremental
    self.canary = canary
    self.isPublishedAtOnce = isPublishedAtOnce
    self.onError = onError
    self.maxRejects = maxRejects
    self.key = key
    self.phases = phases
    self.steps = steps
    self.warnings = warnings
    self.tables = tables
    self.written = written
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
  /// Schema and name, each in double quotes, as `to_regclass` reads them; with {run} where the run's number belongs.
  public let name: String
  /// The byte offsets of {run} in the name: of a table of the run's own.
  public let runAt: [Int]
  /// Its object identifier when the plan was made; another one after a dump and restore.
  public let oid: Int
  /// The key and the columns that undo holds: what a revert must find unchanged.
  public let columns: [PlannedColumn]
  /// The index that batches walk.
  public let index: String
  /// Triggers that fire on updates, also those of partitions; what the rows become is foreseen knowing these.
  public let triggers: [String]

  package init(
    name: String, runAt: [Int] = [], oid: Int, columns: [PlannedColumn], index: String, triggers: [String]
  ) {
    self.name = name
    self.runAt = runAt
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
  /// What tells it from another column that comes to its name.
  public let number: Int
  /// Its type, as PostgreSQL spells it.
  public let type: String
  /// The type's object identifier.
  public let typeOID: Int

  package init(name: String, number: Int, type: String, typeOID: Int) {
    self.name = name
    self.number = number
    self.type = type
    self.typeOID = typeOID
  }
}

/// What the statistics promise about a run.
public struct Estimate: Sendable, Equatable {
  /// Rows that are eligible.
  public let rows: Int
  /// Bytes that undo will take, before compression: old and new values, and the keys, which are kept without undo, too.
  public let undoBytes: Int

  package init(rows: Int, undoBytes: Int) {
    self.rows = rows
    self.undoBytes = undoBytes
  }
}
