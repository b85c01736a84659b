import Foundation
import MigrateJSON
import MigratePostgres
import TestSupport
import Testing

/// What habit and the design expect of every command, where no other suite shows it.
@Suite struct `The conventions` {
  /// Runs the program with a terminal of its own, on which `typed` is typed; what it shows, and how it ends.
  private func onTerminal(
    _ project: TestProject, _ line: String, typed: String = "", environment: [String: String] = [:]
  ) async throws -> (status: Int32, shown: String) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/bin/bash")
    // script(1) has no terminal to copy, and makes one.
    process.arguments = ["-c", "printf '%s' \"$1\" | script -qec \"$0 $2\" /dev/null", Binary.path, typed, line]
    process.environment = [
      "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "DATABASE_URL": project.database, "TERM": "xterm",
    ]
    .merging(environment) { $1 }
    process.currentDirectoryURL = URL(fileURLWithPath: project.folder)
    let pipe = Pipe()
    process.standardOutput = pipe
    try process.run()
    return try await onThread {
      let data = try pipe.fileHandleForReading.readToEnd() ?? Data()
      process.waitUntilExit()
      return (process.terminationStatus, String(decoding: data, as: UTF8.self))
    }
  }

  @Test func `apply, revert and cancel ask on a terminal, and not in CI`() async throws {
    try await withProject(hasLedger: false) { project in
      let no = try await onTerminal(project, "apply close", typed: "n\n")
      #expect(no.status == 4 && no.shown.contains("about 1,000, in about 10 batches") && no.shown.contains("[y/N]"))
      let inCI = try await onTerminal(project, "apply close", typed: "y\n", environment: ["CI": "true"])
      #expect(inCI.status == 2 && inCI.shown.contains("where the variable CI is set give --yes"))
      #expect(try await project.value("SELECT to_regnamespace('migrate')") == nil)
      let yes = try await onTerminal(project, "apply close", typed: "y\n")
      #expect(yes.status == 0 && yes.shown.contains("run 1 completed 1000 rows"), "\(yes)")
      let back = try await onTerminal(project, "revert close", typed: "yes\n")
      #expect(back.status == 0 && back.shown.contains("run 1 reverted 1000 rows"), "\(back)")
    }
  }

  @Test func `P26 colour and bar are for terminals, data keeps its escapes from them`() async throws {
    try await withProject { project in
      let escape = "\u{1B}"
      try project.write("batch: wrong\nsource: public.items\nset: {stat: 'x'}\n", to: "wrong/wrong.yaml")
      func shown(_ line: String, _ environment: [String: String]) async throws -> Bool {
        try await onTerminal(project, line, environment: environment).shown.contains(escape)
      }
      #expect(try await shown("plan --dir wrong", [:]))
      #expect(try await !shown("plan --dir wrong", ["NO_COLOR": "1"]))
      #expect(try await !shown("plan --dir wrong", ["TERM": "dumb"]))
      #expect(try await !project.migrate("plan", "--dir", "wrong").err.contains(escape))
      let forced = try await project.migrate("plan", "--dir", "wrong", environment: ["CLICOLOR_FORCE": "1"])
      #expect(forced.err.contains(escape))
      try await project.server.psql(
        "UPDATE items SET state = E'\\x1b]0;x\\x07'; ALTER TABLE items ADD CHECK (price < 5000)")
      try project.write("batch: seven\nsource: public.items\nset: {price: '9000'}\n", to: "migrations/seven.yaml")
      let failed = try await onTerminal(project, "apply seven --yes", environment: ["NO_COLOR": "1"])
      #expect(failed.status == 1 && failed.shown.contains(#"\u{1b}]0;x"#), "\(failed.shown)")
      #expect(!failed.shown.contains("\(escape)]"))
    }
  }

  @Test func `moments have a zone, numbers are grouped for people and plain for machines`() async throws {
    try await withProject { project in
      try await project.migrate("apply", "close", "--yes")
      let moment = /[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:Z|[+-][0-9]{2}:[0-9]{2})/
      for words in [
        ["status", "1"], ["status", "1", "--json"], ["history", "--json"], ["history", "--csv"], ["history"],
      ] {
        let out = try await project.start(words, environment: ["PGTZ": "Asia/Kolkata"]).finish().out
        #expect(out.contains(moment), "\(words): \(out)")
        let isForPeople = words.count == 1 || words == ["status", "1"]
        #expect(out.contains("1,000") == isForPeople, "\(words): \(out)")
      }
    }
  }

  @Test func `a long value comes from a file or standard input, and two dashes end the options`() async throws {
    try await withProject { project in
      let shell = Process()
      shell.executableURL = URL(fileURLWithPath: "/bin/sh")
      shell.arguments = ["-c", "printf 'as agreed\\n' | \"$0\" apply --yes --reason - -- close", Binary.path]
      shell.environment = ["PATH": "/usr/bin:/bin", "DATABASE_URL": project.database]
      shell.currentDirectoryURL = URL(fileURLWithPath: project.folder)
      shell.standardOutput = FileHandle.nullDevice
      shell.standardError = FileHandle.nullDevice
      try shell.run()
      try await onThread { shell.waitUntilExit() }
      #expect(shell.terminationStatus == 0)
      #expect(try await project.value("SELECT reason FROM migrate.runs") == "as agreed")
      let dashes = try await project.migrate("apply", "--yes", "--", "--again")
      #expect(dashes.status == 1 && dashes.err.contains("no definition in migrations is called --again"))
    }
  }

  @Test func `revert never acts without a name, and only apply resumes one that stopped`() async throws {
    try await withProject { project in
      try await project.migrate("apply", "close", "--yes")
      for command in ["revert", "rollback", "undo", "verify", "pause", "resume", "cancel", "stop"] {
        let outcome = try await project.migrate(command, "--json")
        #expect(outcome.status == 2 && outcome.err.contains(" is missing"), "\(command): \(outcome)")
      }
      #expect(try await project.value("SELECT state FROM migrate.runs") == "completed")
    }
  }

  @Test func `plan --out writes scripts that psql runs`() async throws {
    try await withProject { project in
      #expect(try await project.migrate("plan", "close", "--out", "scripts").status == 0)
      for (script, open) in [("apply", "0"), ("verify", "0"), ("revert", "1000")] {
        let path = "\(project.folder)/scripts/\(script).sql"
        let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
        #expect(mode == 0o600)
        let psql = Process()
        psql.executableURL = URL(fileURLWithPath: "/usr/bin/psql")
        psql.arguments = ["-Xq", "-v", "ON_ERROR_STOP=1", "-f", path, project.database]
        psql.environment = ["PATH": "/usr/bin:/bin"]
        psql.standardOutput = FileHandle.nullDevice
        psql.standardError = FileHandle.nullDevice
        try psql.run()
        try await onThread { psql.waitUntilExit() }
        #expect(psql.terminationStatus == 0, "\(script)")
        #expect(try await project.value("SELECT count(*) FROM items WHERE state = 'open'") == open)
      }
      // The program sees what psql has done.
      #expect(try await project.migrate("status", "1").out.hasPrefix("run 1 close: reverted\n"))
    }
  }

  @Test func `the connection is what libpq says when nothing else does`() async throws {
    try await withProject(rows: 1) { project in
      let socket = String(project.database.split(separator: " ").first { $0.hasPrefix("host=") }?.dropFirst(5) ?? "")
      let name = try #require(try await project.value("SELECT current_database()"))
      try project.write("[shop]\nhost=\(socket)\nport=5432\nuser=postgres\ndbname=\(name)\n", to: "services")
      let bare = ["DATABASE_URL": ""]
      let own = ["PGHOST": socket, "PGPORT": "5432", "PGUSER": "postgres", "PGDATABASE": name]
      let service = ["PGSERVICEFILE": "\(project.folder)/services", "PGSERVICE": "shop"]
      for variables in [own, service] {
        let outcome = try await project.migrate("plan", "close", environment: bare.merging(variables) { $1 })
        #expect(outcome.status == 0, "\(outcome.err)")
      }
      let wins = ["DATABASE_URL": project.database, "PGHOST": project.folder]
      #expect(try await project.migrate("status", environment: wins).status == 0)
      let flag = ["DATABASE_URL": "host=\(project.folder)"]
      #expect(try await project.migrate("status", "--database", project.database, environment: flag).status == 0)
    }
  }

  @Test func `a tenant's schema and a second run over the same columns are said by options`() async throws {
    try await withProject(batchSize: 400) { project in
      try await project.server.psql(
        "CREATE SCHEMA tenant; CREATE TABLE tenant.things AS TABLE items; ALTER TABLE tenant.things ADD PRIMARY KEY (id)"
      )
      try project.write("batch: things\nsource: things\nset: {state: 'done'}\n", to: "migrations/things.yaml")
      #expect(try await project.migrate("apply", "things", "--yes").status == 2)
      #expect(try await project.migrate("apply", "things", "--yes", "--search-path", "tenant, public").status == 0)
      #expect(try await project.value("SELECT count(*) FROM tenant.things WHERE state = 'done'") == "1000")

      try await project.server.psql("ALTER TABLE items ADD CHECK (id <> 500 OR state = 'open')")
      #expect(try await project.migrate("apply", "close", "--yes").status == 1)
      try project.write(
        "batch: sold\nsource: public.items\nwhere: id < 9\nset: {state: 'sold'}\n", to: "migrations/sold.yaml")
      let refused = try await project.migrate("apply", "sold", "--yes")
      #expect(refused.status == 1 && refused.err.contains("`--concurrent`"), "\(refused.err)")
      #expect(try await project.migrate("apply", "sold", "--yes", "--concurrent").status == 0)
    }
  }

  @Test func `cancel --revert ends a run and takes it back, once it has been asked`() async throws {
    try await withProject { project in
      let gate = try await project.gate(behind: 3)
      let child = try project.start(["apply", "close", "--yes"])
      try await project.waitForGate(gate)
      #expect(try await project.migrate("cancel", "1", "--revert").status == 2)
      let cancel = try project.start(["cancel", "1", "--revert", "--yes", "--reason", "wrong list"])
      #expect(try await child.finish().status == 4)
      try await gate.close()
      let cancelled = try await cancel.finish()
      #expect(cancelled.status == 0 && cancelled.lines.first == "run 1 cancelled 300 rows", "\(cancelled)")
      #expect(cancelled.lines.last?.hasPrefix("run 1 reverted 300 rows 0 conflicts") == true)
      #expect(try await project.value("SELECT count(*) FROM items WHERE state = 'open'") == "1000")
      #expect(try await project.value("SELECT revert_reason FROM migrate.runs") == "wrong list")
    }
  }

  @Test func `cancel --revert refuses what has no way back, before it cancels`() async throws {
    try await withProject { project in
      try project.write(
        "batch: close\nsource: public.items\nset: {state: 'x'}\nundo: none\n", to: "migrations/close.yaml")
      try await project.server.psql("ALTER TABLE items ADD CHECK (id <> 500 OR state = 'open')")
      #expect(try await project.migrate("apply", "close", "--yes").status == 1)
      let refused = try await project.migrate("cancel", "1", "--revert", "--yes")
      #expect(refused.status == 1 && refused.err.contains("run 1 cannot be reverted: "), "\(refused.err)")
      #expect(try await project.value("SELECT state FROM migrate.runs") == "failed")
    }
  }

  @Test func `a sandbox starts under any umask, without HOME, in folders that it makes`() async throws {
    try await withFolder { folder in
      let shell = Process()
      shell.executableURL = URL(fileURLWithPath: "/bin/bash")
      shell.arguments = [
        "-c",
        "umask 077; \"$0\" sandbox start -q && psql -Xqc 'SELECT 1' $(\"$0\" sandbox url) && \"$0\" sandbox destroy -yq",
        Binary.path,
      ]
      shell.environment = ["PATH": "/usr/bin:/bin", "MIGRATE_FOLDER": folder + "/a b/box"]
      shell.standardOutput = FileHandle.nullDevice
      try shell.run()
      try await onThread { shell.waitUntilExit() }
      #expect(shell.terminationStatus == 0)
    }
  }

  @Test func `verify as CSV has a record for each promise`() async throws {
    try await withProject { project in
      try await project.migrate("apply", "close", "--yes")
      let csv = try await project.migrate("verify", "close", "--csv")
      #expect(csv.status == 0 && csv.out.hasPrefix("run,name,verdict,figure,detail\r\n1,slices contiguous,ok,0,"))
      #expect(try await project.migrate("verify", "close", "--csv", "--json").status == 2)
    }
  }
}
