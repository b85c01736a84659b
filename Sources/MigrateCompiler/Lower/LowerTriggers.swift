internal import MigrateCatalog
internal import MigratePlan
internal import MigrateSQL

/// The way back of columns that triggers write. The restore fires the triggers, as the change did, so counters that they keep go
/// back by themselves; what they wrote into the rows is then put right with the triggers off (X06).
extension ResolvedBatch {
  var rewrittenColumns: [Column] {
    switch undo {
    case .captured(_, let rewritten): rewritten
    case .none: []
    }
  }

  /// Whether triggers may write columns of the rows that the definition does not.
  var putsRight: Bool { !rewrittenColumns.isEmpty }

  /// Columns of the undo table that only such tables need: the keys that came back, and the values to be put right.
  var rightColumns: [SQL] {
    guard putsRight else { return [] }
    let keys: [SQL] = key.enumerated().map { "\(Self.back($0)) \($1.base)[]" }
    let held: [SQL] = key.enumerated().map { "\(Self.heldKey($0)) \($1.base)[]" }
    let values: [SQL] = rewrittenColumns.map { "\(Self.held($0)) \($0.element(step: Self.step))[]" }
    return keys + held + values
  }

  private static func back(_ index: Int) -> SQL { SQL(pieces: [.text("back_\(index + 1)")]) }
  private static func heldKey(_ index: Int) -> SQL { SQL(pieces: [.text("held_k_\(index + 1)")]) }
  private static func held(_ column: Column) -> SQL { SQL(pieces: [.text("held_\(column.number)")]) }

  /// Behind the CTE `back`: writes down which rows came back.
  var noteBack: SQL {
    guard putsRight else { return "" }
    let arrays: [SQL] = key.indices.map { "\(Self.back($0)) = a.\(Name.key($0))" }
    let gathered: [SQL] = key.indices.map { "array_agg(\(Name.key($0))) AS \(Name.key($0))" }
    return """
      , noted AS (
        UPDATE \(Name.undo(Self.step)) AS u
        SET    \(lines: arrays)
        FROM  (SELECT \(list: gathered) FROM back) AS a
        WHERE  \(Self.place)
      )
      """
  }

  /// Before the restore: locks the rows and keeps, for each column that triggers write, what it shall hold afterwards: the old
  /// value where it still holds ours, else the later one, which stays.
  var hold: [Statement] {
    guard putsRight else { return [] }
    let columns = keyNames + rewrittenColumns.flatMap { [Name.old($0), Name.new($0)] }
    let values: [SQL] = rewrittenColumns.map { column in
      let current = column.plain(of: alias)
      let chosen: SQL =
        "CASE WHEN record_image_eq(ROW(\(current)), ROW(d.\(Name.new(column)))) THEN d.\(Name.old(column)) ELSE \(current) END"
      let kept: SQL = column.isWrapped ? "CAST(ROW(\(chosen)) AS \(Name.wrapper(Self.step, column)))" : chosen
      return "\(kept) AS \(Self.held(column))"
    }
    let gathered: [SQL] =
      key.indices.map { "array_agg(h.\(Name.key($0))) AS \(Name.key($0))" }
      + rewrittenColumns.map { "array_agg(h.\(Self.held($0))) AS \(Self.held($0))" }
    let assigned: [SQL] =
      key.indices.map { "\(Self.heldKey($0)) = a.\(Name.key($0))" }
      + rewrittenColumns.map { "\(Self.held($0)) = a.\(Self.held($0))" }
    return [
      Statement(
        .hold, step: Self.step,
        why: "triggers will write these columns again; what they shall hold afterwards is kept first",
        """
        WITH held AS (
          SELECT \(lines: keyNames.map { "d.\($0)" } + values)
          FROM   \(lines: unnested(columns) + [source])
          WHERE  \(Self.placeRead)
            AND  \(sameKey)
          FOR    NO KEY UPDATE OF \(alias)
        )
        UPDATE \(Name.undo(Self.step)) AS u
        SET    \(lines: assigned)
        FROM  (SELECT \(lines: gathered) FROM held AS h) AS a
        WHERE  \(Self.place)
        """)
    ]
  }

  /// After the restore, with the triggers off: rows that came back get the values kept by `hold`, and once more their old ones,
  /// which a trigger may have changed on the way.
  var restoreRewritten: [Statement] {
    guard putsRight else { return [] }
    let keys = keyNames
    let written = assignments.map(\.column)
    let columns = keys + written.map { Name.old($0) }
    let heldColumns = key.indices.map { Self.heldKey($0) } + rewrittenColumns.map { Self.held($0) }
    let backs: [SQL] = key.indices.map { "b.\(Self.back($0))" }
    let cameBack: [SQL] = key.indices.map { Self.back($0) }
    let set: [SQL] =
      written.map { "\($0.name) = d.\(Name.old($0))" } + rewrittenColumns.map { "\($0.name) = d.\(Self.held($0))" }
    let sameOld: [SQL] = zip(keys, cameBack).map { "d.\($0) = r.\($1)" }
    let sameHeld: [SQL] = zip(key.indices, cameBack).map { "h.\(Self.heldKey($0)) = r.\($1)" }
    let taken: [SQL] = columns.map { "d.\($0)" } + heldColumns.map { "h.\($0)" }
    // Left joins, and in a CTE: of arrays PostgreSQL assumes ten elements, and with the table in the same join it takes one row to
    // come of them, and would read an array anew for each row of another.
    let right = Statement(
      .restoreRewritten, step: Self.step, why: "what the triggers have just written goes, what was there comes back",
      """
      WITH kept AS MATERIALIZED (
        SELECT \(lines: taken)
        FROM   \(Name.undo(Self.step)) AS b
        CROSS  JOIN LATERAL unnest(\(list: backs)) AS r(\(list: cameBack))
        LEFT   JOIN LATERAL unnest(\(list: columns.map { "b.\($0)" })) AS d(\(list: columns))
               ON \(SQL.joined(sameOld, by: " AND "))
        LEFT   JOIN LATERAL unnest(\(list: heldColumns.map { "b.\($0)" })) AS h(\(list: heldColumns))
               ON \(SQL.joined(sameHeld, by: " AND "))
        WHERE  \(Self.placeRead)
      )
      UPDATE \(source)
      SET    \(lines: set)
      FROM   kept AS d
      WHERE  \(sameKey)
        AND  d.\(Self.heldKey(0)) IS NOT NULL
      """)
    return [
      switches(.triggersOff, why: "for this statement alone", on: false), right,
      switches(.triggersOn, why: "they fire again for whatever comes", on: true),
    ]
  }

  /// By the setting where the role may, which locks nothing; else by ALTER TABLE, for just the triggers that are on.
  private func switches(_ name: Statement.Name, why: String, on: Bool) -> Statement {
    let sql: SQL
    if mayReplicate, !table.triggers.contains(where: \.firesAlways) {
      sql = on ? "SET LOCAL session_replication_role = origin" : "SET LOCAL session_replication_role = replica"
    } else {
      let lines: [SQL] = table.triggers.map { trigger in
        let word: SQL = on ? (trigger.firesAlways ? "ENABLE ALWAYS" : "ENABLE") : "DISABLE"
        return "ALTER TABLE \(table.name) \(word) TRIGGER \(Identifier(trusted: trigger.name))"
      }
      sql = SQL.joined(lines, by: ";\n")
    }
    return Statement(name, step: Self.step, why: why, sql)
  }
}
