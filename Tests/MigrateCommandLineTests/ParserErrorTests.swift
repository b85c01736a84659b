import MigrateCommandLine
import Testing

@Suite struct `A wrong command line` {
  struct Case: Sendable, CustomTestStringConvertible {
    let id: String
    let words: [String]
    let text: String
    var testDescription: String { id }

    init(_ id: String, _ words: String..., error: String, help: String) {
      self.id = id
      self.words = words
      text = "migrate: error: \(error)\n  help: \(help)\n"
    }
  }

  static let cases = [
    Case(
      "misspelt command", "pln", error: "there is no command 'pln'", help: "did you mean `migrate plan`?"),
    Case(
      "command in capitals", "PLAN", error: "there is no command 'PLAN'", help: "did you mean `migrate plan`?"),
    Case(
      "beginning of a command", "hist", error: "there is no command 'hist'", help: "did you mean `migrate history`?"),
    Case(
      "unknown command", "frobnicate", error: "there is no command 'frobnicate'",
      help:
        "one of plan, test, apply, revert, status, wait, why, history, rejects, verify, pause, resume, cancel, tune, sandbox, help, version"
    ),
    Case(
      "later command", "lint", "--strict", error: "lint is not in this version (0.1.0)",
      help: "`migrate plan` shows every error of a definition"),
    Case(
      "later command without a substitute", "dashboard", error: "dashboard is not in this version (0.1.0)",
      help: "`migrate help` lists what it has"),
    Case(
      "subcommand missing", "sandbox", error: "sandbox needs a command of its own",
      help:
        "one of `migrate sandbox start`, `migrate sandbox stop`, `migrate sandbox destroy`, `migrate sandbox status`, "
        + "`migrate sandbox url`"),
    Case(
      "subcommand misspelt", "sandbox", "strat", error: "sandbox has no command 'strat'",
      help: "did you mean `migrate sandbox start`?"),
    Case(
      "help of a command without subcommands", "help", "plan", "x", error: "plan has no commands of its own",
      help: "`migrate plan --help`"),
    Case(
      "misspelt option", "plan", "--jsno", error: "unknown option '--jsno'", help: "did you mean `--json`?"),
    Case(
      "misspelt option with a value", "apply", "--batchsize=5", error: "unknown option '--batchsize'",
      help: "did you mean `--batch-size`?"),
    Case(
      "beginning of an option", "plan", "--data", "x", error: "unknown option '--data'",
      help: "did you mean `--database`?"),
    Case(
      "unknown option", "plan", "--frobnicate", error: "unknown option '--frobnicate'",
      help: "`migrate plan --help` lists the options"),
    Case(
      "one dash for two", "plan", "-json", error: "unknown option '-json'",
      help: "with two dashes: did you mean `--json`?"),
    Case(
      "unknown letter", "plan", "-qx", error: "unknown option '-x' in '-qx'",
      help: "`migrate plan --help` lists the options"),
    Case(
      "option before its command", "--json", "plan", error: "unknown option '--json'",
      help: "it stands behind its command: `migrate plan --json`"),
    Case(
      "option of other commands", "pause", "1", "--on-conflict", "skip", error: "unknown option '--on-conflict'",
      help: "it is an option of revert"),
    Case(
      "value missing at the end", "apply", "p", "--batch-size", error: "--batch-size needs a value",
      help: "`--batch-size ROWS`"),
    Case(
      "value missing before an option", "apply", "p", "--reason", "--yes", error: "--reason needs a value",
      help: "a value that begins with a dash is attached: `--reason=TEXT`"),
    Case(
      "value for a flag", "plan", "--json=true", error: "--json takes no value",
      help: "`--json` sets it, `--no-json` takes it back"),
    Case(
      "no size", "apply", "p", "--batch-size", "5m", error: "--batch-size '5m' is not a size such as 500, 5k or 1M",
      help: "`migrate apply --help` explains it"),
    Case(
      "negative size", "apply", "--batch-size", "-5",
      error: "--batch-size '-5' is not a size such as 500, 5k or 1M", help: "`migrate apply --help` explains it"),
    Case(
      "no assignment", "plan", "--set", "rate", error: "--set 'rate' is not of the form NAME=VALUE",
      help: "`migrate plan --help` explains it"),
    Case(
      "misspelt choice", "revert", "p", "--on-conflict=skp",
      error: "--on-conflict 'skp' is not one of stop, skip, force", help: "did you mean `--on-conflict skip`?"),
    Case(
      "choice by a letter that only looks the same", "plan", "--color=\u{212A}",
      error: "--color '\u{212A}' is not one of auto, always, never", help: "`migrate plan --help` explains it"),
    Case(
      "conflict", "plan", "--sql", "--markdown", error: "--sql and --markdown exclude each other",
      help: "say one of them"),
    Case(
      "conflict of global options", "-q", "plan", "-v", error: "--quiet and --verbose exclude each other",
      help: "say one of them"),
    Case(
      "argument missing", "revert", error: "NAME|RUN is missing",
      help: "`migrate revert NAME|RUN`; `migrate revert --help` explains it"),
    Case(
      "second argument missing", "why", "shop.products", error: "KEY is missing",
      help: "`migrate why TABLE KEY...`; `migrate why --help` explains it"),
    Case(
      "neither number nor name", "pause", "0", error: "'0' is not the name of a definition or the number of a run",
      help: "`migrate pause NAME|RUN`; `migrate pause --help` explains it"),
    Case(
      "run zero", "verify", "0", error: "'0' is not the name of a definition or the number of a run",
      help: "`migrate verify NAME|RUN`; `migrate verify --help` explains it"),
    Case(
      "argument too many", "pause", "1", "2", error: "unexpected argument '2'",
      help: "it takes: `migrate pause NAME|RUN`"),
    Case(
      "argument where none is taken", "history", "17", error: "unexpected argument '17'",
      help: "`migrate history` takes none"),
    Case(
      "file missing", "pause", "1", "--reason", "@nowhere",
      error: "the file 'nowhere' for --reason cannot be read: No such file or directory",
      help: "a value that begins with @ itself is written with two: --reason @@…"),
    Case(
      "file too long", "pause", "1", "--reason", "@endless",
      error: "the file 'endless' for --reason is longer than 16 MiB",
      help: "a value that begins with @ itself is written with two: --reason @@…"),
    Case(
      "file not UTF-8", "pause", "1", "--reason", "@latin", error: "what 'latin' holds for --reason is not a text",
      help: "`file latin` tells the encoding, which has to be UTF-8"),
    Case(
      "S04 password where no argument is taken", "history", "postgres://bob:s3cr@t@db/shop",
      error: "unexpected argument 'postgres://bob:***@db/shop'", help: "`migrate history` takes none"),
    Case(
      "S08 escapes", "history", "\u{1B}]0;x\u{7}\n", error: "unexpected argument '\\u{1b}]0;x\\u{7}\\n'",
      help: "`migrate history` takes none"),
  ]

  @Test(arguments: cases)
  func `says what is wrong and how to mend it`(_ example: Case) {
    #expect(answer(example.words) == example.text)
  }

  @Test func `shows the help when nothing was said`() {
    let text = answer([])
    #expect(text.utf8.starts(with: "migrate: change data in bulk".utf8))
    #expect(text.hasSuffix("migrate: error: a command is missing\n  help: say what to do, e.g. `migrate plan`\n"))
  }

  @Test func `may be a variable`() {
    #expect(
      answer(["apply"], variables: ["MIGRATE_BATCH_SIZE": "many"])
        == """
        migrate: error: the variable MIGRATE_BATCH_SIZE is 'many', which is not a size such as 500, 5k or 1M
          help: `unset MIGRATE_BATCH_SIZE`, or say --batch-size on the command line

        """)
    #expect(
      answer(["apply"], variables: ["MIGRATE_YES": "perhaps"])
        == """
        migrate: error: the variable MIGRATE_YES is 'perhaps', which is not yes or no
          help: `unset MIGRATE_YES`, or say --yes on the command line

        """)
  }

  @Test func `may ask for standard input twice`() {
    #expect(
      answer(["go", "--note", "-", "--more", "-"], of: Sample.program)
        == """
        tool: error: --note and --more both read standard input
          help: give one of them a file: --more @FILE

        """)
  }
}
