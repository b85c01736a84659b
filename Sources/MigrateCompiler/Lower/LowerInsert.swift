internal import MigrateCatalog
internal import MigratePlan
internal import MigrateSQL

/// Where the way back finds the rows that a step has added.
enum Addition: Sendable {
  /// With the batch: what the rows will be is told by the capture, which reads the same rows.
  case foreseen
  /// With the step that removes the rows which this one has copied.
  case moved(ResolvedStep)
  /// In a table of its own, as RETURNING has shown them, with what defaults have given.
  case returned
}

extension ResolvedBatch {
  /// Where the rows of an insert are kept.
  func addition(of step: ResolvedStep) -> Addition {
    guard case .insert(let table, let assignments, let skipping) = step.verb, skipping.isEmpty, !step.readsOtherRows,
      !table.isRewritten,
      !assignments.contains(where: \.isVolatile),
      table.storedColumns.allSatisfy({ column in
        assignments.contains { $0.column.number == column.number } || !column.hasDefault && !column.isIdentity
      })
    else { return .returned }
    switch step.rows {
    case .batch: return judges ? .returned : .foreseen
    case .query: return .returned
    case .moved(let moved):
      let remover = steps.first { $0.number == moved.removedBy }
      // What is computed of the others is not kept.
      guard let remover, !moved.table.columns.contains(where: \.isGenerated) else { return .returned }
      return .moved(remover)
    }
  }

  /// What the capture keeps of a row of the batch for a step.
  struct KeptOfStep: Sendable {
    let name: SQL
    let type: SQL
    let value: SQL
    /// Whether the value names columns of `batch`, or else of the source.
    let isOfBatch: Bool
    /// Whether rows are found by it.
    var isKey = false
  }

  /// What the capture keeps for the steps: of the rows that one adds, or removes.
  var keptOfSteps: [KeptOfStep] { steps.flatMap { undone($0) == nil ? kept(of: $0) : [] } }

  private func kept(of step: ResolvedStep) -> [KeptOfStep] {
    switch step.verb {
    case .insert(let table, let assignments, _):
      guard case .foreseen = addition(of: step) else { return [] }
      func value(_ column: Column) -> SQL { Self.assigned(column, assignments) }
      let keys =
        hasKeyOfBatch(table, assignments)
        ? []
        : table.key.enumerated().map { index, column in
          KeptOfStep(
            name: Name.added(step.number, index), type: "\(column.base)",
            value: column.isDomain ? "CAST(\(value(column)) AS \(column.base))" : value(column), isOfBatch: true,
            isKey: true)
        }
      guard let digest = table.digest(value) else { return keys }
      return keys + [KeptOfStep(name: Name.digest(step.number), type: "bigint", value: digest, isOfBatch: true)]
    case .delete(let table, _):
      let keys =
        hasKeyOfBatch(table)
        ? []
        : table.key.enumerated().map { index, column in
          KeptOfStep(
            name: Name.added(step.number, index), type: "\(column.base)", value: column.plain(of: alias),
            isOfBatch: false, isKey: true)
        }
      return keys
        + table.otherColumns.map {
          KeptOfStep(
            name: Name.old($0), type: $0.element(step: step.number), value: $0.kept(of: alias, step: step.number),
            isOfBatch: false)
        }
    case .update, .emit, .notify: return []
    }
  }

  /// What a column of a new row will hold: what is too long for it the insert refuses, so a cast that cuts cuts nothing else.
  static func assigned(_ column: Column, _ assignments: [ResolvedAssignment]) -> SQL {
    let value: SQL = assignments.first { $0.column.number == column.number }?.value ?? "NULL"
    return "CAST(\(value) AS \(column.type))"
  }

  /// Whether the key of a new row is that of its row of the batch, which is kept already.
  private func hasKeyOfBatch(_ table: WrittenTable, _ assignments: [ResolvedAssignment]) -> Bool {
    // A name that SQL leaves as it is may stand without its quotes.
    func bare(_ sql: SQL) -> [UInt8] { RenderedSQL(sql).text.utf8.filter { $0 != UInt8(ascii: "\"") } }
    return table.key.count == key.count
      && zip(table.key, key).allSatisfy { own, source in
        let given = assignments.first { $0.column.number == own.number }
        return own.type == source.type && own.typeOID == source.typeOID
          && given.map { bare($0.value) } == bare("\(Resolver.batch).\(source.name)")
      }
  }

  private func hasKeyOfBatch(_ table: WrittenTable) -> Bool { table.key.map(\.number) == key.map(\.number) }

  /// The rows that a step has written, as they are kept.
  func kept(_ table: WrittenTable, by step: ResolvedStep) -> KeptRows {
    switch step.verb {
    case .insert: return added(table, by: step)
    case .delete(_, let match) where step.isOwn(table, match, self):
      let names = hasKeyOfBatch(table) ? keyNames : table.key.indices.map { Name.added(step.number, $0) }
      return KeptRows(table: table, step: step.number, relation: Name.image, keyNames: names)
    case .delete, .update, .emit, .notify: return KeptRows(table: table, step: step.number)
    }
  }

  private func added(_ table: WrittenTable, by step: ResolvedStep) -> KeptRows {
    guard case .insert(_, let assignments, _) = step.verb else { return KeptRows(table: table, step: step.number) }
    switch addition(of: step) {
    case .returned: return KeptRows(table: table, step: step.number)
    case .foreseen:
      let names =
        hasKeyOfBatch(table, assignments) ? keyNames : table.key.indices.map { Name.added(step.number, $0) }
      return KeptRows(table: table, step: step.number, relation: Name.image, keyNames: names)
    case .moved(let remover):
      guard let moved = remover.written else { return KeptRows(table: table, step: step.number) }
      let removed = kept(moved, by: remover)
      let columns = Array(zip(removed.keyNames, moved.key)) + moved.otherColumns.map { (Name.old($0), $0) }
      let arrays: [SQL] = columns.map { "b.\($0.0)" }
      let values =
        table.key.enumerated().map { (Name.key($0), $1) } + table.comparedColumns.map { (Name.new($0), $0) }
      return KeptRows(
        table: table, step: step.number, relation: removed.relation,
        derived: KeptRows.Derived(
          from: "unnest(\(list: arrays)) AS \(Resolver.moved)(\(list: columns.map { "\($0.1.name)" }))",
          values: values.map { name, column in
            let value = Self.assigned(column, assignments)
            return (name, column.isDomain || column.isWrapped ? "CAST(\(value) AS \(column.base))" : value)
          }, counted: removed.keyNames[0]))
    }
  }
}

extension ResolvedStep {
  func insert(_ table: WrittenTable, _ assignments: [ResolvedAssignment], _ batch: ResolvedBatch) -> Statement {
    switch batch.addition(of: self) {
    case .foreseen, .moved:
      return Statement(
        .change, step: number,
        why: "what the rows are is kept already, so nothing is asked of the insert but their number",
        "WITH \(batch.tables(of: self, reading(batch)))\n\(insertion(table.source, assignments, orderedBy: batch.key))")
    case .returned: break
    }
    let digest: [SQL] = table.digest { $0.plain(of: table.alias) }.map { ["\($0) AS \(Name.digest(number))"] } ?? []
    let names = table.key.indices.map { Name.key($0) } + (digest.isEmpty ? [] : [Name.digest(number)])
    return Statement(
      .change, step: number,
      why: "the keys are kept, as RETURNING shows them, and what tells whether somebody changes the rows",
      """
      WITH \(batch.tables(of: self, reading(batch))), added AS (
        \(insertion(table.source, assignments, orderedBy: batch.key))
        RETURNING \(lines: keys(table) + digest)
      )
      INSERT INTO \(Name.undo(number)) (slice, ordinal, part, \(list: names + ["exact"]))
      SELECT \(lines: [ResolvedBatch.placeValues] + names.map { "array_agg(s.\($0))" } + ["true"])
      FROM  (SELECT * FROM added ORDER BY \(list: table.key.indices.map { Name.key($0) })) AS s
      """)
  }

  /// How the rows are read that it works from.
  func reading(_ batch: ResolvedBatch) -> ResolvedBatch.BatchRows {
    switch rows {
    case .batch, .query(_, _, joins: false): batch.rowsByThemselves(before: number)
    case .query: .captured
    case .moved(let moved): moved.isOwn ? batch.rowsByThemselves(before: number) : .captured
    }
  }

  /// In the order of the batch, so that a sequence numbers the rows alike whichever way they are read.
  func insertion(_ table: SQL, _ assignments: [ResolvedAssignment], orderedBy key: [Column]) -> SQL {
    // Numbers that the row brings along count before those that an identity would give it.
    let overriding: SQL = assignments.contains(where: \.column.isIdentity) ? " OVERRIDING SYSTEM VALUE" : ""
    let insert: SQL = """
      INSERT INTO \(table) (\(list: assignments.map { "\($0.column.name)" }))\(overriding)
      SELECT \(lines: assignments.map(\.value))
      FROM   \(rows.name)
      """
    let ordered: SQL =
      switch rows {
      case .batch: insert + "\nORDER  BY \(list: key.map { "batch.\($0.name)" })"
      case .query, .moved: insert
      }
    guard case .insert(_, _, let skipping) = verb, !skipping.isEmpty else { return ordered }
    return ordered + "\nON CONFLICT (\(list: skipping.map { "\($0.name)" })) DO NOTHING"
  }
}

extension ResolvedStep {
  /// Moves the sequences of columns on whose values are given: else they give them once more. One at a time, since what two say of
  /// different numbers must not end with the smaller one; no rollback takes that back.
  func sequences(_ table: WrittenTable, _ assignments: [ResolvedAssignment]) -> [Statement] {
    let moved = assignments.map(\.column).filter { $0.sequence != nil && table.table.leads($0) }
    return moved.compactMap { column in
      guard let sequence = column.sequence?.name else { return nil }
      let name = "\(sequence.schema.quoted).\(sequence.name.quoted)"
      return Statement(
        .moveOn(column: column.number), step: number, why: "what is given is not given once more by the sequence",
        """
        WITH locked AS MATERIALIZED (
          SELECT CAST(pg_advisory_xact_lock(hashtextextended(\(Literal("migrate \(name)")), 0)) AS text) AS here
        )
        SELECT setval(\(Literal(name)), s.greatest)
        FROM   locked,
               LATERAL (SELECT last_value,
                               (SELECT CAST(max(\(table.alias).\(column.name)) AS bigint) FROM \(table.source)) AS greatest
                        FROM   \(sequence)
                        WHERE  locked.here IS NOT NULL) AS s
        WHERE  s.greatest > s.last_value
        """)
    }
  }
}
