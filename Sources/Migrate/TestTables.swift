internal import MigrateCompiler
internal import MigrateDefinition
internal import MigrateDiagnostics
internal import MigrateJSON
internal import MigratePostgres
internal import MigrateSQL

/// The rows of a test in their tables. Its own are those whose versions are of its transaction; all others were there before.
struct TestTables {
  /// The number of the test's transaction.
  let first: String
  let source: SourceText

  /// A table as SQL names it.
  func name(_ table: Located<TableReference>) -> String {
    let name = Identifier(trusted: table.value.name).quoted
    return table.value.schema.map { "\(Identifier(trusted: $0).quoted).\(name)" } ?? name
  }

  func problem(_ span: SourceSpan, _ message: String) -> TestProblem {
    TestProblem(line: source.position(of: span.start).line, message: message)
  }

  /// What no column of a table is called, so that it is the row.
  private static let row = "\"migrate row\""

  /// Numbers go round in a circle of 2^32, of which half lies ahead.
  private var isOwn: String {
    "((CAST(CAST(\(Self.row).xmin AS text) AS bigint) - \(first)) & 4294967295) < 2147483648"
  }

  /// The table's columns with their types, a padded one with its length: as it is compared, no digit of a value is cut off.
  ///
  /// - Throws: `problem` where there is no such table.
  func columns(
    _ table: Located<TableReference>, _ connection: borrowing Connection
  ) throws(TestEnd) -> [String: String] {
    do throws(PostgresError) {
      var types: [String: String] = [:]
      let found = try connection.query(
        """
        SELECT a.attname, format_type(a.atttypid, CASE WHEN a.atttypid = 'bpchar'::regtype THEN a.atttypmod END) AS type
        FROM   pg_class AS c
        JOIN   pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE  c.oid = to_regclass($1::text) AND c.relkind IN ('r', 'p')
        """, [name(table)])
      for row in found { types[try row.text("attname")] = try row.text("type") }
      if !types.isEmpty { return types }
    } catch { throw .database(error) }
    throw .problem(problem(table.span, "there is no table \(table.value.spelled)"))
  }

  /// The columns that a row names, as a record of JSON is read: of no other column anything is asked.
  private func record(
    _ values: [TestValue], _ types: [String: String], of table: Located<TableReference>
  ) throws(TestEnd) -> String {
    var columns: [String] = []
    for value in values {
      guard let type = types.first(where: { $0.key.utf8.elementsEqual(value.name.value.utf8) })?.value else {
        throw .problem(
          problem(value.name.span, "\(table.value.spelled) has no column \"\(value.name.value)\""))
      }
      columns.append("\(Identifier(trusted: value.name.value).quoted) \(type)")
    }
    return columns.joined(separator: ", ")
  }

  /// `body`, of which nothing stays when it fails; then what the database says of it is a problem of the row.
  func trying<Value>(
    _ span: SourceSpan, _ words: String, _ connection: borrowing Connection,
    _ body: () throws(PostgresError) -> Value
  ) throws(TestEnd) -> Value {
    do throws(PostgresError) {
      try connection.execute("SAVEPOINT tried")
      let value = try body()
      try connection.execute("RELEASE SAVEPOINT tried")
      return value
    } catch {
      guard !error.endsConnection, (try? connection.execute("ROLLBACK TO SAVEPOINT tried")) != nil else {
        throw .database(error)
      }
      throw .problem(problem(span, "\(words): \(error.message)"))
    }
  }

  // MARK: Given

  /// Inserts a row. Not behind a savepoint, which would give it another number than the test's.
  func insert(
    _ row: TestRow, _ table: Located<TableReference>, _ types: [String: String], _ connection: borrowing Connection
  ) throws(TestEnd) {
    let columns = row.values.map { Identifier(trusted: $0.name.value).quoted }
    let record = try record(row.values, types, of: table)
    let sql =
      columns.isEmpty
      ? "INSERT INTO \(name(table)) DEFAULT VALUES"
      : """
      INSERT INTO \(name(table)) (\(columns.joined(separator: ", "))) OVERRIDING SYSTEM VALUE
      SELECT * FROM jsonb_to_record($1::jsonb) AS \(Self.row)(\(record))
      """
    do throws(PostgresError) {
      let rows = try connection.query(sql, columns.isEmpty ? [] : [row.document.compact])
      if rows.affectedRows != 0 { return }
    } catch {
      guard !error.endsConnection else { throw .database(error) }
      throw .problem(problem(row.span, "\(table.value.spelled): this row is refused: \(error.message)"))
    }
    throw .problem(problem(row.span, "\(table.value.spelled): a trigger keeps this row from being inserted"))
  }

  /// The keys of the test's own rows of a table, in order.
  func keys(_ relation: String, _ key: [String], _ connection: borrowing Connection) throws(PostgresError)
    -> [[String?]]
  {
    let columns = key.map { "\(Self.row).\(Identifier(trusted: $0).quoted)" }
    let texts = columns.map { "CAST(\($0) AS text)" }.joined(separator: ", ")
    let rows = try connection.query(
      "SELECT \(texts) FROM \(relation) AS \(Self.row) WHERE \(isOwn) ORDER BY \(columns.joined(separator: ", "))")
    return try rows.map { (row) throws(PostgresError) in try row.values }
  }

  // MARK: Expected

  /// What is there of the test's own rows and is not expected, and what is expected and not there.
  func compare(_ expected: TestRows, _ connection: borrowing Connection) throws(TestEnd) -> [TestProblem] {
    let types = try columns(expected.table, connection)
    let table = expected.table.value.spelled
    let found = try trying(expected.table.span, table, connection) { () throws(PostgresError) in
      try json(
        connection.query(
          """
          SELECT coalesce(json_agg(to_jsonb(\(Self.row)) ORDER BY CAST(to_jsonb(\(Self.row)) AS text)), '[]') AS rows
          FROM   \(name(expected.table)) AS \(Self.row)
          WHERE  \(isOwn)
          """
        ).onlyRow.text("rows")
      ).elements
    }
    var fits: [[Int]] = []
    for row in expected.rows {
      let record = try record(row.values, types, of: expected.table)
      guard !record.isEmpty else {
        fits.append(Array(found.indices))
        continue
      }
      fits.append(
        try trying(row.span, table, connection) { () throws(PostgresError) in
          let places = try connection.query(
            """
            SELECT f.place - 1 AS place
            FROM   jsonb_to_record($1::jsonb) AS \(Self.row)(\(record))
            CROSS  JOIN jsonb_array_elements($2::jsonb) WITH ORDINALITY AS f(found, place)
            WHERE  f.found @> '{}' AND NOT EXISTS (SELECT FROM jsonb_each(to_jsonb(\(Self.row))) AS e
                                                   WHERE e.value IS DISTINCT FROM f.found -> e.key)
            """, [row.document.compact, JSON.array(found).compact])
          return try places.map { (row) throws(PostgresError) in try row.int(0) }
        })
    }
    let matching = Matching(fits, of: found.count)
    // What a row has that no expected one names is told by these.
    let named = expected.rows.flatMap(\.values).map(\.name.value)
    let missing = expected.rows.enumerated().filter { matching.partner[$0.offset] == nil }.map { _, row in
      problem(row.span, "\(table): no row like this one is there")
    }
    let surplus = found.enumerated().filter { !matching.taken.contains($0.offset) }.map { _, row in
      let shown = row.members.filter { named.isEmpty || named.contains($0.name) }
      return problem(expected.table.span, "\(table): unexpected \(JSON.object(shown).compact)")
    }
    return missing + surplus
  }

  private func json(_ text: String) throws(PostgresError) -> JSON {
    do { return try JSON(text) } catch { throw .unreadable("rows of a test are no JSON: \(error)") }
  }

  // MARK: As they were

  /// How many rows of a table were there before and are, as they were.
  func strangers(_ table: Located<TableReference>, _ connection: borrowing Connection) throws(PostgresError) -> Int {
    try connection.query("SELECT count(*) FROM \(name(table)) AS \(Self.row) WHERE NOT \(isOwn)").onlyRow.int(0)
  }

  /// The columns of a table's primary key; empty where it has none.
  func primaryKey(_ table: Located<TableReference>, _ connection: borrowing Connection) throws(PostgresError)
    -> [String]
  {
    let rows = try connection.query(
      """
      SELECT a.attname
      FROM   pg_index AS i
      CROSS  JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k(number, place)
      JOIN   pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.number
      WHERE  i.indrelid = to_regclass($1::text) AND i.indisprimary
      ORDER  BY k.place
      """, [name(table)])
    return try rows.map { (row) throws(PostgresError) in try row.text(0) }
  }

  /// Of these keys how many are of rows that were there before.
  func strangers(
    among keys: [[String?]], _ key: [String], _ table: Located<TableReference>, _ connection: borrowing Connection
  ) throws(PostgresError) -> Int {
    let columns = key.map { "CAST(\(Self.row).\(Identifier(trusted: $0).quoted) AS text)" }.joined(separator: ", ")
    return try connection.query(
      """
      SELECT count(*)
      FROM   \(name(table)) AS \(Self.row)
      WHERE  NOT \(isOwn) AND ARRAY[\(columns)] IN (SELECT CAST(k AS text[]) FROM unnest($1::text[]) AS k)
      """, [ArrayText.literal(keys.map { ArrayText.literal($0) })]
    ).onlyRow.int(0)
  }

  /// The test's own rows of a table.
  func own(_ table: Located<TableReference>, _ connection: borrowing Connection) throws(PostgresError) -> String {
    try connection.query(
      """
      SELECT coalesce(jsonb_agg(to_jsonb(\(Self.row))), '[]') AS rows FROM \(name(table)) AS \(Self.row) WHERE \(isOwn)
      """
    ).onlyRow.text("rows")
  }

  /// Those of `before` that are not there any more.
  func lacking(
    _ before: String, _ table: Located<TableReference>, _ connection: borrowing Connection
  ) throws(PostgresError) -> [TestProblem] {
    let rows = try connection.query(
      """
      SELECT b.found FROM jsonb_array_elements($1::jsonb) AS b(found)
      EXCEPT ALL
      SELECT to_jsonb(\(Self.row)) FROM \(name(table)) AS \(Self.row) WHERE \(isOwn)
      """, [before])
    return try rows.map { (row) throws(PostgresError) in
      problem(table.span, "\(table.value.spelled): a revert does not give back \(try row.text(0))")
    }
  }
}

extension TestRow {
  /// As PostgreSQL reads it, a column of a type of JSON included.
  var document: JSON {
    .object(values.map { JSON.Member($0.name.value, ConstantJSON.document($0.value)) })
  }
}

extension TableReference {
  var spelled: String { schema.map { "\($0).\(name)" } ?? name }
}

/// Which expected row is which found one, so that as many as possible are.
struct Matching {
  private(set) var partner: [Int?]
  private(set) var taken: Set<Int> = []
  private var owner: [Int?]

  /// - Parameters:
  ///   - fits: for each expected row the found ones that it describes.
  ///   - count: how many are found.
  init(_ fits: [[Int]], of count: Int) {
    partner = Array(repeating: nil, count: fits.count)
    owner = Array(repeating: nil, count: count)
    for row in fits.indices {
      var seen: Set<Int> = []
      _ = place(row, fits, &seen)
    }
    taken = Set(partner.compactMap(\.self))
  }

  /// Takes one for `row`, and finds another one for whoever had it.
  private mutating func place(_ row: Int, _ fits: [[Int]], _ seen: inout Set<Int>) -> Bool {
    for found in fits[row] where seen.insert(found).inserted {
      if let other = owner[found], !place(other, fits, &seen) { continue }
      owner[found] = row
      partner[row] = found
      return true
    }
    return false
  }
}
