internal import MigrateCatalog
internal import MigratePlan
internal import MigrateSQL

/// How the rows of a step are found again, by what it has kept of them.
struct KeptRows: Sendable {
  let table: WrittenTable
  let step: Int
  /// What has a row `b` for each batch.
  let relation: SQL
  /// The names of the key's columns.
  let keyNames: [SQL]
  /// How the rows are computed of what is kept of others; `nil` where they are kept themselves.
  let derived: Derived?

  struct Derived: Sendable {
    /// What is kept of the others, as rows.
    let from: SQL
    let values: [(name: SQL, value: SQL)]
    /// An array that has an element for each of them.
    let counted: SQL
  }

  init(table: WrittenTable, step: Int, relation: SQL? = nil, keyNames: [SQL]? = nil, derived: Derived? = nil) {
    self.table = table
    self.step = step
    self.relation = relation ?? Name.undo(step)
    self.keyNames = keyNames ?? table.key.indices.map { Name.key($0) }
    self.derived = derived
  }

  /// The batch's rows `d` with these columns: what stands behind FROM.
  func unnested(_ columns: [SQL], as row: SQL = "d") -> [SQL] { ["\(relation) AS b", each(columns, as: row)] }

  /// Whether they are kept with the batch itself.
  var isWithBatch: Bool { RenderedSQL(relation).text == RenderedSQL(Name.image).text }

  /// The rows of `b`.
  func each(_ columns: [SQL], as row: SQL = "d") -> SQL {
    guard let derived else {
      return "unnest(\(list: columns.map { "b.\($0)" })) AS \(row)(\(list: columns))"
    }
    let names = Set(columns.map { RenderedSQL($0).text })
    let values: [SQL] = derived.values.filter { names.contains(RenderedSQL($0.name).text) }.map {
      "\($0.value) AS \($0.name)"
    }
    return "LATERAL (SELECT \(list: values) FROM \(derived.from)) AS \(row)"
  }

  /// An array of `b` that has an element for each row.
  var counted: SQL { derived?.counted ?? keyNames[0] }

  /// The table's row that `d` is about.
  var sameKey: SQL { .joined(zip(table.keyColumns, keyNames).map { "\($0) = d.\($1)" }, by: " AND ") }

  /// The key of `d` as the ledger keeps it.
  var keyTexts: SQL { "ARRAY[\(list: zip(table.key, keyNames).map { $0.text(of: "d.\($1)") })]" }

  var returnedKeys: [SQL] { zip(table.keyColumns, keyNames).map { "\($0) AS \($1)" } }

  /// The rows that `back` has not met, written down. What became of those is not known here: the statement may have waited for them, and
  /// what it reads is older. EXCEPT hashes or sorts; a join would be planned for the ten rows that PostgreSQL expects of an array, and
  /// walk all for each. Where every row is back there is nothing to look for.
  var conflictsOfBack: SQL {
    """
    INSERT INTO migrate.conflicts (run, step, seq, key, reason)
    SELECT \(Role.run), \(step), \(Role.seq), \(keyTexts), 'gone'
    FROM  (SELECT \(list: keyNames.map { "d.\($0)" })
           FROM   \(lines: unnested(keyNames))
           WHERE  \(ResolvedBatch.placeRead)
             AND  cardinality(b.\(counted)) > (SELECT count(*) FROM back)
           EXCEPT
           SELECT \(list: keyNames) FROM back) AS d
    """
  }

  /// What these columns hold now, as JSON. Of two arrays: a function takes no more than a hundred arguments.
  func found(_ columns: [Column]) -> SQL {
    let names: [SQL] = columns.map { "\(Literal($0.name.name))" }
    let values: [SQL] = columns.map { "CAST(\($0.plain(of: table.alias)) AS text)" }
    return """
      jsonb_object(ARRAY[\(list: names)],
                   ARRAY[\(list: values)])
      """
  }

  /// A statement of its own, since only a new one sees what the restoring one has waited for.
  func look(at columns: [Column]) -> Statement {
    let keys: [SQL] = zip(table.keyColumns, table.key).enumerated().map { index, pair in
      "\(pair.0) = CAST(c.key[\(index + 1)] AS \(pair.1.keyType))"
    }
    return Statement(
      .look, step: step, why: "what is there instead of the values that the run had left",
      """
      UPDATE migrate.conflicts AS c
      SET    reason = 'edited',
             found = \(found(columns))
      FROM   \(table.source)
      WHERE  (c.run, c.step, c.seq) = (\(Role.run), \(step), \(Role.seq))
        AND  c.reason = 'gone'
        AND  \(SQL.joined(keys, by: " AND "))
      """)
  }
}

/// The way back of an update: each row whose image is still ours gets its old values.
struct UpdateWayBack: Sendable {
  let table: WrittenTable
  /// Those that the definition writes.
  let columns: [Column]
  let step: Int
  /// Behind the CTE `back`: what else is to be known of the rows that came back.
  let noteBack: SQL

  private var rows: KeptRows { KeptRows(table: table, step: step) }

  var statements: [Statement] { [restore, seize, restoreForced, rows.look(at: columns)] }

  /// Compares the written columns with what the run left in them, byte for byte.
  private func images(_ relation: ResolvedBatch.ImageRelation) -> SQL {
    ResolvedBatch.images(
      columns.map { $0.plain(of: table.alias) }, relation, columns.map { "d.\(Name.new($0))" })
  }

  private var isOurs: SQL { images(.equal) }
  var isChanged: SQL { images(.differFrom) }

  /// Compares and writes in one statement: a row that changes while it waits is compared again in its newest version. Checked
  /// in one statement and written in the next, the edit would be lost.
  private var restore: Statement {
    Statement(
      .restore, step: step, why: "one statement compares and writes, so no edit is lost between the two",
      restoring(where: isOurs))
  }

  /// Writes the old values where `condition` holds and lists the rows that it has not written.
  private func restoring(where condition: SQL) -> SQL {
    let names = rows.keyNames + columns.flatMap { [Name.old($0), Name.new($0)] }
    return """
      WITH back AS (
        UPDATE \(table.source)
        SET    \(lines: columns.map { "\($0.name) = d.\(Name.old($0))" })
        FROM   \(lines: rows.unnested(names))
        WHERE  \(ResolvedBatch.placeRead)
          AND  \(rows.sameKey)
          AND  \(condition)
        RETURNING \(list: rows.returnedKeys)
      )\(noteBack)
      \(rows.conflictsOfBack)
      """
  }

  /// Under `force`: keeps what will be overwritten, with the rows locked so that it stays what it is. The comparison stands
  /// outside of what locks, and must: pushed down into it, a row that is still ours would be passed over and not waited for.
  private var seize: Statement {
    let names = rows.keyNames + columns.map { Name.new($0) }
    return Statement(
      .seize, step: step, why: "under force what is overwritten is kept first, and the rows locked meanwhile",
      """
      WITH d AS MATERIALIZED (
        SELECT \(lines: rows.keyNames.map { "d.\($0)" } + ["\(isChanged) AS differs", "\(rows.found(columns)) AS found"])
        FROM   \(lines: rows.unnested(names) + [table.source])
        WHERE  \(ResolvedBatch.placeRead)
          AND  \(rows.sameKey)
        FOR    NO KEY UPDATE OF \(table.alias)
      )
      INSERT INTO migrate.conflicts (run, step, seq, key, reason, found)
      SELECT \(Role.run), \(step), \(Role.seq), \(rows.keyTexts), 'overwritten', d.found
      FROM   d
      WHERE  d.differs
      """)
  }

  /// A row that came in after the others were seized is neither ours nor kept, so it is not touched.
  private var restoreForced: Statement {
    let kept: SQL = """
      EXISTS (SELECT
              FROM   migrate.conflicts AS c
              WHERE  (c.run, c.step, c.seq) = (\(Role.run), \(step), \(Role.seq))
                AND  c.key = \(rows.keyTexts))
      """
    return Statement(
      .restoreForced, step: step, why: "under force the old values come back over whatever has been kept",
      restoring(where: "(\(isOurs)\n OR \(kept))")
        // Kept, and then a trigger has kept it from being overwritten.
        + "\nON CONFLICT (run, step, seq, key) DO UPDATE SET reason = 'edited'")
  }
}
