internal import MigrateCatalog
internal import MigratePlan
internal import MigrateSQL

/// The way back of neighbouring moves: first it is decided, row by row and then family by family, what comes back.
///
/// Of a row by itself: 3, it is in the other table as it was put there; 2, somebody else stands in its place; 1, it was changed there, or is
/// gone; 0, another row refers to it there. Of its family the least counts: 2, all come back; 1, under `force`; 0, none.
struct FamilyWayBack: Sendable {
  let family: MovedFamily

  /// Ahead of the statements of its steps.
  var decisions: [Statement] {
    let (moves, links) = (family.moves, family.links)
    let each =
      moves.map { InsertWayBack(rows: KeptRows(table: $0.target, step: $0.adding.number)).locked(by: $0) }
      + moves.map(choose)
    guard !links.isEmpty else { return each }
    guard family.isForest else { return each + [agree] }
    let upwards = family.upwards
    return each + upwards.compactMap { heed(above: $0) }
      + upwards.reversed().compactMap { heed(below: $0) }
  }

  private func choose(_ move: MovedFamily.Move) -> Statement {
    let back = InsertWayBack(rows: KeptRows(table: move.target, step: move.adding.number))
    let referred: [SQL] = back.referred(besides: beside).map { "EXISTS (\($0))" }
    let taken = DeleteWayBack(rows: move.removed).isTaken(by: "e")
    let changed = isChanged(move)
    let cases: [SQL] =
      ["WHEN \(move.target.keyColumns[0]) IS NULL THEN 1"]
      + (referred.isEmpty ? [] : ["WHEN \(SQL.joined(referred, by: "\n OR ")) THEN 0"])
      + (changed.map { ["WHEN \($0) THEN 1"] } ?? []) + ["WHEN \(taken) THEN 2", "ELSE 3"]
    return Statement(
      .choose, step: move.removing.number, why: "a row that somebody has changed where it went stays there",
      """
      UPDATE \(Name.image) AS u
      SET    \(lines: ["\(move.own) = c.own", "\(move.back) = c.back"])
      FROM  (SELECT \(lines: ["array_agg(s.own ORDER BY s.place) AS own", "array_agg(CASE WHEN s.is_orphan THEN 0 WHEN s.own = 3 THEN 2 WHEN s.own = 0 THEN 0 ELSE 1 END ORDER BY s.place) AS back"])
             FROM  (SELECT \(lines: ["e.place", "CASE \(SQL.joined(cases, by: "\n"))\nEND AS own", "(\(isOrphan(move))) AS is_orphan"])
                    FROM   \(SQL.joined(move.rows, by: "\nCROSS  JOIN "))
                    LEFT   JOIN \(move.target.source) ON \(move.sameKey)
                    \(SQL.filtered(by: MovedFamily.Move.conditions))) AS s) AS c
      WHERE  \(ResolvedBatch.place)
      """)
  }

  /// True where a row refers to one that another batch has moved and that has stayed: batches go back from the last to the first, and a
  /// parent was moved with its last child, so by now it has come back or will not.
  private func isOrphan(_ move: MovedFamily.Move) -> SQL {
    let other = Identifier(trusted: "migrate other")
    let orphaned = family.links.compactMap { link -> SQL? in
      guard family.moves[link.child].adding.number == move.adding.number, let parents = link.parents else { return nil }
      let given: [SQL] = link.referring.map { "\($0) IS NOT NULL" }
      let same: [SQL] = zip(parents.columns, link.referring).map { "\(other).\($0) = \($1)" }
      return """
        \(SQL.joined(given, by: " AND "))
        AND NOT EXISTS (SELECT FROM \(parents.table) AS \(other) WHERE \(SQL.joined(same, by: " AND ")))
        AND ((\(list: link.referring)) IN (SELECT \(list: link.referred)
                                           FROM   \(lines: family.moves[link.parent].rows)
                                           \(SQL.filtered(by: MovedFamily.Move.conditions)))) IS NOT TRUE
        """
    }
    return orphaned.isEmpty ? "false" : .joined(orphaned, by: "\n OR ")
  }

  /// True where the row is there and not as it was added.
  private func isChanged(_ move: MovedFamily.Move) -> SQL? {
    let table = move.target
    guard let returned = move.returned else {
      let others = table.comparedColumns
      let images: [SQL] = others.map { move.after($0) ?? "CAST(NULL AS \($0.base))" }
      return others.isEmpty ? nil : ResolvedBatch.images(others.map { $0.plain(of: table.alias) }, .differFrom, images)
    }
    guard let digest = table.digest(of: table.alias) else { return nil }
    let columns = returned.keyNames + [Name.digest(move.adding.number)]
    return """
      ((\(list: move.keyAfter + [digest])) IN (SELECT \(list: columns.map { "a.\($0)" })
                                               FROM   \(lines: ["\(returned.relation) AS b", "unnest(\(list: columns.map { "b.\($0)" })) AS a(\(list: columns))"])
                                               WHERE  \(ResolvedBatch.placeRead))) IS NOT TRUE
      """
  }

  /// Of rows that refer to one that was moved: all but those of the family itself.
  private func beside(_ key: ForeignKey) -> SQL {
    guard let move = family.moves.first(where: { $0.target.table.oid == key.tableOID }) else { return "" }
    let other = Identifier(trusted: "migrate referring")
    return """
       AND ((\(list: move.target.key.map { "\(other).\($0.name)" })) IN (SELECT \(list: move.keyAfter)
                                                                         FROM   \(lines: move.rows)
                                                                         \(SQL.filtered(by: MovedFamily.Move.conditions)))) IS NOT TRUE
      """
  }

  private func heed(above parent: Int) -> Statement? {
    heed(family.links.filter { $0.parent == parent }, of: family.moves[parent], as: \.child)
  }

  private func heed(below child: Int) -> Statement? {
    heed(family.links.filter { $0.child == child }, of: family.moves[child], as: \.parent)
  }

  /// A row is as free to come back as the least of those that it is linked with. Asked of each row by itself the others are hashed; joined,
  /// each would be compared with each.
  private func heed(
    _ links: [MovedFamily.Link], of move: MovedFamily.Move, as other: KeyPath<MovedFamily.Link, Int>
  ) -> Statement? {
    guard !links.isEmpty else { return nil }
    func bound(_ level: Int) -> [SQL] {
      links.map { link in
        let (these, those) = other == \.child ? (link.referred, link.referring) : (link.referring, link.referred)
        let conditions = MovedFamily.Move.conditions + ["e.back = \(level)"]
        return """
          ((\(list: these)) IN (SELECT \(list: those)
                                FROM   \(lines: family.moves[link[keyPath: other]].rows)
                                \(SQL.filtered(by: conditions)))) IS TRUE
          """
      }
    }
    let cases: [SQL] = [0, 1].map { "WHEN \(SQL.joined(bound($0), by: "\n OR ")) THEN \($0)" } + ["ELSE 2"]
    return Statement(
      other == \.child ? .heedChildren : .heedParents, step: move.removing.number,
      why: other == \.child ? "nobody comes back without children" : "nobody comes back without a parent",
      """
      UPDATE \(Name.image) AS u
      SET    \(move.back) = c.back
      FROM  (SELECT array_agg(least(e.back, CASE \(SQL.joined(cases, by: "\n"))
                                            END) ORDER BY e.place) AS back
             FROM   \(lines: move.rows)
             \(SQL.filtered(by: MovedFamily.Move.conditions))) AS c
      WHERE  \(ResolvedBatch.place)
      """)
  }

  /// Where rows can be linked in rounds, a batch is one family.
  private var agree: Statement {
    let least: [SQL] = family.moves.map { "SELECT unnest(u.\($0.back)) AS back" }
    let filled: [SQL] = family.moves.map { move in
      "\(move.back) = CASE WHEN u.\(move.back) IS NOT NULL THEN array_fill(CAST((SELECT min(l.back) FROM (\(SQL.joined(least, by: " UNION ALL "))) AS l) AS integer), ARRAY[cardinality(u.\(move.back))]) END"
    }
    return Statement(
      .heedParents, step: family.moves.last?.removing.number,
      why: "rows that refer to one another in rounds, or have several parents: a batch comes back whole, or stays",
      """
      UPDATE \(Name.image) AS u
      SET    \(lines: filled)
      WHERE  \(ResolvedBatch.place)
      """)
  }

  // MARK: The steps

  func wayBack(of step: ResolvedStep) -> [Statement] {
    guard let move = family.moves.first(where: { $0.adding.number == step.number || $0.removing.number == step.number })
    else { return [] }
    return move.adding.number == step.number ? gone(move) : restored(move)
  }

  private func listed(_ step: Int, _ key: SQL, _ reason: SQL, _ move: MovedFamily.Move, _ condition: SQL) -> SQL {
    """
    INSERT INTO migrate.conflicts (run, step, seq, key, reason)
    SELECT \(Role.run), \(step), \(Role.seq), \(key), \(reason)
    FROM   \(lines: move.rows)
    \(SQL.filtered(by: MovedFamily.Move.conditions + [condition]))
    """
  }

  /// Rows of the source come back.
  private func restored(_ move: MovedFamily.Move) -> [Statement] {
    let step = move.removing.number
    let table = move.source
    let way = DeleteWayBack(rows: move.removed)
    let values = move.removed.keyNames + table.otherColumns.map { Name.old($0) }
    func insert(_ level: Int, _ conflict: SQL) -> SQL {
      """
      INSERT INTO \(table.source) (\(list: (table.key + table.otherColumns).map { "\($0.name)" })) OVERRIDING SYSTEM VALUE
      SELECT \(list: values.map { "e.\($0)" })
      FROM   \(lines: move.rows)
      \(SQL.filtered(by: MovedFamily.Move.conditions + ["e.back >= \(level)"]))\(conflict)
      """
    }
    let reason: SQL = "CASE WHEN e.own = 2 THEN 'gone' ELSE 'kept' END"
    return [
      Statement(
        .restore, step: step,
        why: "identities keep their values; who comes first under a key makes it fail, not vanish",
        "WITH back AS (\n  \(insert(2, ""))\n)\n\(listed(step, move.keyTextsBefore, reason, move, "e.back < 2 AND e.own >= 2"))"
      ),
      way.seize(of: move.rows, where: MovedFamily.Move.conditions + ["e.back >= 1"], row: "e"),
      Statement(
        .restoreForced, step: step, why: "under force rows come back over whatever has been kept",
        "WITH back AS (\n  \(insert(1, "\nON CONFLICT \(way.overwriting)"))\n)\n\(listed(step, move.keyTextsBefore, "'kept'", move, "e.back < 1 AND e.own >= 1"))"
      ),
      move.removed.look(at: table.storedColumns),
    ]
  }

  /// Rows of the target go.
  private func gone(_ move: MovedFamily.Move) -> [Statement] {
    let step = move.adding.number
    let table = move.target
    let rows = KeptRows(table: table, step: step)
    func delete(_ level: Int) -> SQL {
      """
      DELETE FROM \(table.source)
      USING  \(lines: move.rows)
      \(SQL.filtered(by: MovedFamily.Move.conditions + [move.sameKey, "e.back >= \(level)"]))
      """
    }
    let changed = isChanged(move)
    let conditions = MovedFamily.Move.conditions + [move.sameKey, "e.back >= 1", changed ?? "false"]
    return [
      Statement(
        .restore, step: step, why: "those that are back; they are locked since it was decided",
        "WITH back AS (\n  \(delete(2))\n)\n\(listed(step, move.keyTexts, "'gone'", move, "e.own <= 1"))"),
      Statement(
        .seize, step: step, why: "under force what is deleted is kept first where it is not what the run has inserted",
        """
        INSERT INTO migrate.conflicts (run, step, seq, key, reason, found)
        SELECT \(Role.run), \(step), \(Role.seq), \(move.keyTexts), 'overwritten', \(rows.found(table.storedColumns))
        FROM   \(lines: move.rows + [table.source])
        \(SQL.filtered(by: conditions))
        """),
      Statement(
        .restoreForced, step: step,
        why: "under force rows go whatever they hold by now, unless another one refers to them",
        "WITH back AS (\n  \(delete(1))\n)\n\(listed(step, move.keyTexts, "'gone'", move, "e.own = 0"))"),
      rows.look(at: table.storedColumns),
    ]
  }
}
