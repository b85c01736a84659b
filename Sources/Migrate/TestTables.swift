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

  func exists(_ table: Located<TableReference>, _ connection: borrowing Connection) throws(PostgresError) -> Bool {
    try connection.query("SELECT to_regclass($1::text) IS NOT NULL AS there", [name(table)]).onlyRow.bool("there")
  }

  /// Numbers go round in a circle of 2^32, of which half lies ahead.
  private var isOwn: String { "((CAST(CAST(t.xmin AS text) AS bigint) - \(first)) & 4294967295) < 2147483648" }

  // MARK: Given

  /// Inserts a row; the values of these columns of it.
  func insert(
    _ row: TestRow, _ table: Located<TableReference>, returning key: [String], _ connection: borrowing Connection
  ) throws(PostgresError) -> [String?] {
    let columns = row.values.map { Identifier(trusted: $0.name.value).quoted }
    let list = columns.joined(separator: ", ")
    let values = columns.isEmpty ? "SELECT FROM" : "SELECT \(columns.map { "r.\($0)" }.joined(separator: ", ")) FROM"
    let returned = key.map { "CAST(t.\(Identifier(trusted: $0).quoted) AS text)" }.joined(separator: ", ")
    return try connection.query(
      """
      INSERT INTO \(name(table)) AS t \(columns.isEmpty ? "" : "(\(list)) OVERRIDING SYSTEM VALUE")
      \(values) jsonb_populate_record(CAST(NULL AS \(name(table))), $1::jsonb) AS r
      \(key.isEmpty ? "" : "RETURNING \(returned)")
      """, [row.document.compact]
    ).first?.values ?? []
  }

  // MARK: Expected

  /// What is there of the test's own rows and is not expected, and what is expected and not there.
  func compare(_ expected: TestRows, _ connection: borrowing Connection) throws(PostgresError) -> [TestProblem] {
    guard try exists(expected.table, connection) else {
      return [problem(expected.table.span, "there is no table \(expected.table.value.spelled)")]
    }
    if let unknown = try unknownColumn(expected, connection) { return [unknown] }
    let answer = try connection.query(
      """
      WITH expected AS (
        SELECT e.place - 1 AS place, e.item, to_jsonb(r) AS row
        FROM   jsonb_array_elements($1::jsonb) WITH ORDINALITY AS e(item, place)
        CROSS  JOIN LATERAL jsonb_populate_record(CAST(NULL AS \(name(expected.table))), e.item) AS r
      ), found AS (
        SELECT row_number() OVER (ORDER BY CAST(to_jsonb(t) AS text)) - 1 AS place, to_jsonb(t) AS row
        FROM   \(name(expected.table)) AS t
        WHERE  \(isOwn)
      )
      SELECT (SELECT coalesce(json_agg(f.row ORDER BY f.place), '[]') FROM found AS f) AS found,
             (SELECT coalesce(json_agg(json_build_array(e.place, f.place)), '[]')
              FROM   expected AS e
              JOIN   found    AS f
                     ON NOT EXISTS (SELECT FROM jsonb_object_keys(e.item) AS k WHERE e.row -> k IS DISTINCT FROM f.row -> k)) AS pairs
      """, [JSON.array(expected.rows.map(\.document)).compact]
    ).onlyRow
    let found = try json(answer.text("found")).elements
    var fits = Array(repeating: [Int](), count: expected.rows.count)
    for pair in try json(answer.text("pairs")).elements {
      if let left = pair.elements.first?.integer, let right = pair.elements.last?.integer { fits[left].append(right) }
    }
    let matching = Matching(fits, of: found.count)
    // What a row has that no expected one names is told by these.
    let named = expected.rows.flatMap(\.values).map(\.name.value)
    let missing = expected.rows.enumerated().filter { matching.partner[$0.offset] == nil }.map { _, row in
      problem(row.span, "\(expected.table.value.spelled): no row like this one is there")
    }
    let surplus = found.enumerated().filter { !matching.taken.contains($0.offset) }.map { _, row in
      problem(
        expected.table.span,
        "\(expected.table.value.spelled): unexpected \(JSON.object(row.members.filter { named.isEmpty || named.contains($0.name) }).compact)"
      )
    }
    return missing + surplus
  }

  private func unknownColumn(
    _ expected: TestRows, _ connection: borrowing Connection
  ) throws(PostgresError) -> TestProblem? {
    let columns = try connection.query(
      "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass($1::text) AND attnum > 0 AND NOT attisdropped",
      [name(expected.table)])
    let known = try columns.map { (row) throws(PostgresError) in try row.text(0) }
    for value in expected.rows.flatMap(\.values)
    where !known.contains(where: { $0.utf8.elementsEqual(value.name.value.utf8) }) {
      return problem(value.name.span, "\(expected.table.value.spelled) has no column \"\(value.name.value)\"")
    }
    return nil
  }

  private func json(_ text: String) throws(PostgresError) -> JSON {
    do { return try JSON(text) } catch { throw .unreadable("rows of a test are no JSON: \(error)") }
  }

  // MARK: As they were

  /// The test's own rows of a table.
  func own(_ table: Located<TableReference>, _ connection: borrowing Connection) throws(PostgresError) -> String {
    try connection.query(
      "SELECT coalesce(jsonb_agg(to_jsonb(t)), '[]') AS rows FROM \(name(table)) AS t WHERE \(isOwn)"
    ).onlyRow.text("rows")
  }

  /// Those of `before` that are not there any more.
  func lacking(
    _ before: String, _ table: Located<TableReference>, _ connection: borrowing Connection
  ) throws(PostgresError) -> [TestProblem] {
    let rows = try connection.query(
      """
      SELECT b.row FROM jsonb_array_elements($1::jsonb) AS b(row)
      EXCEPT ALL
      SELECT to_jsonb(t) FROM \(name(table)) AS t WHERE \(isOwn)
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
