internal import MigrateCatalog
internal import MigrateDiagnostics
internal import MigrateSQL

extension Diagnostic {
  /// 42
  static func withoutMatch(_ verb: String, _ table: QualifiedName, key: [Column], at span: SourceSpan) -> Diagnostic {
    let name = table.name.spelled
    return Diagnostic(
      "step-without-match", at: span, "which rows of \(table.description) are meant is not said",
      remedy: "say it by an equality: `match: \(name).… = batch.\(key.first?.name.spelled ?? "id")`")
  }

  static func matchWithoutEquality(_ table: QualifiedName, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "match-without-equality", at: span, "no equality: each batch would read all of \(table.description)",
      remedy: "add one between a column of \(table.description) and the batch: `\(table.name.spelled).… = batch.…`")
  }

  static func reservedRowsName(_ name: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "reserved-rows-name", at: span, "\"\(name)\" is reserved in SQL, where the name stands bare",
      remedy: "call the rows `\(name)_rows`, say")
  }

  static func takenRowsName(_ name: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "taken-rows-name", at: span, "\"\(name)\" names the table, the source row or the new row already",
      remedy: "give the rows of `from` a name of their own")
  }

  static func volatileRows(_ name: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "volatile-rows", at: span,
      "`\(name)()` is volatile: which rows `from` gives would differ when a batch is tried again",
      remedy: "call it in a value that is written: there it is evaluated once, and stored")
  }

  static func rowsWithStar(_ name: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "rows-with-star", at: span, "`*` leaves it to the tables which columns \(name) has",
      remedy: "name the columns that the step reads")
  }

  /// 39
  static func stepWithoutKey(_ verb: String, _ table: QualifiedName, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "step-without-key", at: span,
      "\(table.description) has no primary key or unique NOT NULL index, so revert could not find the rows of `\(verb)`",
      remedy: "add one: `ALTER TABLE \(table.spelled) ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY`")
  }

  static func stepWritesKey(_ column: String, _ table: QualifiedName, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "step-writes-key", at: span,
      "\"\(column)\" is of the key by which rows of \(table.description) are found again, and revert could not",
      remedy: "insert rows with the new key, and delete those with the old one: two steps")
  }

  static func withoutValue(_ column: String, _ table: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "column-without-value", at: span, "\"\(column)\" of \(table) may not be NULL, and gets no value",
      remedy: "give it one under `values`: `\(column): …`")
  }

  static func columnWithoutHome(_ column: String, _ table: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "column-without-home", at: span, "\(table) has no column \"\(column)\" for the one of that name",
      remedy: "say under `values` what goes where")
  }

  static func payloadIsText(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "not-a-payload", at: span, "a payload is one text",
      remedy: "write it as SQL, or as a quoted text: `payload: 'done'`")
  }

  /// 45
  static func conflictWithoutIndex(_ columns: [Identifier], _ table: Table, at span: SourceSpan) -> Diagnostic {
    let list = columns.map(\.spelled).joined(separator: ", ")
    let others = table.indexes.filter { $0.isUnique && $0.isValid && $0.isImmediate && !$0.isPartial }
      .map { index in "(\(index.columns.compactMap { table.column($0)?.name.spelled }.joined(separator: ", ")))" }
    return Diagnostic(
      "conflict-without-index", at: span, "no unique index on \(table.name.description) (\(list))",
      remedy: "`CREATE UNIQUE INDEX CONCURRENTLY ON \(table.name.spelled) (\(list))`"
        + (others.isEmpty ? "" : ", or a key from: \(others.joined(separator: ", "))"))
  }

  static func conflictByChance(_ column: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "conflict-by-chance", at: span,
      "of two rows of `from` for one key it would be chance whose \"\(column)\" is kept",
      remedy:
        "write nothing of the rows besides the key, or leave `from` out: the batch's own rows come in the order of their key"
    )
  }

  /// 56
  static func sharedTarget(_ column: String, _ table: QualifiedName, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "shared-target", at: span,
      "one row of \(table.description) can be reached by several batches, and \"\(column)\" would depend on how they are cut",
      remedy:
        "set a constant; or add up for each row, `from: {x: SELECT …, coalesce(sum(n), 0) AS n FROM batch GROUP BY …}`, and write `\(column) + x.n`, or `greatest(\(column), x.n)` of a max; or make \(table.description) the `source`, and join what it depends on"
    )
  }

  /// In a batch of one row it would never be seen.
  static func sharedTwiceInBatch(_ table: QualifiedName, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "shared-target", at: span,
      "a row of \(table.description) can be meant by two rows of a batch, of which one would win",
      remedy: "group the rows by what is matched: `from: {x: SELECT …, sum(…) AS … FROM batch GROUP BY …}`")
  }

  static func roundedByBatch(
    _ column: String, _ table: QualifiedName, _ type: TypeName, at span: SourceSpan
  ) -> Diagnostic {
    Diagnostic(
      "rounded-by-batch", at: span,
      "what is added to \"\(column)\" of \(table.description) is rounded to \(type.spelling) for each batch, so the sum would depend on how they are cut",
      remedy: "round each number before it is added up: `sum(round(…))`, or `sum(…::\(type.spelling))`")
  }

  static func sourceReached(_ verb: String, _ table: QualifiedName, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "source-reached", at: span,
      "`\(verb)` would write rows of \(table.description) that belong to other batches, or become part of one",
      remedy:
        "of the source's own table write the batch's own rows, without `match`; the others by a definition of their own"
    )
  }

  static func batchInValue(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "batch-in-value", at: span,
      "a query over the batch in a value or a condition would depend on how the batches are cut",
      remedy: "`batch.…` is the one row; what belongs to many is a sum under `from`, or an event")
  }

  static func matchByBatch(_ column: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "match-by-batch", at: span,
      "\"\(column)\" is computed of many rows of a batch, so which rows are meant would depend on how the batches are cut",
      remedy: "match by the columns that the rows are grouped by, and by the row of the table")
  }

  static func windowInRows(_ name: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "window-in-rows", at: span, "`\(name)() OVER` would look at one batch, and depend on how they are cut",
      remedy: "compute it before, into a table that is named as `source`")
  }

  static func insertsByBatch(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "inserts-by-batch", at: span,
      "such a query gives a row a batch, or a group, so what is inserted would depend on how they are cut",
      remedy: "insert rows for each row of the batch; one a batch is an event: `emit`")
  }

  static func sharedAndInserted(_ table: QualifiedName, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "shared-and-inserted", at: span,
      "another step adds rows to \(table.description), which this one would meet or not, as the batches are cut",
      remedy: "make two definitions of it, ordered by `needs`")
  }

  static func sharedTwice(_ column: String, _ table: QualifiedName, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "shared-target", at: span,
      "\"\(column)\" of \(table.description) is written by two steps, and rows of it are reached by several batches",
      remedy: "make one step of the two, or two definitions, ordered by `needs`")
  }

  /// 53
  static func childWithoutIndex(_ key: ForeignKey, _ table: Table, at span: SourceSpan) -> Diagnostic {
    let columns = key.referring.map(\.spelled).joined(separator: ", ")
    return Diagnostic(
      "child-without-index", .warning, at: span,
      "\(key.other) refers to \(table.name.description) by (\(columns)), which no index leads to: each row that goes reads it through, about \(key.rows) rows",
      remedy: "CREATE INDEX CONCURRENTLY ON \(key.table.spelled) (\(columns))")
  }

  static func uncoveredForeignKey(
    _ key: ForeignKey, _ table: Table, isOwn: Bool, at span: SourceSpan
  ) -> Diagnostic {
    let effect =
      switch key.onDelete {
      case .cascade: "would go with them"
      case .setNull, .setDefault: "would lose what they refer to"
      case .none, .restrict: "refer to them"
      }
    let led = key.columns.compactMap { table.column($0)?.name.spelled }
    let terms = zip(key.referring, led).map { "\(key.table.name.spelled).\($0.spelled) = batch.\($1)" }
    return Diagnostic(
      "uncovered-foreign-key", at: span,
      "\(key.other) refers to these rows by \(key.name): its rows \(effect), and that is in no undo",
      remedy: isOwn
        ? "before it: `- delete: \(key.other)`, `match: \(terms.joined(separator: " AND "))`"
        : "in a definition with `source: \(table.name.description)`, which deletes the rows of \(key.other) in a step before"
    )
  }
}
