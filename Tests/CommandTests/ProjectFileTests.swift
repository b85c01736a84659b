import Foundation
import MigrateJSON
import MigratePostgres
import MigrateTestSupport
import TestSupport
import Testing

@Suite struct `The file of a project` {
  /// A line at the top, `# VARIABLE=VALUE migrate status --env x`, is the command; without it: `migrate status`.
  @Test(arguments: GoldenCase.all(under: "ProjectFile", with: "migrate.yaml"))
  func `S04 is refused with place, cause and remedy, and shows no secret`(golden: GoldenCase) async throws {
    try await withFolder { folder in
      let project = TestProject(folder: folder, server: Server())
      let bytes = try golden.bytes("migrate.yaml")
      try Data(bytes).write(to: URL(fileURLWithPath: "\(folder)/migrate.yaml"))
      let first = String(decoding: bytes.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
      let words = first.hasPrefix("# ") ? first.dropFirst(2).split(separator: " ").map(String.init) : ["", "status"]
      var environment = ["DATABASE_URL": ""]
      for word in words where word.contains("=") {
        let parts = word.split(separator: "=", maxSplits: 1).map(String.init)
        environment[parts[0]] = parts[1]
      }
      let arguments = Array(words.drop { $0.contains("=") }.dropFirst())
      let said = try await project.start(arguments, environment: environment).finish()
      #expect(said.status == 2 && said.out.isEmpty)
      try golden.expect(said.err, in: "diagnostics.txt")
      let events = try await project.start(arguments + ["--json"], environment: environment).finish()
      #expect(try events.events().allSatisfy { $0["exit_code"]?.integer == 2 && $0["remedy"]?.text?.isEmpty == false })
      #expect(!(said.err + events.err + events.out).contains("hunter2"))
    }
  }

  @Test func `names the database of an environment, and what is said otherwise wins`() async throws {
    try await withProject(rows: 1) { project in
      try project.write("environments: {here: HERE_URL, gone: GONE_URL}\ndefaults: {env: here}\n", to: "migrate.yaml")
      let gone = "host=\(project.folder)"
      let urls = ["HERE_URL": project.database, "GONE_URL": gone, "DATABASE_URL": ""]
      func reaches(_ words: String..., with more: [String: String] = [:]) async throws -> Bool {
        try await project.start(["status"] + words, environment: urls.merging(more) { $1 }).finish().status == 0
      }
      #expect(try await reaches())
      #expect(try await reaches("--env", "here"))
      #expect(try await !reaches("--env", "gone"))
      #expect(try await reaches("--env", "here", with: ["MIGRATE_ENV": "gone", "DATABASE_URL": gone]))
      #expect(try await !reaches(with: ["MIGRATE_ENV": "gone"]))
      #expect(try await !reaches(with: ["DATABASE_URL": gone]))
      #expect(try await reaches("--database", project.database, with: ["MIGRATE_ENV": "gone"]))
      let both = try await project.migrate(
        "status", environment: urls.merging(["MIGRATE_ENV": "here", "DATABASE_URL": gone]) { $1 })
      #expect(both.status == 2 && both.err.contains("the variable DATABASE_URL and the variable MIGRATE_ENV exclude"))
      let words = try await project.migrate("status", "--env", "here", "--database", gone, environment: urls)
      #expect(words.status == 2 && words.err.contains("--database and --env exclude each other"))
    }
  }

  @Test func `gives way to the definition, a variable and the command line`() async throws {
    try await withProject { project in
      try project.write("batch: dearer\nsource: items\nset: {price: price + 1}\n", to: "migrations/dearer.yaml")
      try project.write("defaults: {batch_size: 50, search_path: [none, public]}\n", to: "migrate.yaml")
      func size(_ words: String..., variable: String = "") async throws -> String? {
        let plan = try await project.start(
          ["plan"] + words, environment: ["MIGRATE_BATCH_SIZE": variable]
        ).finish()
        return plan.out.firstMatch(of: /batches of ([0-9,]+)/).map { String($0.output.1) }
      }
      #expect(try await size("dearer") == "50")
      #expect(try await size("close") == "100")
      #expect(try await size("dearer", variable: "25") == "25")
      #expect(try await size("close", variable: "25") == "25")
      #expect(try await size("dearer", "--batch-size", "20", variable: "25") == "20")
      try project.write("defaults: {json: true, color: never}\n", to: "migrate.yaml")
      #expect(try await project.migrate("plan", "dearer").out.hasPrefix("{"))
      // A default gives way to what excludes it, and a flag is taken back.
      #expect(try await project.migrate("plan", "dearer", "--sql").out.hasPrefix("-- ====="))
      #expect(try await project.migrate("plan", "dearer", "--no-json").out.hasPrefix("dearer\n"))
    }
  }

  @Test func `is found upwards, and paths in it count from there`() async throws {
    try await withProject(rows: 1) { project in
      try project.write("", to: "migrate.yaml")
      try project.write("batch: close\nsource: public.items\nset: {stat: 'x'}\n", to: "db/close.yaml")
      let below = TestProject(folder: project.folder + "/app/src", server: project.server)
      try below.write("", to: "readme")
      #expect(try await below.migrate("plan", "close").status == 0)
      try project.write("defaults:\n  dir: db\n  param_file: none.yaml\n", to: "migrate.yaml")
      let plan = try await below.migrate("plan", "close")
      #expect(plan.status == 2 && plan.err.contains("the file ../../none.yaml cannot be read"), "\(plan.err)")
      try project.write("defaults: {dir: db}\n", to: "migrate.yaml")
      #expect(try await below.migrate("plan").err.hasPrefix("../../db/close.yaml:3:7: error: "))
      // A path that somebody says counts from where it is said.
      #expect(try await below.migrate("plan", "--dir", "../../migrations").status == 0)
      #expect(try await below.migrate("plan", "--dir", "db").err.contains("there is no folder db"))
      #expect(try await below.migrate("plan", environment: ["MIGRATE_DIR": "db"]).status == 1)
      // It is no definition.
      try FileManager.default.removeItem(atPath: project.folder + "/db")
      #expect(try await project.migrate("plan", "--dir", ".").status == 0)
    }
  }

  @Test func `is no guess: without it, under another name or of another owner it is refused`() async throws {
    try await withFolder { folder in
      let project = TestProject(folder: folder + "/app", server: Server())
      try project.write("", to: "readme")
      let none = try await project.migrate("status", "--env", "staging")
      #expect(none.status == 2 && none.err.contains("there is no migrate.yaml in this folder or above"))
      try project.write("", to: "../migrate.yml")
      let misnamed = try await project.migrate("status")
      #expect(misnamed.status == 2 && misnamed.err.hasPrefix("../migrate.yml: error: the project's file is called "))
      try FileManager.default.removeItem(atPath: folder + "/migrate.yml")
      try project.write("", to: "../migrate.yaml")
      guard chown(folder + "/migrate.yaml", 65_534, 65_534) == 0 else { return }
      let foreign = try await project.migrate("status")
      #expect(foreign.status == 2 && foreign.err.contains("belongs to another account (65534) and is not read"))
      #expect(try await project.migrate("--help").status == 0)
    }
  }
}
