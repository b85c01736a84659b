package import MigratePlan

/// The options of `migrate`, each said once; a command lists those that it takes.
package enum Options {
  // Of every command.
  package static let database = Option.optional(
    "database", .name, named: "URL", environment: ["DATABASE_URL"],
    help:
      "Where the data is: a URL or libpq's key=value form. Without it libpq's own ways count: PG variables, service "
      + "file, .pgpass.")
  package static let environment = Option.optional(
    "env", .name, named: "NAME",
    help: "The database of that name in migrate.yaml, which says what variable has its URL.")
  package static let directory = Option.value(
    "dir", .name, named: "DIR", default: "migrations", help: "The folder of the definitions, at any depth.")
  package static let quiet = Option.flag("quiet", short: "q", help: "Say nothing but results and errors.")
  package static let verbose = Option.flag("verbose", short: "v", help: "Say more: each batch.")
  package static let color = Option.value(
    "color", .choice(ColorChoice.self), named: "WHEN", default: .auto,
    help: "Colour the output: auto, always or never. NO_COLOR, CLICOLOR_FORCE and TERM=dumb are heard.")
  package static let help = Option.flag("help", short: "h", fromEnvironment: false, help: "Show this help.")
  package static let version = Option.flag("version", fromEnvironment: false, help: "Show the version.")

  // What is printed.
  package static let json = Option.flag("json", help: "Print JSON, an event a line where things happen over time.")
  package static let csv = Option.flag("csv", help: "Print CSV.")
  package static let sql = Option.flag("sql", help: "Print the SQL alone, as psql would run it.")
  package static let markdown = Option.flag("markdown", help: "Print Markdown, for a pull request.")

  // What runs.
  package static let parameters = Option.repeated(
    "param", aliases: ["set"], .assignment, named: "NAME=VALUE",
    help: "A parameter of the definition; may be said again for another one.")
  package static let parameterFile = Option.optional(
    "param-file", .name, named: "FILE", help: "Read parameters from a YAML file; --param wins.")
  package static let searchPath = Option.optional(
    "search-path", .name, named: "SCHEMAS", help: "Schemas for names without one, separated by commas: a tenant's, say."
  )
  package static let batchSize = Option.optional(
    "batch-size", .size, named: "ROWS", help: "Rows that commit together, e.g. 500, 5k or 1M.")
  package static let workers = Option.optional(
    "workers", .integer(in: 1...64), named: "N",
    help: "Workers: just as many, at once, where `parallel` is a limit; also when a run goes on, up to its slices."
  )
  package static let again = Option.flag("again", help: "Run it although it was completed before.")
  package static let allPending = Option.flag("all", help: "All definitions that are pending, as without a name.")
  package static let expectOne = Option.flag(
    "expect-one", help: "Refuse unless just one definition is pending: for deploys.")
  package static let concurrent = Option.flag(
    "concurrent", help: "Run beside another run that changes the same columns.")
  package static let reason = Option.optional(
    "reason", .text, named: "TEXT", mayBeLong: true,
    help: "Why, for the ledger. @FILE reads it from a file, - from standard input.")
  package static let yes = Option.flag("yes", short: "y", help: "Do not ask. Needed without a terminal and in CI.")
  package static let dryRun = Option.flag("dry-run", help: "Show what would happen, as `migrate plan` does.")

  // Of one command each.
  package static let explain = Option.flag("explain", help: "Add how PostgreSQL would execute the statements.")
  package static let prove = Option.flag(
    "prove",
    help:
      "Do a sample in one batch and in many in another order, in transactions that are rolled back, and print the rows that differ."
  )
  package static let measure = Option.flag(
    "measure", help: "Try five batches in a transaction that is rolled back, and print the time a row takes.")
  package static let output = Option.optional(
    "out", .name, named: "DIR", help: "Write apply.sql, verify.sql and revert.sql, which psql runs without this tool.")
  package static let onConflict = Option.value(
    "on-conflict", .choice(ConflictPolicy.self), named: "WHAT", default: .stop,
    help: "What to do about rows that were changed since: stop, skip them, or force the old values over them.")
  package static let perBatch = Option.flag(
    "per-batch", help: "Take back batch by batch what was published at once, so that readers see parts of it meanwhile."
  )
  package static let rejects = Option.optional(
    "rejects", .runOrName, named: "NAME|RUN",
    help: "Try the rows that wait in the quarantine of a run once more, and no others.")
  package static let fix = Option.optional(
    "fix", .text, named: "SET", mayBeLong: true,
    help: "Set columns of the rows that wait, such as 'SET email = lower(email)'; a revert of the run takes it back.")
  package static let condition = Option.optional(
    "where", .text, named: "CONDITION", mayBeLong: true,
    help: "With --fix: only rows that fulfil an SQL condition over their columns, such as \"email LIKE '% %'\".")
  package static let all = Option.flag("all", help: "Those that are resolved or reverted, too.")
  package static let sandboxFolder = Option.optional(
    "folder", .name, named: "DIR",
    help: "Where the sandbox lives, an absolute path; without it one place for each account.")
  package static let watch = Option.flag("watch", help: "Go on showing it until the run ends or stands still.")
  package static let timeout = Option.optional(
    "timeout", .duration, named: "DURATION", help: "Wait no longer than that, e.g. 90s, 10m or 1h30m.")
  package static let metrics = Option.optional(
    "metrics", .name, named: "FILE",
    help: "Keep metrics in a file, as Prometheus reads them: written anew once a second and at the end.")
  package static let trace = Option.optional(
    "trace", .name, named: "FILE",
    help: "Append a span for each batch, and one for the run, to a file: JSON lines named as OpenTelemetry does.")
  package static let revertToo = Option.flag("revert", help: "Take back what it has done, too.")
  package static let tunedBatchSize = Option.optional(
    "batch-size", .sizeOrAuto, named: "ROWS", help: "Rows that commit together, e.g. 500 or 5k, or auto.")
  package static let tunedWorkers = Option.optional(
    "workers", .integer(in: 1...64), named: "N", help: "Workers beside each other, just as many.")
  package static let maxRate = Option.optional(
    "max-rate", .sizeOrNone, named: "ROWS", help: "Rows a second over all workers, at most; none lifts the limit.")
  package static let restBetweenBatches = Option.optional(
    "pause", .duration, named: "TIME", help: "Rest between two batches of a worker, e.g. 200ms; 0s is none.")
  package static let tunedHolds = Option.optional(
    "holds", .choice(TunedHolds.self), named: "WHAT",
    help:
      "What makes it hold: none, that is neither its window nor any condition, on its way back neither; or plan, as its "
      + "definition says. Behind a canary it holds all the same.")
  package static let tunedMaxRejects = Option.optional(
    "max-rejects", .portion, named: "ROWS",
    help: "More rows in quarantine end the run: a number, or a part of the rows read, e.g. 2000 or 0.5%.")
  package static let exitCode = Option.flag("exit-code", help: "End with 0 only when the run is complete.")
}

extension Options {
  /// What speaks for one time only, or loosens a safeguard: it has no default in migrate.yaml.
  package static let saidEachTime: [any DescribedOption] = [
    parameters, reason, again, allPending, expectOne, concurrent, yes, dryRun, measure, prove, onConflict, perBatch,
    revertToo,
    rejects,
    fix, condition,
    maxRate, restBetweenBatches, tunedHolds, tunedMaxRejects,
  ]
  /// Those that name a file or a folder; in migrate.yaml its path counts from there.
  package static let paths: [any DescribedOption] = [directory, parameterFile, output, metrics, trace]
}

/// The positional arguments of `migrate`.
package enum Positionals {
  package static let names = Positional.many("NAME", .name, help: "What a definition is called behind `batch:`.")
  package static let steered = Positional.required(
    "NAME|RUN", .runOrName,
    help:
      "A definition's name, which means its newest unfinished run, or the number of a run; `migrate status` lists them."
  )
  package static let shown = Positional.optional(
    "NAME|RUN", .runOrName,
    help:
      "A definition's name, which means its newest run, an unfinished one if there is one, or the number of a run; without it, all "
      + "that are not finished.")
  package static let runOrName = Positional.required(
    "NAME|RUN", .runOrName, help: "A definition's name, which means its newest run, or the number of a run.")
  package static let table = Positional.required("TABLE", .name, help: "A table, as SQL writes it: shop.products.")
  package static let key = Positional.many(
    "KEY", .text, atLeastOne: true, help: "The key of a row, and perhaps a column of it.")
  package static let commands = Positional.many("COMMAND", .name, help: "The command to explain.")
}
