public import MigrateDiagnostics

/// One file that declares work, decoded: nothing about it has been compared with a database yet.
public struct Definition: Sendable {
  /// The file.
  public let source: SourceText
  /// The name behind `batch:`, unique in the project and stable: the ledger knows the definition by it.
  public let name: Located<String>
  /// What a person should know about it, `description:`.
  public let description: String?
  /// What it does.
  public let operation: BatchOperation
  /// What is wrong with the rest of the file, when only a part of it could be read.
  package internal(set) var problems: [Diagnostic] = []
}

/// A change of rows that are in the database already, batch by batch.
public struct BatchOperation: Sendable {
  /// The rows that are read.
  public let source: Source
  /// Which source rows; `nil` is all of them.
  public let filter: SourceFragment?
  /// What is read besides the source row, in order.
  public let joins: [Join]
  /// The names under `join` of those that could not be read.
  package let unreadJoins: [String]
  /// Values that are computed once a source row, in order: a name and what it stands for.
  public let lets: [Assignment]
  /// Declared under `params:`, in order.
  public let parameters: [ParameterDeclaration]
  /// New values of columns of the source table, in order; empty where there are ``steps``. `setSpan` is the key `set`.
  public let set: [Assignment]
  /// The place of the key `set`.
  public let setSpan: SourceSpan
  /// Whether each of its columns could be read, so that ``set`` has all of them.
  package let isSetWhole: Bool
  /// What is written besides or instead, in order; empty where ``set`` is all.
  public let steps: [StepDefinition]
  /// Whether there are steps, though none of them could be read.
  package let isStepped: Bool
  /// Rules for the row as it would be written, in order.
  public let validation: [ValidationRule]
  /// Queries that must find nothing.
  public let checks: Checks
  /// Rows that commit together; ``BatchSize/automatic`` when it is not said.
  public let batchSize: Located<BatchSize>?
  /// When it goes slower, and when it stands still.
  public let throttle: Throttle
  /// The times of day at which batches may run; `nil` is any.
  public let window: Located<Window>?
  /// What pauses the run when it finds or does something else.
  public let expectations: [Expectation]
  /// The column that says when a row was changed last: a run does those that were since the last one.
  public let incremental: Located<String>?
  /// When what changes can be seen; with each batch when it is not said.
  public let publish: Located<PublishPolicy>?
  /// Which part of the rows is done first, in per cent, its digits as written; `nil` is none.
  public let canary: Located<String>?
  /// How long the run holds behind its canary; `nil` is until it is resumed.
  public let hold: Located<Duration>?
  /// How many workers may do the batches beside each other; one when it is not said.
  public let parallel: Located<Int>?
  /// What a row does that the database refuses.
  public let onError: Located<ErrorPolicy>?
  /// How many rows may go to quarantine before the run ends; `nil` when it is not said.
  public let maxRejects: Located<Portion>?
  /// What is kept for the way back.
  public let undo: UndoPolicy
  /// The zone of all SQL here; UTC when it is not said.
  public let timezone: Located<String>?
  /// Schemas for unqualified names, in order; `nil` when it is not said.
  public let searchPath: [Located<String>]?
  /// Rows given, and what is expected of them.
  public let tests: [TestDefinition]
  /// Names of definitions that must be complete before.
  public let needs: [Located<String>]

  /// What examples show, and a planner is told where a number has to stand.
  package static let usualBatchSize = 10_000
}

/// What a definition works from.
public struct Source: Sendable {
  /// Where its rows come from.
  public enum Rows: Sendable {
    /// A table, as written: `shop.products`, `products`, `"Odd".name`. Its rows are read live, batch by batch.
    case table(Located<TableReference>)
    /// A query, whose rows are read once, when the run begins.
    case query(SourceFragment)
  }

  /// Where its rows come from.
  public let rows: Rows
  /// The columns that batches walk, when the primary key is not meant.
  public let key: [Located<String>]?
  /// What SQL calls the source row besides `batch`.
  public let alias: Located<String>?

  /// The table; `nil` for a query.
  public var table: Located<TableReference>? {
    switch rows {
    case .table(let table): table
    case .query: nil
    }
  }

  /// Where it is named.
  public var span: SourceSpan {
    switch rows {
    case .table(let table): table.span
    case .query(let fragment): fragment.span
    }
  }
}

/// A table's name as a definition says it: exact, never folded.
public struct TableReference: Sendable, Equatable {
  /// `nil` when the search path decides.
  public let schema: String?
  /// The table's own name.
  public let name: String
}

/// `multiplier: {type: numeric, default: 1.05}`
public struct ParameterDeclaration: Sendable {
  /// The name without its colon.
  public let name: Located<String>
  /// A type as PostgreSQL spells it: `numeric(10,2)`, `text[]`.
  public let type: Located<String>
  /// Without it the parameter has to be given.
  public let defaultValue: Located<Constant>?
}

/// `price: round(price * 1.05, 2)`
public struct Assignment: Sendable {
  /// The column, exact.
  public let column: Located<String>
  /// What it becomes.
  public let value: AssignedValue
}

/// Unquoted is SQL, quoted is text.
public enum AssignedValue: Sendable {
  /// An expression, from an unquoted or block scalar, or from `{sql: …}`.
  case sql(SourceFragment)
  /// A quoted scalar: that text, a constant of the column's type.
  case text(Located<String>)
  /// `{value: …}`: a constant without any doubt about what is meant.
  case constant(Located<Constant>)

  /// Where it stands.
  public var span: SourceSpan {
    switch self {
    case .sql(let fragment): fragment.span
    case .text(let text): text.span
    case .constant(let constant): constant.span
    }
  }
}

/// A constant that YAML wrote, by its YAML 1.2 core meaning; numbers keep their spelling, since a `Double` would not.
public indirect enum Constant: Sendable, Equatable {
  /// `null`, `~`, or nothing.
  case null
  /// `true`, `false`.
  case bool(Bool)
  /// The digits as written.
  case number(String)
  /// Any other scalar.
  case text(String)
  /// For an array, or JSON.
  case list([Constant])
  /// For JSON; in the order of the file.
  case map([ConstantMember])
}

/// A key and value of a constant map.
public struct ConstantMember: Sendable, Equatable {
  /// The key.
  public let key: String
  /// Its value.
  public let value: Constant
}

/// A query with a name, which must return no row.
public struct Check: Sendable {
  /// What people call it: `no negative price`.
  public let name: Located<String>
  /// One SELECT.
  public let query: SourceFragment
}

/// `price stays positive: price > 0`
public struct ValidationRule: Sendable {
  /// Why a row is rejected that breaks it.
  public let reason: Located<String>
  /// What must be true of the row as it would be written.
  public let condition: SourceFragment
}

/// `checks:`
public struct Checks: Sendable {
  /// Before anything starts.
  public let before: [Check]
  /// In each batch's transaction, at its end; may read `batch`.
  public let batch: [Check]
  /// After the last batch.
  public let after: [Check]
}

/// `on_error:`
public enum ErrorPolicy: String, Sendable, CaseIterable {
  /// The run ends at the batch; it can be resumed there.
  case stop
  /// The rows at fault go to quarantine, the others are done.
  case `continue`
  /// As stop, after the batch has been tried up to ten times.
  case retry
}

/// `publish:`
public enum PublishPolicy: String, Sendable, CaseIterable {
  /// What a batch has changed can be seen when it commits.
  case perBatch = "per_batch"
  /// Batches compute, and one transaction shows all of it.
  case atOnce = "at_once"
}

/// A number of rows, or a part of them.
public enum Portion: Sendable, Equatable {
  /// `1000`
  case rows(Int)
  /// `0.1%`, its digits as written.
  case percent(String)
}

/// `undo:`
public enum UndoPolicy: Sendable {
  /// Old and new values of everything written.
  case full
  /// Keys only; revert is refused.
  case none
  /// As full, but columns that triggers write and revert may leave are not kept.
  case except([Located<String>])
}
