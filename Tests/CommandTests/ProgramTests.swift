import Foundation
import MigrateCommandLine
import MigrateJSON
import MigratePostgres
import TestSupport
import Testing

@Suite struct `The program` {
  @Test func `has a version, and help with the examples of each command`() async throws {
    try await withProject(rows: 1) { project in
      #expect(try await project.migrate("--version").out == "migrate \(Commands.program.version)\n")
      #expect(try await project.migrate("version").out == "migrate \(Commands.program.version)\n")
      let help = try await project.migrate("help")
      #expect(try await project.migrate("--help").out == help.out)
      for command in Commands.program.commands {
        let help = try await project.migrate(command.name, "--help")
        #expect(help.status == 0 && help.err.isEmpty)
        #expect(command.examples.allSatisfy { help.out.contains("  \($0.line)\n") }, "\(command.name)")
        #expect(help.out.contains("Exit codes:\n"))
      }
    }
  }

  /// P25
  @Test func `P25 ends with the number that its help promises`() async throws {
    try await withProject { project in
      func code(_ words: String..., environment: [String: String] = [:]) async throws -> Int32 {
        try await project.start(words, environment: environment).finish().status
      }
      #expect(try await code() == 2)
      #expect(try await code("aply") == 2)
      #expect(try await code("apply", "--batch-size", "some") == 2)
      #expect(try await code("apply", "unknown", "--yes") == 1)
      #expect(try await code("apply", "close") == 2)
      #expect(try await code("apply", "close", "--yes", environment: ["CI": "true"]) == 0)
      #expect(try await code("apply", "close", environment: ["MIGRATE_YES": "1"]) == 0)
      #expect(try await code("status", environment: ["DATABASE_URL": "host=\(project.folder)"]) == 1)
      #expect(try await code("status", environment: ["DATABASE_URL": "nonsense"]) == 1)
      try await project.server.psql("UPDATE items SET state = 'sold' WHERE id = 7")
      #expect(try await code("revert", "close", "--yes") == 5)
      #expect(try await code("revert", "close", "--yes", "--on-conflict", "skip") == 5)
      // What is not back is told each time.
      #expect(try await project.migrate("revert", "1", "--yes").out.contains(" rows 1 conflicts"))
      #expect(try await project.value("SELECT count(*) FROM items WHERE state = 'open'") == "999")
      #expect(try await code("history", "--no-such") == 2)
      #expect(try await code("history") == 0)
    }
  }

  /// P25; 3 is for rejects, and nothing rejects rows in this version. A pause is in the tests of signals.
  @Test func `P25 ends with 4 when the run was held or cancelled, with 1 when it failed, with 2 for what is no plan`()
    async throws
  {
    try await withProject { project in
      try project.write("batch: wrong\nsource: public.items\nset: {prize: 1}\n", to: "migrations/wrong.yaml")
      for words in [["plan", "wrong"], ["apply", "wrong", "--yes"]] {
        #expect(try await project.start(words).finish().status == 2)
      }
      func stop(_ condition: String, _ state: String) async throws {
        try await project.server.psql(
          """
          CREATE OR REPLACE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF \(condition) THEN RAISE 'stop here' USING ERRCODE = '\(state)'; END IF; RETURN new; END $$;
          CREATE OR REPLACE TRIGGER stop BEFORE UPDATE ON items FOR EACH ROW EXECUTE FUNCTION stop()
          """)
      }
      // No trigger may come to a run that is on its way.
      let gate = try await project.gate(behind: 6)
      try await stop("old.id = 250", "53100")
      let held = try await project.migrate("apply", "close", "--yes")
      #expect(held.status == 4 && held.lines.last?.hasPrefix("run 1 paused 200 rows") == true, "\(held)")
      #expect(held.err.contains("stop here [53100]"))
      try await stop("old.id = 450", "P0001")
      let failed = try await project.migrate("resume", "1", "--json")
      #expect(failed.status == 1)
      #expect(try failed.events().last?["exit_code"]?.integer == 1)

      try await stop("false", "")
      let child = try project.start(["resume", "1"])
      try await project.waitForGate(gate)
      let cancel = try await project.migrate("cancel", "1", "--yes")
      #expect(cancel.status == 0, "\(cancel)")
      let cancelled = try await child.finish()
      #expect(cancelled.status == 4 && cancelled.lines.last?.hasPrefix("run 1 cancelled 600 rows") == true)
      try await gate.close()
    }
  }

  @Test(arguments: Commands.program.later.map(\.name))
  func `refuses what comes later, and says what to do instead`(name: String) async throws {
    try await withFolder { folder in
      let project = TestProject(folder: folder, server: Server())
      let refused = try await project.migrate(name, "x")
      #expect(refused.status == 2 && refused.err.hasPrefix("migrate: error: \(name) is not in this version"))
      #expect(refused.err.contains("\n  help: "))
    }
  }

  @Test func `runs its sandbox in a folder of its own, and warns of what it is not`() async throws {
    try await withFolder { folder in
      let project = TestProject(folder: folder, server: Server())
      let sandbox = ["MIGRATE_FOLDER": folder + "/box"]
      #expect(try await project.migrate("sandbox", "status", environment: sandbox).out.hasPrefix("sandbox absent in "))
      let started = try await project.migrate("sandbox", "start", environment: sandbox)
      #expect(started.status == 0 && started.err.contains("warning: fsync is off"), "\(started)")
      let url = try await project.migrate("sandbox", "url", environment: sandbox).out
      #expect(url == started.out && url.hasPrefix("postgres://"))
      let status = try await project.migrate("sandbox", "status", "--json", environment: sandbox).events().first
      #expect(status?["state"]?.text == "running")
      let runs = try await project.migrate("status", "--database", url.trimmingCharacters(in: .newlines))
      #expect(runs.status == 0 && !runs.err.contains("password"), "\(runs)")
      #expect(try await project.migrate("sandbox", "stop", environment: sandbox).out == "sandbox stopped\n")
      #expect(try await project.migrate("sandbox", "destroy", environment: sandbox).status == 2)
      #expect(try await project.migrate("sandbox", "destroy", "--yes", environment: sandbox).status == 0)
      #expect(!FileManager.default.fileExists(atPath: folder + "/box"))
    }
  }

  /// S04
  @Test func `S04 never tells a password`() async throws {
    try await withProject { project in
      let canary = "canary-7f3a"
      let socket = project.server.redacted.split(separator: " ").first { $0.hasPrefix("host=") }?.dropFirst(5) ?? ""
      let name = try #require(try await project.value("SELECT current_database()"))
      let url = "postgres://postgres:\(canary)@/\(name)?host=\(socket)&port=5432"
      let wrong = "postgres://postgres:\(canary)@/none?host=\(socket)&port=5432"
      let nowhere = "postgres://postgres:\(canary)@nowhere.invalid/none"
      let torn = "postgres://postgres:\(canary)@x@/none"
      let bare = ["DATABASE_URL": ""]
      var said = ""
      for words in [
        ["plan", "close", "--json"], ["plan", "close", "--markdown", "--explain"],
        ["apply", "close", "--yes", "--json", "-v"],
        ["status", "--json"], ["history", "--json"], ["verify", "1", "--json"], ["revert", "1", "--yes"],
      ] {
        let outcome = try await project.start(words + ["--database", url], environment: bare).finish()
        #expect(outcome.status == 0, "\(words): \(outcome.err)")
        #expect(outcome.err.contains("warning: a password in the arguments can be read by everyone"))
        said += outcome.out + outcome.err
        let silent = try await project.start(words + ["-q"], environment: ["DATABASE_URL": url]).finish()
        #expect(!silent.err.contains("a password in the arguments"))
        said += silent.out + silent.err
      }
      for bad in [wrong, nowhere, torn, "password=\(canary) sslmode=nonsense", "password=\(canary) nonsense"] {
        for words in [["plan", "close", "--json"], ["status"], ["apply", "--yes", "--dtabase", bad]] {
          let outcome = try await project.start(words + ["--database", bad], environment: bare).finish()
          #expect(outcome.status == 1 || outcome.status == 2)
          said += outcome.out + outcome.err
        }
      }
      #expect(!said.contains(canary), "\(said.split(separator: "\n").filter { $0.contains(canary) })")
      let dump = try await project.server.psql(
        """
        SELECT string_agg(t::text, ' ') FROM (
          SELECT to_jsonb(r)::text AS t FROM migrate.runs r UNION ALL SELECT to_jsonb(w)::text FROM migrate.workers w
          UNION ALL SELECT to_jsonb(s)::text FROM migrate.statements s UNION ALL SELECT to_jsonb(d)::text FROM migrate.definitions d) AS a
        """)
      #expect(dump.first?.first.flatMap(\.self)?.contains(canary) == false)
    }
  }
}
