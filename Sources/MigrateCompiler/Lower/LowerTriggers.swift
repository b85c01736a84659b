internal import MigrateCatalog
internal import MigratePlan
internal import MigrateSQL

/// The way back of columns that triggers write. The restore fires the triggers, as the change did, so counters that they keep go
/// back by themselves; what they wrote into the rows is then put right with the triggers off (X06).
struct PutRight: Sendable {
  let rows: KeptRows
  /// What the restore has written.
  let written: [Column]
  /// What triggers write besides.
  let rewritten: [Column]
  /// Whether the rows were there before the restore, and may hold what somebody has written since.
  let wereThere: Bool
  /// May switch triggers off for itself.
  let mayReplicate: Bool

  private var table: WrittenTable { rows.table }
  private var step: Int { rows.step }
  private var isNeeded: Bool { !rewritten.isEmpty }

  /// Columns of the undo table that only such tables need: the keys that came back, and the values to be put right.
  var columns: [SQL] {
    guard isNeeded else { return [] }
    let keys: [SQL] = table.key.enumerated().map { "\(Self.back($0)) \($1.base)[]" }
    guard wereThere else { return keys }
    let held: [SQL] = table.key.enumerated().map { "\(Self.heldKey($0)) \($1.base)[]" }
    let values: [SQL] = rewritten.map { "\(Self.held($0)) \($0.element(step: step))[]" }
    return keys + held + values
  }

  private static func back(_ index: Int) -> SQL { SQL(pieces: [.text("back_\(index + 1)")]) }
  private static func heldKey(_ index: Int) -> SQL { SQL(pieces: [.text("held_k_\(index + 1)")]) }
  private static func held(_ column: Column) -> SQL { SQL(pieces: [.text("held_\(column.number)")]) }

  /// Behind the CTE `back`: writes down which rows came back.
  var noteBack: SQL {
    guard isNeeded else { return "" }
    let arrays: [SQL] = zip(table.key.indices, rows.keyNames).map { "\(Self.back($0)) = a.\($1)" }
    let gathered: [SQL] = rows.keyNames.map { "array_agg(\($0)) AS \($0)" }
    return """
      , noted AS (
        UPDATE \(rows.relation) AS u
        SET    \(lines: arrays)
        FROM  (SELECT \(list: gathered) FROM back) AS a
        WHERE  \(ResolvedBatch.place)
      )
      """
  }

  /// Before the restore: locks the rows and keeps, for each column that triggers write, what it shall hold afterwards: the old
  /// value where it still holds ours, else the later one, which stays.
  var hold: [Statement] {
    guard isNeeded, wereThere else { return [] }
    let columns = rows.keyNames + rewritten.flatMap { [Name.old($0), Name.new($0)] }
    let values: [SQL] = rewritten.map { column in
      let current = column.plain(of: table.alias)
      let chosen: SQL =
        "CASE WHEN record_image_eq(ROW(\(current)), ROW(d.\(Name.new(column)))) THEN d.\(Name.old(column)) ELSE \(current) END"
      let kept: SQL = column.isWrapped ? "CAST(ROW(\(chosen)) AS \(Name.wrapper(step, column)))" : chosen
      return "\(kept) AS \(Self.held(column))"
    }
    let gathered: [SQL] =
      rows.keyNames.map { "array_agg(h.\($0)) AS \($0)" }
      + rewritten.map { "array_agg(h.\(Self.held($0))) AS \(Self.held($0))" }
    let assigned: [SQL] =
      zip(table.key.indices, rows.keyNames).map { "\(Self.heldKey($0)) = a.\($1)" }
      + rewritten.map { "\(Self.held($0)) = a.\(Self.held($0))" }
    return [
      Statement(
        .hold, step: step,
        why: "triggers will write these columns again; what they shall hold afterwards is kept first",
        """
        WITH held AS (
          SELECT \(lines: rows.keyNames.map { "d.\($0)" } + values)
          FROM   \(lines: rows.unnested(columns) + [table.source])
          WHERE  \(ResolvedBatch.placeRead)
            AND  \(rows.sameKey)
          FOR    NO KEY UPDATE OF \(table.alias)
        )
        UPDATE \(rows.relation) AS u
        SET    \(lines: assigned)
        FROM  (SELECT \(lines: gathered) FROM held AS h) AS a
        WHERE  \(ResolvedBatch.place)
        """)
    ]
  }

  /// After the restore, with the triggers off: rows that came back get the values kept by `hold`, or their old ones where they were
  /// not there, and once more what the restore has written, which a trigger may have changed on the way.
  var restoreRewritten: [Statement] {
    guard isNeeded else { return [] }
    return [
      switches(.triggersOff, why: "for this statement alone", on: false), right,
      switches(.triggersOn, why: "they fire again for whatever comes", on: true),
    ]
  }

  private var right: Statement {
    let keys = rows.keyNames
    let old = written + (wereThere ? [] : rewritten)
    let columns = keys + old.map { Name.old($0) }
    let held = wereThere ? table.key.indices.map { Self.heldKey($0) } + rewritten.map { Self.held($0) } : []
    let backs: [SQL] = table.key.indices.map { "b.\(Self.back($0))" }
    let cameBack: [SQL] = table.key.indices.map { Self.back($0) }
    let set: [SQL] =
      old.map { "\($0.name) = d.\(Name.old($0))" }
      + (wereThere ? rewritten.map { "\($0.name) = d.\(Self.held($0))" } : [])
    let sameOld: [SQL] = zip(keys, cameBack).map { "d.\($0) = r.\($1)" }
    let sameHeld: [SQL] = zip(table.key.indices, cameBack).map { "h.\(Self.heldKey($0)) = r.\($1)" }
    let taken: [SQL] = columns.map { "d.\($0)" } + held.map { "h.\($0)" }
    let heldRows: [SQL] =
      wereThere
      ? [
        """
        LEFT   JOIN LATERAL unnest(\(list: held.map { "b.\($0)" })) AS h(\(list: held))
               ON \(SQL.joined(sameHeld, by: " AND "))
        """
      ] : []
    let joined: [SQL] =
      [
        """
        CROSS  JOIN LATERAL unnest(\(list: backs)) AS r(\(list: cameBack))
        LEFT   JOIN LATERAL unnest(\(list: columns.map { "b.\($0)" })) AS d(\(list: columns))
               ON \(SQL.joined(sameOld, by: " AND "))
        """
      ] + heldRows
    let isThere: [SQL] = wereThere ? ["d.\(Self.heldKey(0)) IS NOT NULL"] : []
    // Left joins, and in a CTE: of arrays PostgreSQL assumes ten elements, and with the table in the same join it takes one row to
    // come of them, and would read an array anew for each row of another.
    return Statement(
      .restoreRewritten, step: step, why: "what the triggers have just written goes, what was there comes back",
      """
      WITH kept AS MATERIALIZED (
        SELECT \(lines: taken)
        FROM   \(rows.relation) AS b
        \(SQL.joined(joined, by: "\n"))
        WHERE  \(ResolvedBatch.placeRead)
      )
      UPDATE \(table.source)
      SET    \(lines: set)
      FROM   kept AS d
      \(SQL.filtered(by: [rows.sameKey] + isThere))
      """)
  }

  /// By the setting where the role may, which locks nothing; else by ALTER TABLE, for just the triggers that are on.
  private func switches(_ name: Statement.Name, why: String, on: Bool) -> Statement {
    let sql: SQL
    let triggers = table.table.triggers
    if mayReplicate, !triggers.contains(where: \.firesAlways) {
      sql = on ? "SET LOCAL session_replication_role = origin" : "SET LOCAL session_replication_role = replica"
    } else {
      let lines: [SQL] = triggers.map { trigger in
        let word: SQL = on ? (trigger.firesAlways ? "ENABLE ALWAYS" : "ENABLE") : "DISABLE"
        return "ALTER TABLE \(table.table.name) \(word) TRIGGER \(Identifier(trusted: trigger.name))"
      }
      // ALTER TABLE refuses where a constraint is still to be checked, and so would the check where it came too early.
      sql = SQL.joined([settling(now: true)] + lines + (on ? [settling(now: false)] : []), by: ";\n")
    }
    return Statement(name, step: step, why: why, sql)
  }

  private func settling(now: Bool) -> SQL {
    let name = table.table.name
    return "SELECT migrate.settle(\(Literal("\(name.schema.quoted).\(name.name.quoted)")), \(now ? "true" : "false"))"
  }
}

extension ResolvedBatch {
  /// What triggers write into the source's own rows.
  var putRight: PutRight {
    let rewritten: [Column] =
      switch undo {
      case .captured(_, let rewritten): rewritten
      case .none: []
      }
    return PutRight(
      rows: KeptRows(table: WrittenTable(table: table, alias: alias, key: key), step: Self.step),
      written: assignments.map(\.column), rewritten: rewritten, wereThere: true, mayReplicate: mayReplicate)
  }

  /// The same of the rows that a step has changed or removed.
  func putRight(_ table: WrittenTable, _ step: ResolvedStep) -> PutRight {
    let (written, wereThere): ([Column], Bool) =
      switch step.verb {
      case .update(_, _, let assignments): (assignments.map(\.column), true)
      case .delete, .insert, .emit, .notify: ([], false)
      }
    return PutRight(
      rows: kept(table, by: step), written: written, rewritten: table.rewritten, wereThere: wereThere,
      mayReplicate: mayReplicate)
  }
}
