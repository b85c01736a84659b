internal import MigrateCatalog
internal import MigratePlan
internal import MigrateSQL

/// The way back of an insert: rows that nobody has touched go, and none that another row has come to refer to.
struct InsertWayBack: Sendable {
  let rows: KeptRows

  private var table: WrittenTable { rows.table }
  private var step: Int { rows.step }

  var statements: [Statement] { [lock, seize, restore, restoreForced, rows.look(at: table.storedColumns)] }

  /// What is kept of a row besides its key, by its names.
  var images: [SQL] {
    if table.comparedColumns.isEmpty { return [] }
    return rows.derived == nil ? [Name.digest(step)] : table.comparedColumns.map { Name.new($0) }
  }

  /// Whether the row that `alias` names is as the step has added it; `nil` where there is nothing to compare.
  private func compared(_ relation: ResolvedBatch.ImageRelation, _ alias: Identifier, with kept: SQL) -> SQL? {
    guard !images.isEmpty else { return nil }
    guard rows.derived == nil, let digest = table.digest(of: alias) else {
      return ResolvedBatch.images(
        table.comparedColumns.map { $0.plain(of: alias) }, relation, images.map { "\(kept).\($0)" })
    }
    let sign: SQL =
      switch relation {
      case .equal: "="
      case .differFrom: "<>"
      }
    return "(\(digest)) \(sign) \(kept).\(Name.digest(step))"
  }

  /// Where the row is there.
  var isChanged: SQL? { compared(.differFrom, table.alias, with: "d") }

  /// A row that is about to refer to one of these waits for us, or we for it: asked without it, a delete would miss a row that comes
  /// while it waits, and a cascade would take that along.
  private var lock: Statement { locking(rows.unnested(rows.keyNames), [ResolvedBatch.placeRead, rows.sameKey]) }

  /// The same where what was removed tells the rows.
  func locked(by move: MovedFamily.Move) -> Statement {
    locking(move.rows, MovedFamily.Move.conditions + [move.sameKey])
  }

  private func locking(_ relations: [SQL], _ conditions: [SQL]) -> Statement {
    Statement(
      .hold, step: step, why: "whoever is about to refer to these rows is waited for, or has to wait",
      """
      SELECT count(*)
      FROM  (SELECT
             FROM   \(lines: relations + [table.source])
             \(SQL.filtered(by: conditions))
             FOR    UPDATE OF \(table.alias)) AS locked
      """)
  }

  private var unreferred: [SQL] { referred { _ in true }.map { "NOT EXISTS (\($0))" } }

  /// Rows of the same batch that refer to one another go together, in one statement, unless somebody has changed the one that refers.
  private func besides(_ other: Identifier) -> SQL {
    let same: [SQL] = zip(table.key, rows.keyNames).map { "\(other).\($0.name) = e.\($1)" }
    let conditions =
      [ResolvedBatch.placeRead, .joined(same, by: " AND ")] + (compared(.equal, other, with: "e").map { [$0] } ?? [])
    return """
       AND NOT EXISTS (SELECT
                       FROM   \(lines: rows.unnested(rows.keyNames + images, as: "e"))
                       \(SQL.filtered(by: conditions)))
      """
  }

  /// A query for each foreign key that is wanted: the rows that refer to this one. Ahead of it those of a table that the run has written
  /// itself go before.
  func referred(where isWanted: (ForeignKey) -> Bool) -> [SQL] {
    let other = Identifier(trusted: "migrate referring")
    return referred(where: isWanted) { $0.tableOID == table.table.oid ? besides(other) : "" }
  }

  /// The same but for rows that `besides` leaves out, a condition more.
  func referred(where isWanted: (ForeignKey) -> Bool = { _ in true }, besides: (ForeignKey) -> SQL) -> [SQL] {
    table.table.referencedBy.filter(isWanted).map { key in
      let other = Identifier(trusted: "migrate referring")
      let same: [SQL] = zip(key.referring, key.columns).compactMap { referring, number in
        table.table.column(number).map { "\(other).\(referring) = \(table.alias).\($0.name)" }
      }
      return "SELECT FROM \(key.table) AS \(other) WHERE \(SQL.joined(same, by: " AND "))\(besides(key))"
    }
  }

  private var restore: Statement {
    Statement(
      .restore, step: step, why: "one statement compares and deletes, so no edit is lost between the two",
      deleting(where: compared(.equal, table.alias, with: "d").map { [$0] } ?? []))
  }

  private var restoreForced: Statement {
    Statement(
      .restoreForced, step: step,
      why: "under force rows go whatever they hold by now, unless another one refers to them",
      deleting(where: []) + "\nON CONFLICT (run, step, seq, key) DO UPDATE SET reason = 'edited'")
  }

  private func deleting(where conditions: [SQL]) -> SQL {
    let clauses = [ResolvedBatch.placeRead, rows.sameKey] + conditions + unreferred
    return """
      WITH back AS (
        DELETE FROM \(table.source)
        USING  \(lines: rows.unnested(rows.keyNames + images))
        \(SQL.filtered(by: clauses))
        RETURNING \(list: rows.returnedKeys)
      )
      \(rows.conflictsOfBack)
      """
  }

  private var seize: Statement {
    Statement(
      .seize, step: step, why: "under force what is deleted is kept first where it is not what the run has inserted",
      """
      INSERT INTO migrate.conflicts (run, step, seq, key, reason, found)
      SELECT \(Role.run), \(step), \(Role.seq), \(rows.keyTexts), 'overwritten', \(rows.found(table.storedColumns))
      FROM   \(lines: rows.unnested(rows.keyNames + images) + [table.source])
      WHERE  \(ResolvedBatch.placeRead)
        AND  \(rows.sameKey)
        AND  \(isChanged ?? "false")
      """)
  }
}
