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
        (["--fix", "SET id = 1", "--yes"], "--fix: id is the key"),
      ] {
        let refused = try await project.start(["rejects", "1"] + words).finish()
        #expect(refused.status == 2 && refused.err.contains(said), "\(words): \(refused)")
      }
      #expect(try await project.server.psql(before) == [["160"], ["200"], ["240"]])
      let none = try await project.migrate("rejects", "1", "--fix", "SET age = 0", "--where", "age > 999", "--yes")
      #expect(none.status == 0 && none.out == "run 1 mended 0 rows of 3\n", "\(none)")
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
