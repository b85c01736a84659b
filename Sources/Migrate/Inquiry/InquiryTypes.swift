internal import MigrateCatalog
internal import MigrateCompiler
internal import MigrateDiagnostics
internal import MigratePostgres
internal import MigrateSQL

/// The types of the expressions, and what the planner has against them.
extension Inquiry {
  /// The columns of the source's query; `nil` where it has none, or something is wrong with it, which has been said.
  mutating func describeSource(
    _ connection: borrowing Connection, _ parsed: ParsedBatch
  ) throws(PostgresError) -> [CatalogQuery.DescribedColumn]? {
    guard let query = Compiler.sourceQuery(parsed, catalog) else { return nil }
    return try describe(query, connection) { (inquiry, error) throws(PostgresError) in
      try inquiry.refuse(error, in: query, connection)
    }
  }

  /// What the steps read of joins and of `let`; `nil` where they read none, or something is wrong with it, of which the questions about
  /// each join and value tell more.
  mutating func describeCarried(
    _ connection: borrowing Connection, _ parsed: ParsedBatch
  ) throws(PostgresError) -> [CatalogQuery.DescribedColumn]? {
    guard let query = Compiler.carriedQuery(parsed, catalog) else { return nil }
    return try describe(query, connection) { (inquiry, error) throws(PostgresError) in
      let count = inquiry.problems.count
      try inquiry.refuse(error, in: query, connection)
      inquiry.ofCarried = Array(inquiry.problems[count...])
      inquiry.problems.removeLast(inquiry.problems.count - count)
    }
  }

  /// Where nothing else has been found, what was found of all together.
  mutating func settleCarried(_ resolution: Resolution) {
    if problems.isEmpty, resolution.problems.isEmpty { problems += ofCarried }
  }

  private mutating func describe(
    _ query: RenderedSQL, _ connection: borrowing Connection,
    refused: (inout Inquiry, PostgresError) throws(PostgresError) -> Void
  ) throws(PostgresError) -> [CatalogQuery.DescribedColumn]? {
    try begin(connection, zone: knownZone)
    do throws(PostgresError) {
      let columns = try connection.describe(query.text)
      let collations = try collations(of: columns, query, connection)
      try connection.execute("COMMIT")
      return zip(columns, collations).map { column, collation in
        CatalogQuery.DescribedColumn(
          name: column.name, type: Int(column.type), modifier: Int(column.modifier), collation: collation)
      }
    } catch {
      try refused(&self, error)
      try connection.execute("COMMIT")
      return nil
    }
  }

  /// Which collation each column has, where its type has collations. Asked of no row, which tells as well.
  private func collations(
    of columns: [ResultColumn], _ query: RenderedSQL, _ connection: borrowing Connection
  ) throws(PostgresError) -> [String?] {
    let collatable = try connection.query(
      "SELECT oid FROM pg_type WHERE oid = ANY ($1::oid[]) AND typcollation <> 0",
      ["{\(columns.map { String($0.type) }.joined(separator: ","))}"])
    var types: Set<String> = []
    for row in collatable { types.insert(try row.text(0)) }
    let names = columns.indices.map { "c\($0)" }
    let asked = zip(columns, names).map { column, name in
      types.contains(String(column.type)) ? "pg_collation_for(q.\(name))" : "NULL"
    }
    guard !asked.isEmpty, asked.contains(where: { $0 != "NULL" }) else { return columns.map { _ in nil } }
    // Alone in its parentheses behind what PostgreSQL would count its place from: nothing is wrong with it any more.
    let sql = """
      SELECT \(asked.joined(separator: ", "))
      FROM  (SELECT) AS one
      LEFT   JOIN (\(query.text)
      ) AS q(\(names.joined(separator: ", "))) ON false
      """
    return try connection.query(sql, arguments(of: query)).onlyRow.values
  }

  mutating func describe(_ connection: borrowing Connection, _ probes: [Probe]) throws(PostgresError) {
    try begin(connection, zone: knownZone)
    for probe in probes {
      do throws(PostgresError) {
        let columns = try connection.describe(probe.sql.text)
        understood.append(probe)
        if let assignment = probe.assignment, let column = columns.first {
          types[assignment] = DescribedType(oid: Int(column.type), modifier: Int(column.modifier))
        }
      } catch {
        try refuse(error, in: probe.sql, connection)
      }
    }
    try connection.execute("COMMIT")
  }

  /// What only the planner finds, of each expression by itself: where one thing is wrong already, the whole statement cannot be
  /// planned, and would tell one thing more at a time.
  mutating func explainEach(_ connection: borrowing Connection, _ resolution: Resolution) throws(PostgresError) {
    try begin(connection, zone: knownZone)
    for probe in understood {
      guard let sql = resolution.alone(probe, probe.assignment.flatMap { types[$0] }) else { continue }
      do throws(PostgresError) { try connection.query(Self.explain + sql.text, arguments(of: sql)) } catch {
        try refuse(error, in: sql, behind: Self.explain, connection)
      }
    }
    try connection.execute("COMMIT")
  }

  private mutating func refuse(
    _ error: PostgresError, in sql: RenderedSQL, behind prefix: String = "", _ connection: borrowing Connection
  ) throws(PostgresError) {
    if error.origin != .server || error.endsConnection { throw error }
    try connection.execute("ROLLBACK")
    try begin(connection, zone: knownZone)
    let name = Diagnostic.unknownRelation(error, in: sql, behind: prefix)
    let home = try name.flatMap { (name) throws(PostgresError) in try onlyHome(of: name, connection) }
    problems.append(Diagnostic(error, in: sql, behind: prefix, of: definition, catalog, home: home))
  }

  /// The table called `name`, when one schema alone has such a one.
  private func onlyHome(
    of name: String, _ connection: borrowing Connection
  ) throws(PostgresError) -> QualifiedName? {
    let rows = try connection.query(
      """
      SELECT n.nspname AS schema
      FROM   pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
      WHERE  c.relname = $1::text COLLATE "C" AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
        AND  n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'migrate')
      LIMIT  2
      """, [name])
    guard rows.count == 1, let row = rows.first else { return nil }
    return QualifiedName(schema: Identifier(trusted: try row.text("schema")), name: Identifier(trusted: name))
  }
}
