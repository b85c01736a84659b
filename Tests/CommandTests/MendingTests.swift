import MigrateJSON
import TestSupport
import Testing

@Suite struct `Rows in quarantine` {
  @Test func `are mended where a condition holds, and who, when, how and why is noted`() async throws {
    try await withProject { project in
      try await project.server.psql(
        "CREATE TABLE people (id integer PRIMARY KEY, age integer); INSERT INTO people SELECT n, n * 40 FROM generate_series(1, 6) AS n"
      )
      try project.write(
        "batch: people\nsource: public.people\nset: {age: age + 1}\nvalidation: {old: age < 130}\n",
        to: "migrations/people.yaml")
      #expect(try await project.migrate("apply", "people", "--yes").status == 3)
      let before = "SELECT age FROM people WHERE id > 3 ORDER BY id"
      for (words, said) in [
        (["--where", "age > 9"], "--where is for --fix"), (["--reason", "typing errors"], "--reason is for --fix"),
        (["--fix", "SET age = 1", "--where", "agee > 9", "--yes"], "column \"agee\" does not exist"),
        (["--fix", "SET age = 1", "--where", "age > 9; DROP TABLE people", "--yes"], "--where: "),
        (["--fix", "SET age = agee", "--yes"], "--fix: column \"agee\" does not exist"),
        // What the table is called in the statement is no name of the user's.
        (["--fix", "SET age = agee", "--yes"], "help: Perhaps you meant to reference the column \"age\"."),
        (
          ["--fix", "SET age = 1", "--where", "agee > 9", "--yes"],
          "help: Perhaps you meant to reference the column \"age\"."
        ),
        (
          ["--fix", "SET age = 1", "--where", "people.age > 9", "--yes"], "a column stands by itself, without its table"
        ),
        (["--fix", "SET age = people.age + 1", "--yes"], "a column stands by itself, without its table"),
        (["--fix", "SET id = 1", "--yes"], "--fix: id is the key"),
        (["--fix", "UPDATE people SET age = NULL", "--yes"], "help: it begins with SET, for instance `SET email = "),
        (["--fix", "SET age = 1 WHERE age > 9", "--yes"], "help: it begins with SET, for instance `SET email = "),
      ] {
        let refused = try await project.start(["rejects", "1"] + words).finish()
        #expect(refused.status == 2 && refused.err.contains(said), "\(words): \(refused)")
      }
      #expect(try await project.server.psql(before) == [["160"], ["200"], ["240"]])
      let none = try await project.migrate("rejects", "1", "--fix", "SET age = 0", "--where", "age > 999", "--yes")
      #expect(none.status == 0 && none.out == "run 1 mended 0 rows of 3\n", "\(none)")
      #expect(none.err.contains("\nnone of them fits --where\n") && !none.err.contains("tries"), "\(none)")
      let some = try await project.migrate(
        "rejects", "1", "--fix", "SET age = age / 10", "--where", "age > 160", "--reason", "typing errors", "--yes")
      #expect(some.status == 0 && some.out == "run 1 mended 2 rows of 3\n", "\(some)")
      #expect(some.err.contains("2 of 3 rows of run 1 people where age > 160: SET age = age / 10"), "\(some)")
      #expect(try await project.server.psql(before) == [["160"], ["20"], ["24"]])
      let host = try #require(try await project.value("SELECT client_host FROM migrate.runs"))
      let at = try #require(
        try await project.value(
          "SELECT to_json(requested_at) #>> '{}' FROM (SELECT set_config('timezone', 'UTC', false)) AS s, migrate.requests"
        ))
      let status = try await project.migrate("status", "1")
      #expect(
        status.out.contains(
          "mend       \(at) by postgres on \(host): typing errors; SET age = age / 10 WHERE age > 160"), "\(status.out)"
      )
      let request = try #require(
        try await project.migrate("status", "1", "--json").events().first?["requests"]?.elements.first)
      #expect(request["request"]?.text == "mend" && request["reason"]?.text == "typing errors")
      #expect(request["detail"]?.text == "SET age = age / 10 WHERE age > 160")
      let again = try await project.migrate("apply", "--rejects", "1", "--yes")
      #expect(again.status == 3 && again.out.hasPrefix("run 1 completed 5 rows 1 rejects "), "\(again)")
      #expect(again.err.contains("\n2 of 3 rows resolved\n1 row in quarantine: "), "\(again)")
    }
  }

  @Test(arguments: [
    ("CHECK (age <> 7)", "SET age = 7", "constraint people_age_check"),
    ("NOT NULL", "SET age = NULL", "column age"),
    ("UNIQUE", "SET age = 7", "constraint people_age_key"),
    ("UNIQUE DEFERRABLE INITIALLY DEFERRED", "SET age = 7", "constraint people_age_key"),
    ("REFERENCES ages", "SET age = 7", "constraint people_age_fkey"),
    ("CHECK (age > 0)", "SET age = 3000000000", "the column"),
  ])
  func `that the table refuses are told with a remedy, and stay what they are`(
    constraint: String, list: String, judge: String
  ) async throws {
    try await withProject { project in
      try await project.server.psql(
        """
        CREATE TABLE ages (age integer PRIMARY KEY);
        INSERT INTO ages SELECT n FROM generate_series(1, 300) AS n WHERE n <> 7;
        CREATE TABLE people (id integer PRIMARY KEY, age integer \(constraint));
        INSERT INTO people SELECT n, n * 40 FROM generate_series(1, 6) AS n
        """)
      try project.write(
        "batch: people\nsource: public.people\nset: {age: age + 1}\nvalidation: {old: age < 130}\n",
        to: "migrations/people.yaml")
      #expect(try await project.migrate("apply", "people", "--yes").status == 3)
      let refused = try await project.migrate("rejects", "1", "--fix", list, "--yes")
      #expect(refused.status == 1, "\(refused)")
      let help =
        "nothing has been mended; set a value that \(judge) takes, or say by `--where` which rows shall get this one"
      #expect(refused.err.contains("\n  help: \(help)\n"), "\(refused)")
      let rows = "SELECT string_agg(age::text, ' ' ORDER BY id) FROM people"
      #expect(try await project.value(rows) == "41 81 121 160 200 240")
      // What the table takes is mended, and said of one row as of one.
      let one = try await project.migrate("rejects", "1", "--fix", "SET age = 8", "--where", "age = 240", "--yes")
      #expect(one.status == 0 && one.out == "run 1 mended 1 row of 3\n", "\(one)")
    }
  }

  @Test func `are told to be locked when somebody keeps them from being mended`() async throws {
    try await withProject { project in
      try await project.server.psql(
        "CREATE TABLE people (id integer PRIMARY KEY, age integer); INSERT INTO people SELECT n, n * 40 FROM generate_series(1, 6) AS n"
      )
      try project.write(
        "batch: people\nsource: public.people\nset: {age: age + 1}\nvalidation: {old: age < 130}\n",
        to: "migrations/people.yaml")
      #expect(try await project.migrate("apply", "people", "--yes").status == 3)
      try await withSessions("holder", to: project.server) { sessions in
        let holder = try #require(sessions["holder"])
        try await holder.execute("BEGIN; SELECT FROM people WHERE id = 5 FOR UPDATE")
        let refused = try await project.migrate("rejects", "1", "--fix", "SET age = 0", "--yes")
        #expect(
          refused.status == 1
            && refused.err.contains(
              "--fix: somebody holds a lock on rows in the quarantine of run 1, or on their table"),
          "\(refused)")
        #expect(
          refused.err.contains("nothing has been mended; try again when that transaction has ended"), "\(refused)")
        try await holder.execute("COMMIT")
      }
      #expect(try await project.migrate("rejects", "1", "--fix", "SET age = 0", "--yes").status == 0)
    }
  }
}
