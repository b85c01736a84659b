internal import MigrateCatalog
internal import MigratePlan
internal import MigrateSQL

/// Rows as they would be written, against the rules of `validation`.
///
/// The rules stand where the new values are computed anyway, in the capture and in the change; the statement that names the reasons
/// runs only in a batch in which the capture has counted such rows.
extension ResolvedBatch {
  /// True of a row that breaks no rule, over the source row; `nil` without rules.
  var isValid: SQL? { Self.conjunction(of: validConditions) }

  var validConditions: [SQL] { validation.map { "(\(inRow($0.condition)))" } }

  private static func conjunction(of conditions: [SQL]) -> SQL? {
    conditions.isEmpty ? nil : .joined(conditions, by: "\nAND ")
  }

  /// A rule over the source row: what the columns become is computed on the spot.
  func inRow(_ condition: RowCondition) -> SQL {
    let held: (Int) -> SQL = { number in column(number).map { "\(alias).\($0.name)" } ?? "NULL" }
    // In parentheses, since a rule can take an element of it.
    guard condition.hasScope else {
      return condition.sql(written: { number in becomes(number).map { "(\($0))" } ?? held(number) }, held: held)
    }
    let columns: [SQL] = table.columns.filter { !$0.isGenerated }.map { column in
      "\(becomes(column.number) ?? held(column.number)) AS \(column.name)"
    }
    return """
      (SELECT (\(condition.sql(written: held, held: held)))
       FROM  (SELECT \(list: columns)) AS \(Resolver.written))
      """
  }

  /// What is assigned to a column; `nil` when nothing is.
  func becomes(_ number: Int) -> SQL? {
    assignments.first { $0.column.number == number }.map { "CAST(\($0.value) AS \($0.column.image))" }
  }

  private func column(_ number: Int) -> Column? { table.columns.first { $0.number == number } }

  // MARK: Over what the capture has computed.

  private var judgesComputed: Bool { validation.allSatisfy { !$0.condition.hasScope } }

  /// Columns that the rules name besides those that are captured.
  var contextColumns: [SQL] {
    guard judgesComputed else { return [] }
    let numbers = Set(validation.flatMap(\.condition.columns)).subtracting(capturedColumns.map(\.number))
    return numbers.sorted().compactMap(column).map { "\(alias).\($0.name) AS \(Name.context($0))" }
  }

  /// The rules as a column of the source row, where they cannot be told from what is computed of it.
  var validInRow: [SQL] { judgesComputed ? [] : isValid.map { ["(\($0)) AS valid"] } ?? [] }

  /// The rows of `computed` with what the rules make of them; behind OFFSET 0, so that each is judged once.
  func judged(_ computed: SQL) -> SQL {
    guard judgesComputed else { return computed }
    func held(_ number: Int) -> SQL {
      guard let column = column(number) else { return "NULL" }
      return capturedColumns.contains { $0.number == number } ? "s.\(Name.old(column))" : "s.\(Name.context(column))"
    }
    func written(_ number: Int) -> SQL {
      assignments.first { $0.column.number == number }.map { "s.\(Name.new($0.column))" } ?? held(number)
    }
    let conditions: [SQL] = validation.map { "(\($0.condition.sql(written: written, held: held)))" }
    return """
      SELECT s.*,
             (\(Self.conjunction(of: conditions) ?? "true")) AS valid
      FROM  (\(computed)) AS s
      OFFSET 0
      """
  }

  /// The capture of rows that change and break no rule; it counts those that break one, whether they would change or not.
  func captureValid(_ names: [SQL], from judged: SQL, where differs: SQL) -> Statement {
    Statement(
      .capture, step: Self.step,
      why: "the old values and the new ones, and how many rows break a rule; by OFFSET 0 each is computed once",
      """
      INSERT INTO \(Name.undo(Self.step)) (slice, ordinal, part, rows_read, \(list: rejectedName + names))
      SELECT \(lines: [Self.placeValues, eligibleRows] + rejectedCount + names.map { "array_agg(s.\($0)) FILTER (WHERE s.valid)" })
      FROM  (\(judged)) AS s
      WHERE  \(differs)
         OR  s.valid IS NOT TRUE
      RETURNING \(list: ["rows_read = coalesce(cardinality(k_1), 0) AS as_captured"] + leavesOut)
      """)
  }

  var rejectedName: [SQL] { judges ? ["rows_rejected"] : [] }
  var rejectedCount: [SQL] { validation.isEmpty ? [] : ["count(*) FILTER (WHERE s.valid IS NOT TRUE)"] }
  /// What a capture answers: whether there is something for `validate` to do.
  var leavesOut: [SQL] { judges ? ["rows_rejected > 0 AS leaves_out"] : [] }

  // MARK: The reasons.

  /// One query names every reason of every row. Before the change; without undo behind it, when the change has told its keys.
  var validate: Statement {
    let reasons: [SQL] = validation.map { rule in
      """
      CASE (\(inRow(rule.condition)))
        WHEN true  THEN NULL
        WHEN false THEN \(Literal(rule.reason))
        ELSE            \(Literal("\(rule.reason): is NULL")) END
      """
    }
    let keepsValues = keepsRows
    let names: SQL = "run, step, key, row, new_values, reasons, message"
    let row: SQL = keepsValues ? Name.image("\(alias).*") : "CAST(NULL AS jsonb)"
    let values: SQL = keepsValues && !isStepped ? newValues : "CAST(NULL AS jsonb)"
    let broken: SQL =
      isComposed
      ? reasonsOfJoined(row: row, newValues: values, rules: reasons)
      : """
      SELECT \(keyAsTexts) AS key,
             \(row) AS row,
             \(values) AS new_values,
             array_remove(ARRAY[\(lines: reasons)], NULL) AS reasons
      FROM   \(source)
      \(SQL.filtered(by: batchConditions + guarded([breaksRule])))
      """
    let clauses: [SQL] =
      [
        "SELECT \(Role.run), \(Self.step), s.key, s.row, s.new_values, s.reasons, array_to_string(s.reasons, '; ')",
        "FROM  (\(broken)) AS s",
      ] + (isComposed ? ["WHERE  cardinality(s.reasons) > 0"] : [])
    return Statement(
      .validate, step: Self.step, why: "only in a batch with rows that break a rule: to quarantine with every reason",
      """
      WITH rejected AS (
        INSERT INTO migrate.rejects (\(names))
        \(SQL.joined(clauses, by: "\n"))
        \(Self.rejectedAgain)
        RETURNING key
      )
      UPDATE \(claims) AS u
      SET    \(lines: found)
      FROM  (SELECT count(*) AS rows FROM rejected) AS r
      WHERE  \(Self.place)
      """)
  }

  /// What the columns would become, as JSON: the reasons are about them.
  private var newValues: SQL {
    let values: [SQL] = assignments.map { "\(computed($0)) AS \($0.column.name)" }
    return "(SELECT \(Name.image("\(Resolver.written).*")) FROM (SELECT \(list: values)) AS \(Resolver.written))"
  }

  /// Of a row that the change has written a rule may not be computable any more, and CASE alone keeps the order.
  private var breaksRule: SQL {
    let broken: SQL = "(\(isValid ?? "true")) IS NOT TRUE"
    guard !judgesBefore else { return broken }
    let keys: [SQL] = keyNames.map { "unnest(b.\($0))" }
    return """
      CASE WHEN (\(list: keyColumns)) NOT IN (SELECT \(list: keys) FROM \(Name.undo(Self.step)) AS b WHERE \(Self.placeRead))
           THEN \(broken) END
      """
  }

  /// As many as were counted, unless rows came in between.
  private var found: [SQL] {
    !judgesBefore
      ? ["rows_rejected = r.rows", "exact = (r.rows <= u.rows_read - coalesce(cardinality(u.k_1), 0))"]
      : ["exact = CASE WHEN r.rows <> u.rows_rejected THEN false END"]
  }
}
