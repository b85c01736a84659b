/// The keys of the language: what each is, where it stands, and whether this version reads it.
///
/// One table, so that the decoder's refusals, the reference page and the JSON Schema cannot disagree.
package enum Schema {
  /// A map in which keys of ours stand.
  package enum Place: String, Sendable, CaseIterable {
    case top, source, parameter, value, checks, undo
    case throttle, expectation, join, test
    // Places that the keys of later versions bring along.
    case step, emit, onConflict

    /// How a message names it: "at the top", "under `source`".
    package var phrase: String {
      switch self {
      case .top: "at the top"
      case .source: "under `source`"
      case .parameter: "under a parameter"
      case .value: "as a value"
      case .checks: "under `checks`"
      case .undo: "under `undo`"
      case .step: "in a step"
      case .emit: "under `emit`"
      case .join: "under a `join`"
      case .onConflict: "under `on_conflict`"
      case .throttle: "under `throttle`"
      case .test: "in a test"
      case .expectation: "under a name in `expect`"
      }
    }
  }

  /// Whether this version reads a key.
  package enum Availability: Sendable {
    case now
    /// Known, and refused; `meanwhile` says what to do until then.
    case notYet(meanwhile: String)
  }

  /// A row of the table.
  package struct Key: Sendable {
    package let name: String
    package let place: Place
    package let type: String
    /// Empty when there is none, `required` when it has to be there.
    package let defaultValue: String
    package let meaning: String
    package let availability: Availability

    package var isAvailable: Bool {
      if case .now = availability { true } else { false }
    }
  }

  /// All keys, in the order in which a reference shows them.
  package static let keys = available + writingKeys.flatMap { [$0(.top), $0(.step)] } + later

  /// The key called `name` at `place`, if the language has one.
  package static func key(_ name: String, at place: Place) -> Key? {
    keys.first { $0.place == place && $0.name.utf8.elementsEqual(name.utf8) }
  }

  /// All keys that may stand at `place`.
  package static func keys(at place: Place) -> [Key] { keys.filter { $0.place == place } }

  /// Another place at which a key of this name may stand and is read.
  package static func otherPlace(of name: String, than place: Place) -> Place? {
    keys.first { $0.isAvailable && $0.place != place && $0.name.utf8.elementsEqual(name.utf8) }?.place
  }

  private static func now(
    _ name: String, at place: Place = .top, _ type: String, default defaultValue: String = "", _ meaning: String
  ) -> Key {
    Key(
      name: name, place: place, type: type, defaultValue: defaultValue, meaning: meaning, availability: .now)
  }

  /// What this version reads.
  private static let available: [Key] = [
    now("batch", "name", default: "required", "the kind of the definition, and its name in the ledger"),
    now("description", "text", "what a person should know about it"),
    now(
      "source", "table, or a map", default: "required",
      "the table whose rows are read live, batch by batch; or a query, a view, a foreign table, whose rows are read once"
    ),
    now("table", at: .source, "table", "the table, `schema.table` or found by `search_path`"),
    now(
      "query", at: .source, "SELECT",
      "instead of a table: its rows are read once, when the run begins; for `steps`, and only with `key`"),
    now("key", at: .source, "column or columns", default: "primary key", "what batches walk: unique and NOT NULL"),
    now("as", at: .source, "name", default: "the table's name", "what SQL calls the source row besides `batch`"),
    now("where", "SQL boolean", default: "all rows", "which source rows; NULL is no"),
    now(
      "join", "name: map",
      "at most one row of something else for a source row, read as `name.column`; in `from` it is a column of the batch, `\"name.column\"`"
    ),
    now("table", at: .join, "table", "what is joined"),
    now("query", at: .join, "SELECT", "what is joined instead of a table; it means whole tables, not the batch"),
    now(
      "match", at: .join, "SQL boolean", default: "required",
      "which row of it, with one equality at least; it may name earlier joins"),
    now(
      "missing", at: .join, "reject, skip or null", default: "reject",
      "what a source row does that finds none: it goes to quarantine, is left as it is, or goes on with NULL; one that finds two goes to quarantine"
    ),
    now(
      "let", "name: value",
      "computed once a source row, then a name in `set`, `validation` and later values, and a column of the batch; sees the joins"
    ),
    now("steps", "list", "several writes, done in order in one transaction a batch; a single one may stand at the top"),
    now("set", at: .step, "column: value", "new values; right sides see the row that is changed, and `batch`"),
    now("key", at: .onConflict, "column or columns", default: "required", "the columns of a unique index"),
    now(
      "do", at: .onConflict, "skip, update or reject", default: "required",
      "`reject` sends the source row to quarantine; `update` gives the row that is there the other values of the new one; under `skip` a row that is there already stays as it is, and the new one is left out; of two new ones the first by the source's key is added"
    ),
    now(
      "set", at: .onConflict, "column: value",
      "under `do: update`: what the row that is there becomes in these columns, `excluded.x` being the new row's value"),
    now("notify", at: .emit, "channel", "who listens there gets the one value `payload`, when the batch commits"),
    now(
      "incremental", "column",
      "only rows that were changed since the last complete run began, by a `timestamptz` that says when; some may come twice, and none is missed"
    ),
    now(
      "publish", "per_batch or at_once", default: "per_batch",
      "when changes can be seen; at_once: batches compute, then one transaction shows all; with `set` alone"),
    now("params", "name: type, or name: map", "values given when it is applied, in SQL `:name`"),
    now("type", at: .parameter, "type", default: "required", "a type as PostgreSQL spells it"),
    now("default", at: .parameter, "constant", "without it the parameter has to be given"),
    now("set", "column: value", "new values; right sides see the old row, all at once"),
    now("sql", at: .value, "SQL", "an expression that YAML wants quoted"),
    now("value", at: .value, "constant", "any constant: a list for an array or JSON, a map for JSON"),
    now(
      "validation", "reason: SQL boolean",
      "what must be true of a row as it would be written; else it is rejected, and quarantine keeps the new values"),
    now("checks", "map", "queries that must return no row"),
    now("before", at: .checks, "name: SELECT", "before anything starts"),
    now("batch", at: .checks, "name: SELECT", "at the end of each batch, which it rolls back; may read `batch`"),
    now("after", at: .checks, "name: SELECT", "after the last batch; the run counts as failed and can be reverted"),
    now(
      "batch_size", "auto, or rows", default: "auto",
      "rows that commit together; auto: as many as `target_batch_time` allows"),
    now(
      "parallel", "workers", default: "1",
      "workers beside each other, at most: beyond two only those that make the run faster"),
    now("throttle", "map", "when to go slower, and when to stand still"),
    now("pause", at: .throttle, "duration", "rest between two batches of a worker"),
    now("nice_ratio", at: .throttle, "number", "rest between two batches, as a part of what the batch took"),
    now("max_rate", at: .throttle, "rows a second", "at most, over all workers"),
    now(
      "lock_timeout", at: .throttle, "duration", default: "500ms",
      "how long a batch waits for a lock before it is tried again"),
    now("target_batch_time", at: .throttle, "duration", default: "500ms", "what `batch_size: auto` aims at"),
    now("max_blocking", at: .throttle, "duration", "a batch that keeps others waiting for longer gives way"),
    now("max_active_sessions", at: .throttle, "number", "hold while more sessions of others are active"),
    now("max_replication_lag", at: .throttle, "duration", "hold while a standby is further behind"),
    now(
      "hold_when", at: .throttle, "name: SELECT, or ready-made",
      "hold while it finds a row; ready-made are the names below"),
    now("window", "times of day and zone", "when batches may run: `22:00-05:30 Europe/Berlin`"),
    now(
      "expect", "map",
      "`rows`, `changed`, `rejects`, each with figures as under `between`, or name: map; a run that goes beyond pauses. `%` is of the rows read: `changed: \">= 95%\"`, `rejects: \"< 0.1%\"`; of rows there is none"
    ),
    now(
      "of", at: .expectation, "aggregate", default: "required",
      "avg, sum, min, max or count over `old` and `new` values"),
    now(
      "between", at: .expectation, "two figures, or one with a sign", default: "required",
      "what it must be: `900000..1100000` or `[1.04, 1.06]`, both ends included; `>= 95`, `> 0`, `<= 3`, `< 7`; a figure without a sign is exactly that one"
    ),
    now("canary", "percent", "a part of the rows, by a hash of their keys, is done first; then the run pauses"),
    now("hold", "duration", "behind its canary the run holds for so long, and goes on by itself"),
    now(
      "on_error", "stop, continue or retry", default: "stop",
      "what a row does that the database refuses. stop: the run fails at its batch, and goes on there when it is mended; continue: the row goes to quarantine, the others are done; retry: as stop, after the batch was tried up to ten times"
    ),
    now(
      "max_rejects", "rows, or percent", default: "1000",
      "more rows in quarantine end the run; a percentage is of the rows read, which counts from a thousand rows on, or as many of which it is ten rows, or as many as the statistics promise"
    ),
    now("undo", "full, none, or a map", default: "full", "what is kept for the way back"),
    now("except", at: .undo, "column or columns", "columns that triggers write and revert may leave"),
    now("timezone", "zone", default: "UTC", "the zone of all SQL of the definition"),
    now("search_path", "schema or schemas", default: "public", "schemas for unqualified names, after pg_catalog"),
    now(
      "tests", "name: map",
      "rows that are given and what becomes of them, tried by `migrate test` in a transaction that is rolled back"),
    now("params", at: .test, "name: constant", "values of parameters"),
    now(
      "given", at: .test, "table: rows", default: "required",
      "rows that are inserted, in order; those of the source are what the definition is applied to"),
    now(
      "expected", at: .test, "table: rows",
      "all rows that are there then, of those that were given or written, by the columns that are named"),
    now(
      "rejects", at: .test, "rows", default: "none",
      "the rows that go to quarantine, each by its key and, as `reason`, a part of why"),
    now("needs", "name or names", "definitions that must be complete before, with no row in quarantine"),
  ]

  /// Keys of a step; those of a single step may stand at the top.
  private static let writingKeys: [@Sendable (Place) -> Key] = [
    { now("update", at: $0, "table", "changes rows of a table: those that `match`, or the batch's own") },
    { now("insert", at: $0, "table", "adds rows to a table; a revert removes those that nobody has touched") },
    { now("delete", at: $0, "table", "removes rows of a table: those that `match`, or the batch's own") },
    { now("move", at: $0, "table", "removes rows of a table, as `delete`, and adds them to another one") },
    {
      now("to", at: $0, "table", "where the rows of a `move` are added, by the columns of the same name, or `values`")
    },
    {
      now(
        "emit", at: $0, "table, or a map",
        "adds events to a table, or sends them; a revert leaves them there, and says nothing without `on_revert`")
    },
    {
      now("from", at: $0, "name: SELECT", default: "`batch`", "the rows a step works from; the query may read `batch`")
    },
    {
      now(
        "match", at: $0, "SQL boolean", default: "the batch's own rows",
        "which rows of the table, with one equality at least")
    },
    {
      now(
        "missing", at: $0, "skip or reject", default: "skip",
        "what a row of the batch does that finds no row of the table: nothing, or it goes to quarantine")
    },
    {
      now(
        "values", at: $0, "column: value", default: "columns of the same name",
        "what a new row holds; other columns take their default")
    },
    {
      now(
        "on_revert", at: $0, "column: constant",
        "a revert repeats the events of a batch, in its transaction, with these values in place of the same columns'")
    },
    {
      now(
        "on_conflict", at: $0, "map", default: "a conflict is a failure",
        "what an insert does where a row is there already")
    },
  ]
}
