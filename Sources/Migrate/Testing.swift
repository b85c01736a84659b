internal import MigrateCompiler
package import MigrateDefinition
internal import MigrateJSON
internal import MigrateLedger
internal import MigratePlan
internal import MigratePostgres

/// What has come of a test of a definition.
package struct TestOutcome: Sendable {
  package let name: String
  /// What is not as expected; empty when all is.
  package let problems: [TestProblem]
}

/// Something that is not as a test expects it.
package struct TestProblem: Sendable {
  /// The line of the definition, from 1.
  package let line: Int
  package let message: String
}

/// Why a test cannot go on: what is wrong with it, or what the definition runs into.
enum TestEnd: Error {
  case problem(TestProblem)
  case database(PostgresError)
}

extension Session {
  /// Does the tests of a definition, each in a transaction that is rolled back.
  ///
  /// Triggers fire, constraints hold, sequences move and stay moved; the rows that are there already are left alone.
  package borrowing func test(
    _ definition: Definition, _ request: CompileRequest
  ) throws(CompileFailure) -> [TestOutcome] {
    var outcomes: [TestOutcome] = []
    for test in definition.operation.tests {
      var own = request
      // The last one of a name counts.
      own.parameters += test.parameters.map { ($0.name.value, $0.value) }
      let compilation = try compile(definition, own)
      do throws(PostgresError) { outcomes.append(try tried(test, definition, compilation)) } catch {
        throw .database(error)
      }
    }
    return outcomes
  }

  private borrowing func tried(
    _ test: TestDefinition, _ definition: Definition, _ compilation: Compilation
  ) throws(PostgresError) -> TestOutcome {
    // The number is given with the snapshot, so whatever is newer is the test's own.
    let first = try connection.execute(
      "BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE; SELECT pg_current_xact_id()::xid::text AS xid"
    ).onlyRow.text("xid")
    let result: Result<[TestProblem], TestEnd>
    do throws(TestEnd) {
      let run = try TestRun(test, definition, compilation, first: first, connection)
      result = .success(try run.problems(connection))
    } catch { result = .failure(error) }
    if !connection.isBroken { try connection.execute("ROLLBACK") }
    switch result {
    case .success(let problems): return TestOutcome(name: test.name.value, problems: problems)
    case .failure(.problem(let problem)): return TestOutcome(name: test.name.value, problems: [problem])
    case .failure(.database(let error)): throw error
    }
  }
}

/// A run of a definition over the rows of a test, by the statements and functions of any other run, in one transaction.
struct TestRun {
  let test: TestDefinition
  let definition: Definition
  let compilation: Compilation
  let rows: TestTables
  private let run: String

  var plan: Plan { compilation.plan }

  init(
    _ test: TestDefinition, _ definition: Definition, _ compilation: Compilation, first: String,
    _ connection: borrowing Connection
  ) throws(TestEnd) {
    self.test = test
    self.definition = definition
    self.compilation = compilation
    rows = TestTables(first: first, source: definition.source)
    let plan = compilation.plan
    // Under a name of its own: a run of the definition may be unfinished, and none of those before counts.
    let document = plan.document.members.map { member in
      ["definition", "identity"].contains(member.name)
        ? JSON.Member(member.name, .string("test of \(plan.definition)")) : member
    }
    let text = String(decoding: definition.source.bytes, as: UTF8.self)
    do throws(PostgresError) {
      try Upgrade.install(connection)
      try connection.execute(plan.settings)
      run = String(
        try Ledger.begin(
          connection, plan: JSON.object(document).compact, definition: text, version: "test", clientHost: nil,
          reason: nil))
      try connection.query("SELECT migrate.prepare($1::bigint)", [run])
    } catch { throw .database(error) }
  }

  /// All that is not as expected.
  func problems(_ connection: borrowing Connection) throws(TestEnd) -> [TestProblem] {
    let before = try frozenBefore(connection)
    var keys: [[String?]] = []
    for given in test.given { keys += try insert(given, connection) }
    let places = test.given.map(\.table)
    do throws(PostgresError) {
      let were = try places.map { (table) throws(PostgresError) in try rows.own(table, connection) }
      try connection.query("SELECT migrate.fix_bounds($1::bigint, 1)", [run])
      if before {
        try connection.query("SELECT migrate.forget_before($1::bigint)", [run])
      }
      if let problem = try apply(keys, connection) { return [problem] }
      var problems: [TestProblem] = []
      for expected in test.expected { problems += try rows.compare(expected, connection) }
      problems += try compareRejects(connection)
      guard problems.isEmpty, isTakenBack else { return problems }
      if let problem = try takeBack(connection) { return [problem] }
      for (table, were) in zip(places, were) { problems += try rows.lacking(were, table, connection) }
      return problems
    } catch { throw .database(error) }
  }

  /// What the source's query gives already is none of the test's; whether there is such a query.
  private func frozenBefore(_ connection: borrowing Connection) throws(TestEnd) -> Bool {
    guard plan.isFrozen else { return false }
    do throws(PostgresError) {
      try connection.query("SELECT migrate.fix_bounds($1::bigint, 1)", [run])
      try connection.query("SELECT migrate.keep_before($1::bigint)", [run])
    } catch { throw .database(error) }
    return true
  }

  /// The keys of the rows of the source.
  private func insert(
    _ given: TestRows, _ connection: borrowing Connection
  ) throws(TestEnd) -> [[String?]] {
    let isSource: Bool
    let isThere: Bool
    do throws(PostgresError) {
      let found = try connection.query(
        """
        SELECT to_regclass($1::text) IS NOT NULL AS there, coalesce(to_regclass($1::text) = to_regclass($2::text), false) AS same
        """, [rows.name(given.table), plan.tables.first?.name]
      ).onlyRow
      isThere = try found.bool("there")
      let isSame = try found.bool("same")
      isSource = isSame && !plan.isFrozen
    } catch { throw .database(error) }
    guard isThere else {
      throw .problem(rows.problem(given.table.span, "there is no table \(given.table.value.spelled)"))
    }
    var keys: [[String?]] = []
    for row in given.rows {
      do throws(PostgresError) {
        let key = try rows.insert(row, given.table, returning: isSource ? plan.key : [], connection)
        if isSource { keys.append(key) }
      } catch {
        guard !error.endsConnection else { throw .database(error) }
        throw .problem(rows.problem(row.span, "\(given.table.value.spelled): this row is refused: \(error.message)"))
      }
    }
    return keys
  }

  // MARK: There

  /// Each row by itself, where they are read live: what is made of a row does not depend on the others of its batch.
  private func apply(_ keys: [[String?]], _ connection: borrowing Connection) throws(PostgresError) -> TestProblem? {
    var stretches: [(after: [String?]?, through: [String?])] = []
    if plan.isFrozen {
      let upper = try connection.query("SELECT migrate.last_key($1::bigint) AS key", [run]).onlyRow
      if try !upper.isNull("key") { stretches.append((nil, try upper.array("key"))) }
    } else {
      for key in keys { stretches.append((try previous(key, connection), key)) }
    }
    for (place, stretch) in stretches.enumerated() {
      if let message = try attempt(place + 1, stretch, connection) { return failed(message) }
    }
    guard plan.isPublishedAtOnce else { return nil }
    let shown = try connection.query("SELECT * FROM migrate.attempt_publish($1::bigint, 1, false)", [run]).onlyRow
    return try shown.text("verdict") == "done" ? nil : failed(try shown["message"] ?? "")
  }

  private func previous(_ key: [String?], _ connection: borrowing Connection) throws(PostgresError) -> [String?]? {
    let bindings = Bindings().with(key: key, as: "through", count: key.count)
    let statement = compilation.trial.previous
    return try connection.query(statement.text, statement.arguments.map { bindings.values[$0] ?? nil }).first?.values
  }

  /// One batch; `nil` when it is done.
  private func attempt(
    _ ordinal: Int, _ stretch: (after: [String?]?, through: [String?]), _ connection: borrowing Connection
  ) throws(PostgresError) -> String? {
    var refusal: String?
    while true {
      try connection.execute("SAVEPOINT attempt")
      let ended = try connection.query(
        """
        SELECT a.verdict, a.message, a.detail, CAST(a AS text) AS whole
        FROM   migrate.attempt($1::bigint, 1,
                               CAST(ROW('batch', 'apply', NULL, 1000000, 0, $2::integer, 0, NULL, $3::text[], $4::text[], NULL, NULL) AS migrate.work),
                               1000000, false, CAST($5::text AS migrate.attempted)) AS a
        """,
        [run, String(ordinal), stretch.after.map(ArrayText.literal), ArrayText.literal(stretch.through), refusal]
      ).onlyRow
      if try ended.text("verdict") == "done" { return nil }
      try connection.execute("ROLLBACK TO SAVEPOINT attempt")
      guard refusal == nil, plan.onError == .quarantine, try ["error", "suppressed"].contains(ended.text("verdict"))
      else {
        let detail = try ended["detail"].map { $0.utf8.isEmpty ? "" : ": \($0)" } ?? ""
        return (try ended["message"] ?? "") + detail
      }
      refusal = try ended.text("whole")
    }
  }

  private func failed(_ message: String) -> TestProblem { rows.problem(test.name.span, "the run fails: \(message)") }

  // MARK: And back

  private var isTakenBack: Bool {
    if case .except = definition.operation.undo { return false }
    return plan.steps.allSatisfy { if case .unavailable = $0.undo { false } else { true } }
  }

  private func takeBack(_ connection: borrowing Connection) throws(PostgresError) -> TestProblem? {
    while true {
      let next = try connection.query(
        """
        SELECT a.verdict, a.message
        FROM   migrate.next_to_restore($1::bigint) AS b,
               migrate.attempt_restore($1::bigint, 1,
                 CAST(ROW('restore', 'revert', 'stop', 1, b.slice, b.ordinal, b.part, b.seq, NULL, NULL, NULL, NULL) AS migrate.work)) AS a
        """, [run])
      guard let ended = next.first else { return nil }
      guard try ended.text("verdict") == "done" else {
        return rows.problem(test.name.span, "a revert fails: \(try ended["message"] ?? "")")
      }
    }
  }

  // MARK: Rows in quarantine

  private func compareRejects(_ connection: borrowing Connection) throws(PostgresError) -> [TestProblem] {
    var left: [(key: [String], reason: String)] = []
    for row in try connection.query(
      "SELECT key, coalesce(message, array_to_string(reasons, '; ')) AS reason FROM migrate.rejects WHERE run = $1::bigint ORDER BY key",
      [run])
    {
      left.append((try row.array("key").map { $0 ?? "NULL" }, try row.text("reason")))
    }
    var problems: [TestProblem] = []
    for expected in test.rejects {
      let place = left.firstIndex { found in
        expected.values.allSatisfy { value in
          if value.name.value.utf8.elementsEqual("reason".utf8) { return found.reason.contains(value.value.plainText) }
          guard let column = plan.key.firstIndex(where: { $0.utf8.elementsEqual(value.name.value.utf8) }) else {
            return false
          }
          return found.key[column].utf8.elementsEqual(value.value.plainText.utf8)
        }
      }
      if let place {
        left.remove(at: place)
      } else {
        problems.append(rows.problem(expected.span, "no row like this one is in quarantine"))
      }
    }
    for (key, reason) in left {
      problems.append(
        rows.problem(test.name.span, "(\(key.joined(separator: ", "))) is in quarantine, unexpected: \(reason)"))
    }
    return problems
  }
}

extension Constant {
  /// As it stands in a key, and in a reason.
  fileprivate var plainText: String { parameterText(isJSON: false) ?? "NULL" }
}
