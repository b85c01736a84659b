internal import MigrateDiagnostics

/// What can be wrong with the names and calls in an expression.
extension Diagnostic {
  /// 26: `exact` is the column that has the name as it was written, capitals included.
  static func foldedColumn(_ name: String, exact: String, alias: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "folded-column", at: span, "no column \"\(name)\"; SQL folds capitals", remedy: "write `\(alias).\"\(exact)\"`")
  }

  /// 15, 16: `yes` and its kin are booleans to some readers of YAML; here they are SQL, which takes them for columns.
  static func yamlBoolean(_ name: String, written: String, at span: SourceSpan) -> Diagnostic {
    let boolean = ["yes", "on", "y"].contains(name) ? "true" : "false"
    return Diagnostic(
      "yaml-boolean", at: span, "no column \"\(name)\"",
      remedy: "for the text write `'\(written)'`; SQL's boolean is `\(boolean)`")
  }

  /// A name that looks like a text: in double quotes, or a word that is all of the expression.
  static func nameForText(_ name: String, isQuoted: Bool, of table: String, at span: SourceSpan) -> Diagnostic {
    let text = "'\(name.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "''"))'"
    return Diagnostic(
      "unknown-column", at: span, "table \(table) has no column \"\(name)\"",
      remedy: (isQuoted ? "double quotes are for names in SQL; " : "") + "for the text write `\(text)`")
  }

  /// `status = active`: a column that is not there, or a text without its quotes.
  static func nameComparedWith(_ name: String, of table: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "unknown-column", at: span, "table \(table) has no column \"\(name)\"",
      remedy: "for the text write `'\(name)'`; the columns of \(table) are listed by: `psql -c '\\d \(table)'`")
  }

  static func parameterWithoutColon(_ name: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "parameter-without-colon", at: span, "no column \"\(name)\"", remedy: "the parameter is written `:\(name)`")
  }

  static func nearParameter(_ name: String, _ parameter: String, of table: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "unknown-column", at: span, "table \(table) has no column \"\(name)\"",
      remedy: "did you mean `:\(parameter)`, a parameter of this definition?")
  }

  /// 46: `nearest` is the declared parameter that was probably meant.
  static func undeclaredParameter(_ name: String, at span: SourceSpan, nearest: String?) -> Diagnostic {
    if name == "scheduled_at" {
      return Diagnostic(
        "not-yet", at: span, "`:scheduled_at` belongs to `schedule`, which is not in this version",
        remedy: "declare a parameter of your own: `params: {at: timestamptz}`")
    }
    return Diagnostic(
      "undeclared-parameter", at: span, "no parameter \"\(name)\"",
      remedy: nearest.map { "did you mean `:\($0)`?" } ?? "declare it: `params: {\(name): numeric}`")
  }

  /// 50: each batch is a transaction of its own, so even `now()` gives rows of one run different times.
  static func clock(_ name: String, at span: SourceSpan) -> Diagnostic {
    let written =
      ["current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"].contains(name)
      ? name : "\(name)()"
    return Diagnostic(
      "moving-clock", at: span, "`\(written)` moves from batch to batch",
      remedy: "`:started_at`, the moment at which the run began, kept when it is resumed")
  }

  /// 51: what `where` leaves to chance, capture and change would decide differently.
  static func volatileChoice(_ name: String, key: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "volatile-choice", at: span, "`\(name)()` is volatile: a choice by it differs when a batch is tried again",
      remedy: "choose by the row: `hashtext(\(key)::text) % 10 = 0`")
  }

  /// 29: its result would depend on the batch size.
  static func aggregate(_ name: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "aggregate-over-batch", at: span, "the aggregate \(name) here would run over one batch",
      remedy: "put it into the query of a `join`, which means the whole table; or into a sub-select: "
        + "`(SELECT \(name)(…) FROM …)`")
  }

  /// 30: like an aggregate, it sees no row beyond its batch.
  static func window(_ name: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "window-over-batch", at: span, "the window function \(name) here would restart in each batch",
      remedy: "it belongs in a query that is read once, `source: {query: …}`, which is not in this version")
  }

  /// 31: a set-returning function would multiply the row that it is to fill.
  static func severalRows(_ name: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "several-rows", at: span, "\(name) gives several rows, and a column takes one value",
      remedy: "take one: `(SELECT x FROM \(name)(…) AS x LIMIT 1)` with an ORDER BY, or gather them: `ARRAY(SELECT …)`")
  }

  static func readsWhatIsWritten(_ column: String, _ table: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "reads-what-is-written", at: span,
      "\"\(column)\" is read in other rows of \(table) while batches write it, so the result would depend on their size",
      remedy: "read it from a table that this definition does not write, for instance a copy made before")
  }

  static func batchIsHidden(_ alias: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "hidden-batch", at: span, "in this sub-select \(alias) is another table, which hides the source row",
      remedy: "give the other one an alias: `FROM \(alias) AS other`, or the source one: `source: {table: …, as: row}`")
  }

  static func batchOutOfPlace(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "no-batch-here", at: span, "there is no `batch` before and after the run",
      remedy: "put the query under `checks: batch:`")
  }

  static func batchWithoutUndo(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "batch-without-undo", at: span, "`batch` holds the rows as they were, which `undo: none` does not keep",
      remedy: "read the table itself, or leave `undo: none` out")
  }

  static func replaceable(_ name: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "replaceable-function", .warning, at: span, "\(name) can be replaced by another role before the run",
      remedy: "`REVOKE CREATE ON SCHEMA … FROM PUBLIC`, or own the function")
  }
}
