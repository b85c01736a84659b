internal import MigrateCatalog
internal import MigratePlan
internal import MigrateSQL

/// A source that is read once, when the run begins, into a table of the run's own. Logged, since a crash would empty any other (X26),
/// and what the steps have changed by then the query would find changed.
extension ResolvedBatch {
  /// `nil` where the rows are read live.
  var sourceTable: Statement? {
    guard sourceRows.isFrozen else { return nil }
    let columns: [SQL] = table.columns.map { column in
      let collation: SQL = column.collation.map { " COLLATE \($0)" } ?? ""
      return "\(column.name) \(column.type)\(collation)"
    }
    return Statement(
      .sourceTable,
      why: "the rows that batches walk from key to key: one that is NULL would be passed over, of two alike one",
      "CREATE TABLE \(Name.source) (\(lines: columns + ["PRIMARY KEY (\(list: key.map { "\($0.name)" }))"]))")
  }

  /// Reads the rows in the order of the key, and then makes that: an index is built more quickly of rows that are there.
  var freezing: [Statement] {
    guard case .frozen(let query) = sourceRows else { return [] }
    let columns: [SQL] = table.columns.map { "\($0.name)" }
    let order: [SQL] = key.map { "frozen.\($0.name)" }
    return [
      Statement(
        .freeze, why: "the key comes back when the rows are there", loosened),
      Statement(
        .freeze, why: "once, in one snapshot: what the steps change, or somebody else, is not found again",
        """
        INSERT INTO \(Name.source) (\(list: columns))
        SELECT *
        FROM  (\(query)) AS frozen
        ORDER  BY \(list: order)
        """),
      Statement(
        .freeze, why: "batches go from key to key, so each row has another one", keyed),
      Statement(.freeze, why: "a new table has no statistics (K27)", "ANALYZE \(Name.source)"),
    ]
  }

  private var loosened: SQL {
    let nullable: [SQL] = key.map { "ALTER \($0.name) DROP NOT NULL" }
    return "ALTER TABLE \(Name.source) \(lines: ["DROP CONSTRAINT \(Name.sourceKey)"] + nullable)"
  }

  /// What PostgreSQL says of the run's own table is said of the definition's source.
  private var keyed: SQL {
    let names = key.map(\.name.name)
    var tag = "key"
    while names.contains(where: { $0.contains(tag) }) { tag += "_" }
    let quote = SQL(pieces: [.text("$\(tag)$")])
    let list = names.joined(separator: ", ")
    return """
      DO \(quote)
      DECLARE
        detail text;
      BEGIN
        ALTER TABLE \(Name.source) ADD CONSTRAINT \(Name.sourceKey) PRIMARY KEY (\(list: key.map { "\($0.name)" }));
      EXCEPTION
        WHEN unique_violation THEN
          GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
          RAISE EXCEPTION 'the source has several rows of one key: %', detail
          USING ERRCODE = 'MG002', HINT = \(Literal("group the query by the key (\(list)), or name columns that together are another in each row"));
        WHEN not_null_violation THEN
          RAISE EXCEPTION USING ERRCODE = 'MG002', MESSAGE = \(Literal("the source has a row whose key (\(list)) is NULL, and batches would pass it over")),
                                HINT = 'leave such rows out of the query, or give them a key';
      END \(quote)
      """
  }
}
