internal import MigrateCatalog
internal import MigratePlan
internal import MigrateSQL

/// The way back of a delete: the rows come back, and none under a key that somebody has taken since.
struct DeleteWayBack: Sendable {
  let rows: KeptRows
  /// Behind the CTE `back`: what else is to be known of the rows that came back.
  var noteBack: SQL = ""

  private var table: WrittenTable { rows.table }
  private var step: Int { rows.step }

  var statements: [Statement] { [restore, seize, restoreForced, rows.look(at: table.storedColumns)] }

  private var restore: Statement {
    Statement(
      .restore, step: step, why: "identities keep their values; a row under the key of one of these is left alone",
      inserting(isArbitrable ? "DO NOTHING" : "(\(list: table.key.map { "\($0.name)" })) DO NOTHING"))
  }

  /// Whether PostgreSQL can be asked for a conflict with any index: not with one that is checked later.
  private var isArbitrable: Bool { table.table.indexes.allSatisfy { !$0.isUnique || $0.isImmediate } }

  /// True where a row is there that has taken the place of `d`: its key, or what another unique index tells.
  var isTaken: SQL { isTaken(by: "d") }

  func isTaken(by row: SQL) -> SQL {
    let other = Identifier(trusted: "migrate other")
    let taken = table.table.indexes.compactMap { index -> SQL? in
      let columns = index.columns.compactMap(table.table.column)
      guard index.isUnique, index.isValid, !index.isPartial, columns.count == index.columns.count,
        columns.allSatisfy({ !$0.isGenerated })
      else { return nil }
      let same: [SQL] = columns.map { "\(other).\($0.name) = \(row).\(kept($0))" }
      return "EXISTS (SELECT FROM \(table.table.name) AS \(other) WHERE \(SQL.joined(same, by: " AND ")))"
    }
    return .joined(taken, by: "\n OR ")
  }

  private func kept(_ column: Column) -> SQL {
    table.key.firstIndex { $0.number == column.number }.map { rows.keyNames[$0] } ?? Name.old(column)
  }

  private func inserting(_ conflict: SQL) -> SQL {
    let columns = table.key.map(\.name) + table.otherColumns.map(\.name)
    let values = rows.keyNames + table.otherColumns.map { Name.old($0) }
    return """
      WITH back AS (
        INSERT INTO \(table.source) (\(list: columns.map { "\($0)" })) OVERRIDING SYSTEM VALUE
        SELECT \(list: values.map { "d.\($0)" })
        FROM   \(lines: rows.unnested(values))
        WHERE  \(ResolvedBatch.placeRead)
        ON CONFLICT \(conflict)
        RETURNING \(list: rows.returnedKeys)
      )\(noteBack)
      \(rows.conflictsOfBack)
      """
  }

  private var seize: Statement {
    seize(of: rows.unnested(rows.keyNames), where: [ResolvedBatch.placeRead], row: "d")
  }

  func seize(of relations: [SQL], where conditions: [SQL], row: SQL) -> Statement {
    let same = zip(table.keyColumns, rows.keyNames).map { column, name -> SQL in "\(column) = \(row).\(name)" }
    return Statement(
      .seize, step: step, why: "under force what stands under a key is kept first, and locked meanwhile",
      """
      WITH d AS MATERIALIZED (
        SELECT \(lines: rows.keyNames.map { "\(row).\($0)" } + ["\(rows.found(table.storedColumns)) AS found"])
        FROM   \(lines: relations + [table.source])
        \(SQL.filtered(by: conditions + same))
        FOR    UPDATE OF \(table.alias)
      )
      INSERT INTO migrate.conflicts (run, step, seq, key, reason, found)
      SELECT \(Role.run), \(step), \(Role.seq), \(rows.keyTexts), 'overwritten', d.found
      FROM   d
      """)
  }

  private var restoreForced: Statement {
    Statement(
      .restoreForced, step: step, why: "under force rows come back over whatever has been kept",
      inserting(overwriting) + "\nON CONFLICT (run, step, seq, key) DO UPDATE SET reason = 'edited'")
  }

  /// What an insert does with a row that stands under the key: it is replaced if it has been kept.
  var overwriting: SQL {
    let key: SQL = "(\(list: table.key.map { "\($0.name)" }))"
    let kept: SQL = """
      EXISTS (SELECT
              FROM   migrate.conflicts AS c
              WHERE  (c.run, c.step, c.seq) = (\(Role.run), \(step), \(Role.seq))
                AND  c.key = ARRAY[\(list: zip(table.key, table.keyColumns).map { $0.text(of: $1) })])
      """
    return
      table.otherColumns.isEmpty
      ? "DO NOTHING"
      : "\(key) DO UPDATE\n  SET    \(lines: table.otherColumns.map { "\($0.name) = excluded.\($0.name)" })\n  WHERE  \(kept)"
  }
}
