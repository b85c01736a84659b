import Foundation
import MigrateCommandLine
import MigrateDefinition
import MigrateDiagnostics
import Testing

@Suite struct `The reference` {
  @Test func `is written from the table of keys and from the commands`() throws {
    try Repository.expect(Self.page, in: "docs/reference.md")
  }

  private static var page: String {
    """
    # Reference

    Written by a test from the table that the reader of definitions uses, and from the commands themselves:
    `UPDATE_GOLDEN=1 swift test --filter DemoTests` makes it anew.

    ## Keys of a definition

    \(Schema.Place.allCases.compactMap { table($0) }.joined(separator: "\n\n"))

    ### Ready-made under `hold_when`

    The run holds while it is so. How much of a disk is free PostgreSQL does not tell: `free_disk` has the server ask `df`, which
    takes a role with `pg_execute_server_program`. Where none may have that, ask what your monitoring writes down, by a query:
    `disks: SELECT FROM ops.disks WHERE free_bytes < 2e10`.

    | written | holds while |
    | --- | --- |
    \(readyMade.map { "| `\($0.use)` | \($0.meaning) |" }.joined(separator: "\n"))

    ## Known, and not in this version

    Each is refused with its place in the file and with what to do until then.

    | key | where | meaning | until then |
    | --- | --- | --- | --- |
    \(Schema.keys.compactMap(later).joined(separator: "\n"))

    ## What stands for `$1 … $n`

    Above each statement that takes values, `migrate plan` names them by their roles: `-- $1 after.none, $2 after.1`.
    What the run binds there:

    | role | value |
    | --- | --- |
    \(roles.map(role).joined(separator: "\n"))

    ## Commands

    | command | also | does |
    | --- | --- | --- |
    \(Commands.program.commands.map(command).joined(separator: "\n"))

    `migrate help COMMAND` shows the options of each.

    ### What `tune` changes

    Of a run that is not finished, in place of what its definition says. In SQL it is
    `SELECT migrate.tune(17, _batch_size => 500, _workers => 2, _max_rate => 5000, _pause => '1 s', _holds => 'none',
    _max_rejects => '2000')`.

    | option | means |
    | --- | --- |
    \(Commands.tune.options.filter { $0.name != "reason" && $0.name != "json" }.map(option).joined(separator: "\n"))

    ## Exit codes

    | code | meaning |
    | --- | --- |
    \(ExitCode.allCases.map { "| \($0.rawValue) | \($0.meaning) |" }.joined(separator: "\n"))

    """
  }

  /// A key of two columns has `after.2`, too, and so on.
  private static let roles: [(names: [String], meaning: String)] = [
    ([":name"], "a parameter of the definition; `:run_id` and `:started_at` are the run's own"),
    (["run"], "the number of the run"),
    (["worker"], "the number of its worker, from 1"),
    (["epoch"], "raised by whoever takes the run over; a statement with an old one finds no row"),
    (["slice"], "the stretch of the key whose batches are one chain, from 0"),
    (["ordinal"], "the batch's place in its chain, from 1"),
    (["part"], "the part of the batch, from 0: a batch with a row that the database refuses is done in parts"),
    (["size"], "how many rows the batch shall have"),
    (["after"], "the key behind which the batch begins, as an array of texts; NULL is the beginning"),
    (["after.none"], "whether the batch begins at the beginning, before all keys"),
    (["after.1", "after.2", "…"], "the columns of that key"),
    (["through"], "the key of the batch's last row, as an array of texts"),
    (["through.1", "through.2", "…"], "the columns of that key"),
    (["upper"], "the last key when the run began, as an array of texts"),
    (
      ["upper.1", "upper.2", "…"],
      "the columns of that key, or of the last one of the batch's slice; what comes behind it is not the run's"
    ),
    (["eligible"], "how many rows of the batch fit `where`, where *bound* has told; NULL: they must be counted"),
    (["snapshot"], "whether the statements of the batch have one snapshot; otherwise rows may come in between"),
    (["written"], "how many rows *change* has written, by the step, as an array"),
    (["since"], "under `incremental`: rows are done that were changed then or later"),
    (["since.none"], "whether all rows are done, since no run is complete"),
    (["canary"], "whether the batch does the rows of the canary, or those of the rest; NULL: both"),
    (["changed"], "how many rows *change as captured* has written; NULL where *change* has, which looks itself"),
    (
      ["refusal.sqlstate", "refusal.message", "refusal.detail", "refusal.column", "refusal.constraint"],
      "what the database has said of the row that goes to quarantine"
    ),
    (["seq"], "the order in which batches ended; of a revert: the batch that is taken back"),
    (
      ["horizon"],
      "the oldest transaction that was open when the upper end was fixed; NULL when that does not tell versions apart any more"
    ),
    (["transactions"], "the transactions of the run's batches"),
    (["others"], "whether anybody but the run has written to the cluster since the upper end was fixed"),
  ]

  private static func role(_ names: [String], _ meaning: String) -> String {
    "| \(names.map { $0 == "…" ? $0 : "`\($0)`" }.joined(separator: ", ")) | \(cell(meaning)) |"
  }

  /// Of a role in a statement: `after.2` is `after.1`, `:multiplier` is `:name`.
  private static func kind(_ role: String) -> String {
    if role.hasPrefix(":") { return ":name" }
    return role.firstMatch(of: /^(.*)\.[0-9]+$/).map { "\($0.1).1" } ?? role
  }

  @Test func `explains each role that stands in a statement, and no other`() throws {
    let explained = Set(Self.roles.flatMap(\.names)).subtracting(["…"]).filter { !$0.hasSuffix(".2") }
    let names = try Repository.text("Sources/MigrateCompiler/Lower/Names.swift")
    // "after.\(index + 1)" stands for `after.1`.
    let declared = names.matches(of: /Parameter\("([a-z.]+)/).map { String($0.1) + ($0.1.hasSuffix(".") ? "1" : "") }
    #expect(declared.count > 15)
    #expect(Set(declared).subtracting(explained).sorted() == [])
    #expect(explained.subtracting(declared).subtracting([":name"]).sorted() == [])
    var printed: Set<String> = []
    let goldens = Repository.root.appending(path: "Tests/Golden/Compiler")
    for name in try FileManager.default.contentsOfDirectory(atPath: goldens.path) {
      for line in try Repository.text("Tests/Golden/Compiler/\(name)/apply.sql").split(separator: "\n")
      where line.hasPrefix("-- $1 ") {
        for match in line.matches(of: /\$[0-9]+ ([^,]+)/) { printed.insert(Self.kind(String(match.1))) }
      }
    }
    #expect(printed.count > 15)
    #expect(printed.subtracting(explained).sorted() == [])
  }

  private static func table(_ place: Schema.Place) -> String? {
    let rows = Schema.keys(at: place).filter(\.isAvailable).map { key in
      "| `\(key.name)` | \(cell(key.type)) | \(cell(key.defaultValue)) | \(cell(key.meaning)) |"
    }
    guard !rows.isEmpty else { return nil }
    return """
      ### \(heading(place))

      | key | type | default | meaning |
      | --- | --- | --- | --- |
      \(rows.joined(separator: "\n"))
      """
  }

  /// What `hold_when` knows without a query.
  private static let readyMade: [(name: String, use: String, meaning: String)] = [
    ("autovacuum", "autovacuum: true", "VACUUM, ANALYZE or CREATE INDEX CONCURRENTLY works on the table"),
    ("wraparound", "wraparound: true", "a vacuum is due that must come before the transaction numbers run out"),
    ("wal_archive", "wal_archive: true", "the last try to archive WAL has failed"),
    ("slot_lag", "slot_lag: 10GB", "a replication slot keeps more WAL than that for its reader"),
    (
      "free_disk", "free_disk: 20GB",
      "a disk of the server has less than that left: of the data directory, the WAL or a tablespace"
    ),
  ]

  @Test(arguments: readyMade.map(\.use)) func `explains what hold_when knows`(use: String) throws {
    let conditions = try Self.holding(use).operation.throttle.holdWhen
    #expect(conditions.count == 1)
    for case .query in conditions { Issue.record("\(use) is taken for a query") }
  }

  @Test func `explains all that hold_when knows`() {
    #expect {
      try Self.holding("zzzzzzzzzzzz: true")
    } throws: { error in
      let names = Self.readyMade.map(\.name).joined(separator: ", ")
      return (error as? Diagnostics)?.all.map(\.remedy).joined().hasSuffix("; ready-made are \(names)") == true
    }
  }

  private static func holding(_ use: String) throws -> Definition {
    let text = "batch: b\nsource: t\nset: {v: 1}\nthrottle: {hold_when: {\(use)}}\n"
    return try Definition(SourceText(path: "b.yaml", bytes: Array(text.utf8)))
  }

  private static func heading(_ place: Schema.Place) -> String {
    let phrase = place.phrase
    return phrase.prefix(1).uppercased() + phrase.dropFirst()
  }

  private static func later(_ key: Schema.Key) -> String? {
    guard case .notYet(let meanwhile) = key.availability else { return nil }
    return "| `\(key.name)` | \(key.place.phrase) | \(cell(key.meaning)) | \(cell(meanwhile)) |"
  }

  private static func command(_ command: Command) -> String {
    let also = command.aliases.map { "`\($0)`" }.joined(separator: ", ")
    return "| `\(command.name)` | \(also) | \(cell(command.abstract)) |"
  }

  private static func option(_ option: OptionDescription) -> String {
    "| `--\(option.name) \(option.valueName)` | \(cell(option.help)) |"
  }

  /// A bar would end the cell.
  private static func cell(_ text: String) -> String { text.replacing("|", with: "\\|") }
}
