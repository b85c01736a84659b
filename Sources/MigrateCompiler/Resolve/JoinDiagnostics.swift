internal import MigrateDiagnostics
internal import MigrateSQL

/// What can be wrong with a join.
extension Diagnostic {
  /// 40: each batch would compare each of its rows with all of the join's.
  static func joinWithoutEquality(_ join: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "join-without-equality", at: span, "no equality: each batch would read all of \(join)",
      remedy: "add one between a column of \(join) and the source row: `\(join).… = …`")
  }

  /// Read by each batch it would cost as much as there are batches.
  static func stagedJoin(_ join: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "staged-join", .warning, at: span,
      "no index leads to the rows of \(join) that a batch needs, so it is read once, when the run starts, into a table",
      remedy: "an index on what the condition compares lets each batch read its part, as it is then")
  }

  /// 41: the name stands bare in SQL.
  static func reservedJoin(_ name: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "reserved-join-name", at: span, "\"\(name)\" is reserved in SQL, where the join's name stands bare",
      remedy: "call it `\(name)s`, say")
  }

  static func takenJoin(_ name: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "taken-join-name", at: span,
      "\"\(name)\" is the name of the source row or of something else in these expressions",
      remedy: "give the join another name, or the source row: `source: {table: …, as: …}`")
  }

  static func batchInJoin(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "no-batch-here", at: span, "a join's query means whole tables, and does not see the batch",
      remedy: "which of its rows belongs to a source row is said by `match`")
  }

  static func volatileJoin(_ name: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "volatile-join", at: span, "`\(name)()` is volatile: each batch would get other rows of the join",
      remedy: "decide by the rows, `:started_at`, or a parameter")
  }

  static func mayNotRead(
    _ column: Identifier, of table: QualifiedName, _ user: String, at span: SourceSpan
  ) -> Diagnostic {
    let role = Identifier(trusted: user).spelled
    return Diagnostic(
      "missing-privilege", at: span, "\(role) lacks a privilege that apply needs",
      remedy: "`GRANT SELECT (\(column.spelled)) ON \(table.spelled) TO \(role)`")
  }

  static func mayNotEnter(_ schema: Identifier, _ user: String, at span: SourceSpan) -> Diagnostic {
    let role = Identifier(trusted: user).spelled
    return Diagnostic(
      "missing-privilege", at: span, "\(role) lacks a privilege that apply needs",
      remedy: "`GRANT USAGE ON SCHEMA \(schema.spelled) TO \(role)`, and SELECT on the table")
  }

  /// The row as a whole, or what PostgreSQL keeps of it besides: a batch that has locked its rows first has neither.
  static func wholeRowBesideJoin(_ name: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "whole-row-beside-join", at: span,
      "`\(name)` is not a column of the table, and beside a `join` only those can be read",
      remedy: "name the columns that are needed")
  }

  static func unknownJoinColumn(
    _ column: String, of join: String, nearest: String?, at span: SourceSpan
  ) -> Diagnostic {
    Diagnostic(
      "unknown-column", at: span, "the join \(join) has no column \"\(column)\"",
      remedy: nearest.map { "did you mean \"\($0)\"?" } ?? "give it one: its table or query has others")
  }
}
