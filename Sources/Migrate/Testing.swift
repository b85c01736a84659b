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
      do throws(CompileFailure) {
        let compilation = try compile(definition, own)
        do throws(PostgresError) { outcomes.append(try tried(test, definition, compilation)) } catch {
          throw .database(error)
        }
      } catch {
        // A value of its own that does not fit is the test's; anything else keeps all of them from being tried.
        guard case .refused(let diagnostics) = error, !test.parameters.isEmpty,
          diagnostics.all.allSatisfy({ $0.span == nil || $0.severity == .warning })
        else { throw error }
        let line = definition.source.position(of: test.name.span.start).line
        outcomes.append(
          TestOutcome(
            name: test.name.value, problems: diagnostics.all.map { TestProblem(line: line, message: $0.message) }))
      }
    }
    return outcomes
  }

  /// Once more where somebody else makes the ledger in this moment.
  private borrowing func tried(
    _ test: TestDefinition, _ definition: Definition, _ compilation: Compilation
  ) throws(PostgresError) -> TestOutcome {
    for _ in 1...5 {
      guard try Upgrade.version(connection) < Upgrade.newest else { break }
      do throws(PostgresError) { return try triedOnce(test, definition, compilation) } catch {
        guard !error.endsConnection, try Upgrade.version(connection) > 0 else { throw error }
      }
    }
    return try triedOnce(test, definition, compilation)
  }

  private borrowing func triedOnce(
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
    } catch {
      guard error.sqlState == .insufficientPrivilege else { throw .database(error) }
      throw .problem(
        rows.problem(
          test.name.span,
          "\(error.message); a test takes the rights that apply takes, and makes the ledger where there is none"))
    }
  }

  /// All that is not as expected.
  func problems(_ connection: borrowing Connection) throws(TestEnd) -> [TestProblem] {
    let wasFrozen = try frozenBefore(connection)
    for given in test.given {
      let types = try rows.columns(given.table, connection)
      for row in given.rows { try rows.insert(row, given.table, types, connection) }
    }
    for expected in test.expected { _ = try rows.columns(expected.table, connection) }
    do throws(PostgresError) {
      let were = try test.given.map { (given) throws(PostgresError) in try rows.own(given.table, connection) }
      let strangers = try test.expected.map { (expected) throws(PostgresError) in
        try rows.strangers(expected.table, connection)
      }
      try connection.query("SELECT migrate.fix_bounds($1::bigint, 1)", [run])
      if wasFrozen { try connection.query("SELECT migrate.forget_before($1::bigint)", [run]) }
      try connection.execute("SAVEPOINT given")
      if let problem = try apply(connection) { return [problem] }
      var problems = try compareAll(connection)
      let met = try touched(strangers, connection)
      if problems.isEmpty, isTakenBack {
        if let problem = try takeBack(connection) { return [problem] }
        for (given, were) in zip(test.given, were) { problems += try rows.lacking(were, given.table, connection) }
      }
      try connection.execute("ROLLBACK TO SAVEPOINT given")
      for met in met { if let problem = try gone(met, connection) { problems.append(problem) } }
      return problems
    } catch { throw .database(error) }
  }

  private func compareAll(_ connection: borrowing Connection) throws(PostgresError) -> [TestProblem] {
    var problems: [TestProblem] = []
    do throws(TestEnd) {
      for expected in test.expected { problems += try rows.compare(expected, connection) }
      return try problems + compareRejects(connection)
    } catch {
      switch error {
      case .problem(let problem): return problems + [problem]
      case .database(let error): throw error
      }
    }
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

  // MARK: Rows that were there

  /// Rows of a table that were there before and are not as they were, and the keys of all that are the test's own by now.
  private struct Touched {
    let table: Located<TableReference>
    let rows: Int
    let key: [String]
    let own: [[String?]]
  }

  private func touched(
    _ before: [Int], _ connection: borrowing Connection
  ) throws(PostgresError) -> [Touched] {
    var found: [Touched] = []
    for (expected, count) in zip(test.expected, before) {
      let rest = try rows.strangers(expected.table, connection)
      let key = try rows.primaryKey(expected.table, connection)
      guard rest < count, !key.isEmpty else { continue }
      found.append(
        Touched(
          table: expected.table, rows: count - rest, key: key,
          own: try rows.keys(rows.name(expected.table), key, connection)))
    }
    return found
  }

  /// Those that were changed are among the rows that are expected or not; that others are gone nobody would see.
  private func gone(_ touched: Touched, _ connection: borrowing Connection) throws(PostgresError) -> TestProblem? {
    let changed = try rows.strangers(among: touched.own, touched.key, touched.table, connection)
    guard touched.rows > changed else { return nil }
    return rows.problem(
      touched.table.span,
      "\(touched.table.value.spelled): \(touched.rows - changed) of the rows that were there before \(touched.rows - changed == 1 ? "is" : "are") gone"
    )
  }

  // MARK: There

  /// Each row by itself, where they are read live: what is made of a row does not depend on the others of its batch.
  private func apply(_ connection: borrowing Connection) throws(PostgresError) -> TestProblem? {
    var stretches: [(after: [String?]?, through: [String?])] = []
    if plan.isFrozen {
      let upper = try connection.query("SELECT migrate.last_key($1::bigint) AS key", [run]).onlyRow
      if try !upper.isNull("key") { stretches.append((nil, try upper.array("key"))) }
    } else {
      for key in try rows.keys(plan.tables.first?.name ?? "", plan.key, connection) {
        stretches.append((try previous(key, connection), key))
      }
    }
    for (place, stretch) in stretches.enumerated() {
      if let message = try attempt(place + 1, stretch, connection) { return failed(message) }
    }
    if plan.isPublishedAtOnce {
      let shown = try connection.query("SELECT * FROM migrate.attempt_publish($1::bigint, 1, false)", [run]).onlyRow
      if try shown.text("verdict") != "done" { return failed(try shown["message"] ?? "") }
    }
    return try connection.query("SELECT migrate.excess($1::bigint) AS excess", [run]).onlyRow["excess"].map(failed)
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

  private func compareRejects(_ connection: borrowing Connection) throws(TestEnd) -> [TestProblem] {
    var found: [(key: [String?], reason: String)] = []
    do throws(PostgresError) {
      for row in try connection.query(
        """
        SELECT key, coalesce(message, array_to_string(reasons, '; ')) AS reason
        FROM   migrate.rejects
        WHERE  run = $1::bigint
        ORDER  BY key
        """, [run])
      {
        found.append((try row.array("key"), try row.text("reason")))
      }
    } catch { throw .database(error) }
    var fits: [[Int]] = []
    for expected in test.rejects { fits.append(try self.fits(expected, found, connection)) }
    let matching = Matching(fits, of: found.count)
    let missing = test.rejects.enumerated().filter { matching.partner[$0.offset] == nil }.map { _, expected in
      rows.problem(expected.span, "no row like this one is in quarantine")
    }
    let surplus = found.enumerated().filter { !matching.taken.contains($0.offset) }.map { _, row in
      let key = row.key.map { $0 ?? "NULL" }.joined(separator: ", ")
      return rows.problem(test.name.span, "(\(key)) is in quarantine, unexpected: \(row.reason)")
    }
    return missing + surplus
  }

  /// Which of the rows in quarantine are meant: by columns of the key, as the source has them, and a part of the reason.
  private func fits(
    _ expected: TestRow, _ found: [(key: [String?], reason: String)], _ connection: borrowing Connection
  ) throws(TestEnd) -> [Int] {
    var places = Array(found.indices)
    for value in expected.values {
      if value.name.value.utf8.elementsEqual("reason".utf8) {
        places = places.filter { found[$0].reason.contains(value.value.plainText) }
        continue
      }
      guard let column = plan.key.firstIndex(where: { $0.utf8.elementsEqual(value.name.value.utf8) }),
        let type = plan.tables.first?.columns.first(where: { $0.name.utf8.elementsEqual(value.name.value.utf8) })?.type
      else {
        throw .problem(
          rows.problem(
            value.name.span,
            "a row in quarantine is described by its key, (\(plan.key.joined(separator: ", "))), and by `reason`"))
      }
      let spelled = try rows.trying(value.name.span, value.name.value, connection) { () throws(PostgresError) in
        try connection.query(
          "SELECT CAST(CAST($1::text AS \(type)) AS text) AS spelled", [value.value.plainText]
        ).onlyRow["spelled"]
      }
      places = places.filter { found[$0].key[column] == spelled }
    }
    return places
  }
}

extension Constant {
  /// As it stands in a key, and in a reason.
  fileprivate var plainText: String { parameterText(isJSON: false) ?? "NULL" }
}
