import Foundation
import MigrateJSON
import TestSupport
import Testing

@Suite struct `Apply` {
  @Test func `with --expect-one runs one that is pending, and neither none nor two`() async throws {
    try await withProject { project in
      try await project.server.psql("CREATE TABLE t (id integer PRIMARY KEY, n integer); INSERT INTO t VALUES (1, 1)")
      func define(_ name: String) throws {
        try project.write("batch: \(name)\nsource: public.t\nset: {n: n + 1}\n", to: "migrations/\(name).yaml")
      }
      try FileManager.default.removeItem(atPath: project.folder + "/migrations")
      try define("first")
      let one = try await project.migrate("apply", "--all", "--expect-one", "--yes")
      #expect(one.status == 0 && one.lines.last?.hasPrefix("run 1 completed 1 rows") == true, "\(one)")
      let none = try await project.start(["apply", "--expect-one", "--yes"]).finish()
      #expect(none.status == 1 && none.err.contains("nothing is pending, and --expect-one expects one"), "\(none)")
      try define("second")
      try define("third")
      let two = try await project.start(["apply", "--expect-one", "--yes"]).finish()
      #expect(
        two.status == 1 && two.err.contains("2 definitions are pending, and --expect-one expects one: second, third"),
        "\(two)")
      let named = try await project.start(["apply", "second", "--all", "--yes"]).finish()
      #expect(
        named.status == 1 && named.err.contains("--all is about all that is pending, and here are names"), "\(named)")
      #expect(try await project.value("SELECT n FROM t") == "2")
      #expect(try await project.migrate("apply", "--all", "--yes").status == 0)
      #expect(try await project.value("SELECT n FROM t") == "4")
    }
  }

  @Test func `without a name lists what is pending, in the order of needs, and runs it`() async throws {
    try await withProject { project in
      try project.write(
        "batch: a_dearer\nsource: public.items\nset: {price: price + 1}\nneeds: [close]\n",
        to: "migrations/a_dearer.yaml")
      let unasked = try await project.migrate("apply")
      #expect(
        unasked.status == 2
          && unasked.err.contains("`apply` asks before it changes anything; without a terminal give --yes"))
      let applied = try await project.migrate("apply", "--yes")
      #expect(applied.status == 0)
      #expect(applied.lines.map { $0.prefix(15) } == ["run 1 completed", "run 2 completed"], "\(applied)")
      #expect(applied.err.contains("  close                    pending\n  a_dearer                 pending\n"))

      let again = try await project.migrate("apply", "--yes")
      #expect(again.status == 0 && again.out.isEmpty && again.err == "nothing is pending\n")
      try project.write(
        "batch: a_dearer\nsource: public.items\nset: {price: price + 2}\n", to: "migrations/a_dearer.yaml")
      let changed = try await project.migrate("apply", "--yes")
      #expect(changed.out.isEmpty && changed.err.contains("changed since run 2; `--again` runs the new text"))
      let run = try await project.migrate("apply", "--yes", "--again")
      #expect(run.lines.map { $0.prefix(15) } == ["run 3 completed"])
    }
  }

  static let priced = """
    batch: priced
    source: public.items
    params:
      amount: {type: numeric}
      label: {type: text, default: 'none'}
    set:
      price: price + :amount
      state: coalesce(:label, 'NULL')

    """

  @Test func `takes parameters from a file, and arguments win`() async throws {
    try await withProject(rows: 3) { project in
      try project.write(Self.priced, to: "migrations/priced.yaml")
      try project.write("amount: 1.50\nlabel: ~\n", to: "values.yaml")
      #expect(try await project.migrate("apply", "priced", "--yes", "--param-file", "values.yaml").status == 0)
      #expect(try await project.server.psql("SELECT price, state FROM items WHERE id = 1") == [["2.50", "NULL"]])
      let wins = ["apply", "priced", "--yes", "--param-file", "values.yaml", "--param", "label=sale"]
      #expect(try await project.start(wins).finish().status == 0)
      #expect(try await project.server.psql("SELECT price, state FROM items WHERE id = 1") == [["4.00", "sale"]])
    }
  }

  @Test(arguments: [
    ("amount: 1\namount: 2\n", "values.yaml:2:1: error: \"amount\" is given twice"),
    ("- 1\n", "values.yaml:1:1: error: a file of parameters holds names and values"),
    ("", "values.yaml: error: a file of parameters holds names and values"),
    ("amount: [1\n", "values.yaml:"), ("amont: 1\n", "this definition has no parameter \"amont\""),
    ("amount: 010\n", "values.yaml:1:9: error: "),
  ])
  func `refuses a file of parameters that is wrong`(text: String, error: String) async throws {
    try await withProject(rows: 3) { project in
      try project.write(Self.priced, to: "migrations/priced.yaml")
      try project.write(text, to: "values.yaml")
      let plan = try await project.migrate("plan", "priced", "--param-file", "values.yaml")
      #expect(plan.status == 2 && plan.err.contains(error), "\(plan.err)")
    }
  }

  @Test func `gives each definition the parameters that it declares`() async throws {
    try await withProject(rows: 3) { project in
      try project.write(Self.priced, to: "migrations/priced.yaml")
      #expect(try await project.migrate("plan", "close", "priced", "--param", "amount=1").status == 0)
      let unknown = try await project.migrate("plan", "close", "--param", "amont=1")
      #expect(unknown.status == 2 && unknown.err.contains("[unknown-parameter]"))
      let twice = try await project.migrate("plan", "priced", "--param", "amount=1", "--set", "amount=2")
      #expect(twice.status == 2 && twice.err.contains("parameter amount is given twice"))
      let missing = try await project.migrate("plan", "priced", "--param-file", "none.yaml")
      #expect(missing.status == 2 && missing.err.contains("the file none.yaml cannot be read"))
    }
  }

  @Test func `keeps the reason from a file`() async throws {
    try await withProject { project in
      try project.write("as agreed\non Monday\n", to: "reason.txt")
      #expect(try await project.migrate("apply", "close", "--yes", "--reason", "@reason.txt").status == 0)
      #expect(try await project.value("SELECT reason FROM migrate.runs") == "as agreed\non Monday")
    }
  }

  @Test func `tells once what the server warns of, and how often, and leaves notices out`() async throws {
    try await withProject { project in
      try await project.server.psql(
        """
        CREATE FUNCTION warn() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          RAISE WARNING E'this is\\ndear' USING ERRCODE = 'MG042';
          RAISE NOTICE 'this is not';
          RETURN NULL;
        END $$;
        CREATE TRIGGER warn AFTER UPDATE ON items FOR EACH ROW EXECUTE FUNCTION warn()
        """)
      let applied = try await project.migrate("apply", "close", "--yes")
      #expect(applied.status == 0)
      let told = applied.err.split(separator: "\n").filter { $0.contains("this is") }
      #expect(told == ["the server warns: 1,000 times: this is\\ndear"], "\(applied.err)")
      let events = try await project.migrate("revert", "1", "--yes", "--json").events()
      #expect(events.suffix(2).map { $0["event"]?.text } == ["warning", "ended"])
      let warning = try #require(events.first { $0["event"]?.text == "warning" })
      #expect(warning["message"]?.text == "this is\ndear" && warning["sqlstate"]?.text == "MG042")
      #expect(warning["run"]?.integer == 1 && warning["count"]?.integer == 1_000)
    }
  }

  /// One that stands still until somebody looks ends as what it is in each of its events.
  @Test func `tells a program the same exit code in all that it says of a run's end`() async throws {
    try await withProject { project in
      try project.write(
        "batch: close\nsource: public.items\nset: {state: 'closed'}\nexpect: {rows: 1..5}\n",
        to: "migrations/close.yaml")
      let applied = try await project.migrate("apply", "close", "--yes", "--json")
      #expect(applied.status == 4)
      let codes = try applied.events().filter { ["error", "ended"].contains($0["event"]?.text) }
      #expect(codes.map { $0["event"]?.text } == ["error", "ended"])
      #expect(codes.allSatisfy { $0["exit_code"]?.integer == 4 }, "\(applied.out)")
    }
  }

  @Test func `P26 tells a program what happens, a line of JSON for each event`() async throws {
    try await withProject { project in
      let applied = try await project.migrate("apply", "close", "--yes", "--json")
      let events = try applied.events()
      let names = events.compactMap { $0["event"]?.text }
      #expect(names == ["started"] + Array(repeating: "batch", count: 10) + ["ended"])
      let end = try #require(events.last)
      #expect(end["state"]?.text == "completed" && end["rows"]?.integer == 1_000 && end["exit_code"]?.integer == 0)
      let reverted = try await project.migrate("revert", "1", "--yes", "--json").events()
      #expect(reverted.last?["event"]?.text == "ended" && reverted.last?["state"]?.text == "reverted")
      // U05
      let twice = try await project.migrate("revert", "close", "--yes", "--json")
      #expect(twice.status == 0 && twice.err.contains("run 1 of close is reverted already; nothing is left to do"))
      #expect(try twice.events().last?["state"]?.text == "reverted")
      let refused = try await project.migrate("resume", "1", "--json")
      let error = try #require(try refused.events().first)
      #expect(error["event"]?.text == "error" && error["code"]?.text == "refused" && error["exit_code"]?.integer == 1)
      #expect(
        error["message"]?.text?.contains("is reverted, so there is nothing to resume") == true
          && error["remedy"]?.text?.isEmpty == false)
      let usage = try await project.migrate("apply", "--yess", "--json")
      #expect(usage.status == 2)
      #expect(try usage.events().first?["code"]?.text == "usage")
    }
  }

  @Test func `refuses what needs something that is not complete, before it shows a plan, among the other errors`()
    async throws
  {
    try await withProject(rows: 3, hasLedger: false) { project in
      func write(_ set: String) throws {
        try project.write(
          "batch: dearer\nsource: public.items\nneeds: close\nset: {\(set)}\n", to: "migrations/dearer.yaml")
      }
      try write("price: prise + 1")
      let wrong = try await project.migrate("apply", "dearer", "--yes", "--json")
      #expect(wrong.status == 2 && !wrong.err.contains("rows       about"), "\(wrong)")
      #expect(try wrong.events().map { $0["code"]?.text } == ["unmet-need", "unknown-column"])
      try write("price: price + 1")
      let alone = try await project.migrate("apply", "dearer", "--yes")
      #expect(
        alone.status == 2 && alone.err.hasPrefix("migrations/dearer.yaml:3:8: error: dearer needs close"), "\(alone)")
      #expect(try await project.value("SELECT to_regnamespace('migrate')") == nil)
      // Who only looks is told, and sees the plan.
      let plan = try await project.migrate("plan", "dearer")
      #expect(plan.status == 0 && plan.err.hasPrefix("migrations/dearer.yaml:3:8: warning: dearer needs close"))
      #expect(try await project.migrate("plan", "close", "dearer").err.isEmpty)
      // In one command the one is complete when the other begins; the other way round it is not.
      #expect(try await project.migrate("apply", "dearer", "close", "--yes").status == 2)
      #expect(try await project.migrate("apply", "close", "dearer", "--yes").status == 0)
      // What is complete is not asked for what it needed.
      #expect(
        try await project.value("UPDATE migrate.runs SET state = 'reverted' WHERE name = 'close' RETURNING run") == "1")
      #expect(try await project.migrate("apply", "dearer", "--yes").status == 0)
      #expect(try await project.migrate("apply", "dearer", "--yes", "--again").status == 2)
    }
  }

  @Test func `shows to a log the first state and the last`() async throws {
    try await withProject { project in
      let applied = try await project.migrate("apply", "close", "--yes", "-v")
      let lines = applied.err.split(separator: "\n").map(String.init).filter { $0.hasPrefix("run 1 close  ") }
      #expect(lines.count == 2, "\(applied.err)")
      #expect(lines.first?.contains("0 %") == true && lines.last?.contains("100 %  1,000 of ~1,000 rows") == true)
      #expect(applied.err.contains("\nbatch 10: 100 read, 100 changed, "))
      #expect(try await project.migrate("apply", "close", "--yes").err.contains("is already applied as run 1"))
    }
  }

  /// What the server lacks is nothing that somebody mends in the rows.
  @Test func `tells what to look at where no row is to blame`() async throws {
    try await withProject { project in
      try await project.server.psql(
        """
        CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE 'could not extend file' USING ERRCODE = 'disk_full'; END $$;
        CREATE TRIGGER full_disk BEFORE UPDATE ON items FOR EACH ROW EXECUTE FUNCTION full_disk()
        """)
      let paused = try await project.migrate("apply", "close", "--yes")
      let help =
        "no row is to blame: look at the server's disk, memory and log; then `migrate resume 1` goes on at this batch"
      #expect(paused.status == 4 && paused.err.contains("\n  help: \(help)\n"), "\(paused)")
      #expect(try await project.migrate("status", "1").out.contains(help))
    }
  }

  @Test func `tells why a batch failed, where, and how to go on`() async throws {
    try await withProject { project in
      try await project.server.psql("ALTER TABLE items ADD CHECK (id <> 250 OR state = 'open')")
      let failed = try await project.migrate("apply", "close", "--yes")
      #expect(failed.status == 1 && failed.lines.last?.hasPrefix("run 1 failed 200 rows") == true)
      #expect(
        failed.err.contains(
          """
          migrations/close.yaml:4:10: error: new row for relation "items" violates check constraint "items_check" [23514]
            4 |   state: 'closed'
              |          ^^^^^^^^
            help: mend the rows at fault, then `migrate resume 1` goes on at this batch; or `migrate cancel 1`, mend the definition, and apply it anew
            detail: 
          """.dropLast()) && failed.err.contains("\n  batch: behind key (200), through key (300)\n"), "\(failed.err)")
      let status = try await project.migrate("status", "1", "--exit-code")
      #expect(
        status.status == 1 && status.out.contains("\n  batch: behind key (200), through key (300)\n"), "\(status.out)"
      )
      #expect(status.out.contains("  help: mend the rows at fault, then `migrate resume 1` goes on at this batch"))
      try await project.server.psql("ALTER TABLE items DROP CONSTRAINT items_check")
      let resumed = try await project.migrate("apply", "close", "--yes")
      #expect(resumed.status == 0 && resumed.lines.last?.hasPrefix("run 1 completed 1000 rows") == true)

      try await project.server.psql("ALTER TABLE items ADD CONSTRAINT closed CHECK (state <> 'open') NOT VALID")
      let refused = try await project.migrate("revert", "close", "--yes")
      let why = #"help: constraint "closed" refuses what rows of that batch were before: drop it or mend what it "#
      let remedy = why + "asks for, then `migrate revert 1` goes on"
      #expect(refused.status == 1 && refused.err.contains(remedy), "\(refused.err)")
      try await project.server.psql("ALTER TABLE items DROP CONSTRAINT closed")
      #expect(try await project.migrate("revert", "close", "--yes").status == 0)
    }
  }

  /// V06
  @Test(arguments: [
    // The database names the column, or a constraint that has it, or nothing and the value tells.
    ("price: nullif(price, 250)\n  state: upper(state)", ["5:10"], "23502"),
    ("price: price + 1\n  state: lower(state || id % 100)", ["6:10"], "23505"),
    ("price: 100 / (id - 250)\n  state: upper(state)", ["5:10"], "22012"),
    ("price: price * CASE WHEN id = 250 THEN 1e9 ELSE 1 END\n  state: upper(state)", ["5:10"], "22003"),
    ("price: price + 1\n  state: repeat('x', id::int / 10) || id", ["6:10"], "22001"),
    ("price: sqrt(250 - id)\n  state: upper(state)", ["5:10", "6:10"], "2201F"),
  ])
  func `V06: a failed batch is told at the line of its definition, also when the file is gone`(
    set: String, places: [String], state: String
  ) async throws {
    try await withProject { project in
      try await project.server.psql(
        """
        ALTER TABLE items ALTER price TYPE numeric(8,2), ALTER state TYPE varchar(20), ALTER price SET NOT NULL;
        UPDATE items SET price = id, state = 'open ' || id;
        CREATE UNIQUE INDEX items_state ON items (state)
        """)
      try project.write("batch: b\nsource: public.items\nbatch_size: 100\nset:\n  \(set)\n", to: "migrations/b.yaml")
      func expect(_ failed: Outcome) {
        let said = failed.err.split(separator: "\n").filter { $0.contains(": error: ") }
        #expect(said.count == places.count && failed.status == 1, "\(failed)")
        for (line, place) in zip(said, places) {
          #expect(
            line.hasPrefix("migrations/b.yaml:\(place): error: ") && line.hasSuffix("[\(state)]"), "\(failed.err)")
        }
      }
      expect(try await project.migrate("apply", "b", "--yes"))
      try project.write("batch: b\n", to: "migrations/b.yaml")
      expect(try await project.migrate("resume", "1"))
      let event = try #require(
        try await project.migrate("resume", "1", "--json").events().first { $0["code"]?.text == state })
      #expect(event["path"]?.text == "migrations/b.yaml" && event["sqlstate"]?.text == state)
    }
  }

  @Test func `V06: and at its where, when that cannot be computed`() async throws {
    try await withProject { project in
      try project.write(
        "batch: b\nsource: public.items\nwhere: 10 / (id - 250) < 100\nset: {price: price + 1}\n",
        to: "migrations/b.yaml")
      let failed = try await project.migrate("apply", "b", "--yes")
      #expect(failed.err.contains("migrations/b.yaml:3:8: error: division by zero [22012]\n"), "\(failed.err)")
    }
  }
}
