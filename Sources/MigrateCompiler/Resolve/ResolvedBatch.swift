internal import MigrateCatalog
internal import MigratePlan
internal import MigrateSQL

/// A batch operation in which every name has met its catalog entry and every expression its type: nothing can go wrong for
/// the user any more.
struct ResolvedBatch: Sendable {
  let name: String
  let table: Table
  let sourceRows: SourceRows
  /// What the SQL calls the source row.
  let alias: Identifier
  /// The columns that batches walk, in the order of the index.
  let key: [Column]
  /// Which rows; `nil` is all.
  let filter: SQL?
  /// What is read besides the source row.
  let joins: [NamedJoin]
  /// What is computed once a source row.
  let lets: [NamedLet]
  /// Whether a sub-select stands in it.
  let filterHasQuery: Bool
  /// The filter for people, when it can fail on a row.
  let plannedFilter: PlannedFilter?
  /// Of an update of the source's own rows; empty where there are ``steps``.
  let assignments: [ResolvedAssignment]
  let steps: [ResolvedStep]
  /// What is kept of the source's rows for the steps, besides the key.
  let batchColumns: [Column]
  /// What is kept besides for the steps.
  let carried: [(column: Column, value: SQL)]
  /// What must be true of a row as it would be written.
  let validation: [Rule]
  let undo: ResolvedUndo
  let onError: OnError
  /// As ``Plan/maxRejects`` where rows can go to quarantine.
  let mostRejects: String
  let pace: Pace
  /// How many workers do the batches.
  let parallel: Int
  /// Rows that are expected to be eligible.
  let estimatedRows: Int
  let searchPath: [String]
  let coverage: Coverage
  let timezone: String
  let checksBefore: [ResolvedCheck]
  let checksBatch: [ResolvedCheck]
  let checksAfter: [ResolvedCheck]
  let holds: [ResolvedHold]
  let expectations: [PlannedExpectation]
  let measures: [NamedMeasure]
  /// The column that says when a row was changed; `nil`: each run does all rows.
  let incremental: String?
  /// Of a definition that is published at once: what is read of a row besides the columns that are kept of it.
  let aside: Aside?
  /// Which rows its statements are about.
  var stretch = Stretch.batch
  let canary: PlannedCanary?
  /// Whether AFTER triggers may write the row again, which RETURNING does not see.
  let hasAfterTriggers: Bool
  let needs: [String]
  /// Whether what a row becomes may depend on more than the row: by a sub-select, or by a function, an operator or a cast of
  /// somebody's own, which may read whatever it likes.
  let readsOtherRows: Bool
  /// May switch triggers off for itself.
  let mayReplicate: Bool
  let hasLZ4: Bool

  /// Whether rows that the database refuses go to quarantine.
  var isolatesErrors: Bool {
    switch onError {
    case .quarantine: true
    case .stop, .retry: false
    }
  }

  /// Whether rows can go to quarantine.
  var rejects: Bool { isolatesErrors || judges }

  /// Whether a row is more than the table's: what it becomes is then computed once, by the capture, and written by the change.
  var isComposed: Bool { !joins.isEmpty || !lets.isEmpty || isAside }

  /// Whether batches only compute, and one transaction shows it.
  var isAside: Bool { aside != nil }

  /// Whether there are several writes, or one that is no update of the source's own rows.
  var isStepped: Bool { !steps.isEmpty }

  /// Whether rows can be told to go there before the database has a say: by a rule, or by what a join has found.
  var judges: Bool { !validation.isEmpty || joins.contains(where: \.rejects) }

  /// Whether a row can be found unchanged: not when a value is volatile, since evaluated twice it is two values.
  var comparesImages: Bool { !assignments.contains(where: \.isVolatile) }
}

/// What is computed aside.
struct Aside: Sendable {
  /// The columns of the source that any of its SQL reads.
  let read: [Column]
}

/// Which rows a statement is about.
enum Stretch: Sendable {
  /// Those of a batch.
  case batch
  /// Those that others have changed since they were computed.
  case late
}

struct ResolvedAssignment: Sendable {
  let column: Column
  /// As it stands behind `SET column =`.
  let value: SQL
  /// Whether the column keeps each digit of the value, so that it equals what is stored.
  let isKeptWhole: Bool
  let isVolatile: Bool
  /// Whether that is due to the server's own functions: a number, a clock, chance.
  let isOfChance: Bool
  /// As the definition writes it, for people.
  let text: String
  let place: DefinitionPlace
}

enum ResolvedUndo: Sendable {
  /// Old and new values of `columns` are kept; `rewritten` of them are written by triggers and not by the definition.
  case captured(columns: [Column], rewritten: [Column])
  case none
}

struct ResolvedCheck: Sendable {
  let name: String
  let query: SQL
}
