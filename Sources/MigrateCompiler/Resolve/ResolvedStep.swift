internal import MigrateCatalog
internal import MigrateDefinition
internal import MigratePlan
internal import MigrateSQL

/// One write of `steps`, its names resolved. `Value` is a value with its type still open, or known.
struct StepOf<Value: Sendable>: Sendable {
  enum Verb: Sendable {
    case update(WrittenTable, match: Match, [Value])
    /// `skipping`: rows whose values in these columns are there already are left out.
    case insert(WrittenTable, [Value], skipping: [Column])
    case delete(WrittenTable, match: Match)
    /// Rows of a table that nobody takes back; `back`: which columns are others when a revert repeats them, which it does if there are some.
    case emit(Table, [Value], back: [RevertedValue])
    case notify(channel: String, payload: SQL, back: SQL?)
  }

  /// Its number, from 1.
  let number: Int
  let verb: Verb
  let rows: StepRows
  /// Whether what it writes may depend on more than the row that it works from.
  let readsOtherRows: Bool
  /// For people: the verb, and what it writes.
  let words: Words

  struct Words: Sendable {
    let verb: String
    let target: String
    let match: String?
    let from: String?
  }

  /// The table that is written and taken back; `nil` for events.
  var written: WrittenTable? {
    switch verb {
    case .update(let table, _, _), .insert(let table, _, _), .delete(let table, _): table
    case .emit, .notify: nil
    }
  }

  /// What is assigned, in order.
  var values: [Value] {
    switch verb {
    case .update(_, _, let values), .insert(_, let values, _), .emit(_, let values, _): values
    case .delete, .notify: []
    }
  }

  func map<Other>(_ transform: (Value) -> Other) -> StepOf<Other> {
    let verb: StepOf<Other>.Verb =
      switch verb {
      case .update(let table, let match, let values): .update(table, match: match, values.map(transform))
      case .insert(let table, let values, let key): .insert(table, values.map(transform), skipping: key)
      case .delete(let table, let match): .delete(table, match: match)
      case .emit(let table, let values, let back): .emit(table, values.map(transform), back: back)
      case .notify(let channel, let payload, let back): .notify(channel: channel, payload: payload, back: back)
      }
    return StepOf<Other>(
      number: number, verb: verb, rows: rows, readsOtherRows: readsOtherRows,
      words: .init(verb: words.verb, target: words.target, match: words.match, from: words.from))
  }
}

typealias NamedStep = StepOf<NamedAssignment>
typealias ResolvedStep = StepOf<ResolvedAssignment>

/// What an event has in a column when a revert repeats it.
struct RevertedValue: Sendable {
  let column: Column
  /// A constant of the column's type.
  let value: SQL
}

/// A table that a step writes, as its SQL names it.
struct WrittenTable: Sendable {
  let table: Table
  /// What our SQL calls its rows.
  let alias: Identifier
  /// What its rows are found by again: the columns of a unique index.
  let key: [Column]
  /// Whether triggers may make something else of a row than what is written.
  var isRewritten = false
  /// The columns that triggers may write besides when the rows are written, or come back.
  var rewritten: [Column] = []

  /// The table and its alias, as it stands behind FROM, UPDATE or INSERT INTO.
  var source: SQL { "\(table.name) AS \(alias)" }

  var keyColumns: [SQL] { key.map { "\(alias).\($0.name)" } }

  /// What a row is made of besides what is computed from that.
  var storedColumns: [Column] { table.columns.filter { !$0.isGenerated } }

  /// The same without the key.
  var otherColumns: [Column] { storedColumns.filter { column in !key.contains { $0.number == column.number } } }
}

/// Which rows of a table a step means.
struct Match: Sendable {
  let condition: SQL
  /// Whether nothing of the rows is written, so that it matters only that there is one.
  let isExistence: Bool
  /// Whether it means the batch's own rows.
  let isOwn: Bool
  /// Whether no row of the table can be meant by two of the rows that the step works from.
  let isSingle: Bool
  /// Whether batches beside it, or behind it, may mean the same row.
  let isShared: Bool
  /// The number of the step whose rows, added in the same batch, are not meant.
  var besidesAdded: Int?
}

/// The rows that a step works from.
enum StepRows: Sendable {
  case batch
  /// What a query finds; `joins`: in more than the batch.
  case query(Identifier, SQL, joins: Bool)
  /// Rows of a table, which a step behind it removes.
  case moved(MovedRows)

  /// What our SQL calls them.
  var name: Identifier {
    switch self {
    case .batch: Resolver.batch
    case .query(let name, _, _): name
    case .moved: Resolver.moved
    }
  }
}

/// Rows that a step removes, for the one that adds them elsewhere before.
struct MovedRows: Sendable {
  let table: Table
  /// What our SQL calls the table's rows, where it finds them.
  let alias: Identifier
  /// Which rows: of the batch, or what `match` finds for it.
  let condition: SQL
  /// Whether they are the batch's own rows.
  let isOwn: Bool
  /// The number of the step that removes them.
  let removedBy: Int

  private var found: SQL {
    "FROM   \(table.name) AS \(alias)\nWHERE  EXISTS (SELECT FROM batch WHERE (\(condition)))"
  }

  var columns: [SQL] { table.columns.map { "\(alias).\($0.name)" } }

  var query: SQL { "SELECT \(list: columns)\n\(found)" }

  var lock: SQL { "SELECT\n\(found)\nFOR    UPDATE OF \(alias)" }
}
