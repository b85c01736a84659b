import MigrateCommandLine
import Testing

@Suite struct `The help` {
  private static let paths: [[String]] =
    [[]]
    + Commands.program.commands.flatMap { command in
      [[command.name]] + command.subcommands.map { [command.name, $0.name] }
    }

  @Test(arguments: paths)
  func `fits eighty columns and names every option`(path: [String]) {
    let text = answer(["help"] + path)
    for line in text.split(separator: "\n") {
      #expect(ColumnWidth.of(String(line)) <= 80, "\(line)")
      #expect(line.utf8.last != UInt8(ascii: " "), "\(line)")
    }
    for option in Commands.program.globalOptions { #expect(text.contains("--\(option.name)")) }
    #expect(text == answer(path + ["--help"]))
  }

  @Test func `of history is this`() {
    #expect(
      answer(["history", "--help"]) == """
        migrate history: list the runs so far (also: log, ls)

        Usage: migrate history [OPTIONS]

        ROWS is what the apply has changed, also when it was taken back since. TOOK is
        how long batches were at work by the clock, however many at once, without a
        pause between them. JSON and CSV have it as `seconds_worked`, and as `seconds`
        the whole time from the beginning to the end.

        Options:
          --json                Print JSON, an event a line where things happen over
                                time. [MIGRATE_JSON]
          --csv                 Print CSV. [MIGRATE_CSV]

        Options of every command:
          --database URL        Where the data is: a URL or libpq's key=value form.
                                Without it libpq's own ways count: PG variables, service
                                file, .pgpass. [MIGRATE_DATABASE, DATABASE_URL]
          --env NAME            The database of that name in migrate.yaml, which says
                                what variable has its URL. [MIGRATE_ENV]
          --dir DIR             The folder of the definitions, at any depth. Default:
                                migrations. [MIGRATE_DIR]
          -q, --quiet           Say nothing but results and errors. [MIGRATE_QUIET]
          -v, --verbose         Say more: each batch. [MIGRATE_VERBOSE]
          --color WHEN          Colour the output: auto, always or never. NO_COLOR,
                                CLICOLOR_FORCE and TERM=dumb are heard. Default: auto.
                                [MIGRATE_COLOR]
          -h, --help            Show this help.
          --version             Show the version.

        Examples:
          migrate history --csv > runs.csv
              All runs, for a spreadsheet.

        Exit codes:
          0  done
          1  failed
          2  usage or definition error

        """)
  }

  @Test func `of a command that has commands names their options, and of which they are`() {
    #expect(
      answer(["help", "sandbox"]).contains(
        """

        Options of these commands:
          --folder DIR          Where the sandbox lives, an absolute path; without it
                                one place for each account. [MIGRATE_FOLDER]
          -y, --yes             With destroy. Do not ask. Needed without a terminal and
                                in CI. [MIGRATE_YES]
          --json                With status. Print JSON, an event a line where things
                                happen over time. [MIGRATE_JSON]

        """))
  }

  @Test func `of revert is this`() {
    #expect(
      answer(["revert", "--help"]) == """
        migrate revert: take a run back (also: rollback, undo)

        Usage: migrate revert NAME|RUN [OPTIONS]

        Puts back what was there, last batch first; what was published at once, at once.
        Rows that were changed since are conflicts: nothing of them is overwritten
        unless you say `--on-conflict force`. The way back keeps to what slows the run
        down, by its definition or as tuned, a window too, and says so first; `migrate
        tune` lifts it, `--holds none` the window.

        Arguments:
          NAME|RUN              A definition's name, which means its newest run, or the
                                number of a run.

        Options:
          --on-conflict WHAT    What to do about rows that were changed since: stop,
                                skip them, or force the old values over them. Default:
                                stop. [MIGRATE_ON_CONFLICT]
          --per-batch           Take back batch by batch what was published at once, so
                                that readers see parts of it meanwhile.
                                [MIGRATE_PER_BATCH]
          --reason TEXT         Why, for the ledger. @FILE reads it from a file, - from
                                standard input. [MIGRATE_REASON]
          --metrics FILE        Keep metrics in a file, as Prometheus reads them:
                                written anew once a second and at the end.
                                [MIGRATE_METRICS]
          --trace FILE          Append a span for each batch, and one for the run, to a
                                file: JSON lines named as OpenTelemetry does.
                                [MIGRATE_TRACE]
          -y, --yes             Do not ask. Needed without a terminal and in CI.
                                [MIGRATE_YES]
          --json                Print JSON, an event a line where things happen over
                                time. [MIGRATE_JSON]

        Options of every command:
          --database URL        Where the data is: a URL or libpq's key=value form.
                                Without it libpq's own ways count: PG variables, service
                                file, .pgpass. [MIGRATE_DATABASE, DATABASE_URL]
          --env NAME            The database of that name in migrate.yaml, which says
                                what variable has its URL. [MIGRATE_ENV]
          --dir DIR             The folder of the definitions, at any depth. Default:
                                migrations. [MIGRATE_DIR]
          -q, --quiet           Say nothing but results and errors. [MIGRATE_QUIET]
          -v, --verbose         Say more: each batch. [MIGRATE_VERBOSE]
          --color WHEN          Colour the output: auto, always or never. NO_COLOR,
                                CLICOLOR_FORCE and TERM=dumb are heard. Default: auto.
                                [MIGRATE_COLOR]
          -h, --help            Show this help.
          --version             Show the version.

        Examples:
          migrate revert prices
              The newest run of prices that is not reverted.
          migrate revert 17 --on-conflict skip
              Run 17, without the rows that were changed since.

        Exit codes:
          0  done
          1  failed
          2  usage or definition error
          4  paused, held, cancelled or taken back
          5  conflicts

        """)
  }
}
