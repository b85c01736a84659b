/// The commands of `migrate` as values; what they do is written elsewhere, a file each.
package enum Commands {
  package static let plan = Command(
    "plan", abstract: "show what would happen, then the SQL",
    discussion:
      "Nothing is changed. What is printed is what `migrate apply` runs, character for character, the run's own "
      + "number aside. Without a name: every definition.",
    positionals: [Positionals.names],
    options: [
      Options.sql, Options.json, Options.markdown, Options.explain, Options.measure, Options.prove, Options.output,
      Options.parameters,
      Options.parameterFile, Options.searchPath, Options.batchSize, Options.workers, Options.yes,
    ],
    conflicts: [
      [Options.sql, Options.json, Options.markdown], [Options.explain, Options.sql], [Options.explain, Options.json],
    ],
    examples: [
      Command.Example("migrate plan prices --param rate=1.05", "What it does, the SQL, and what takes it back."),
      Command.Example("migrate plan prices --out scripts", "The same as scripts that psql runs."),
      Command.Example("migrate plan --markdown > plan.md", "Every definition, for a pull request."),
    ],
    exitCodes: [.done, .failed, .usage, .interrupted])

  package static let test = Command(
    "test", abstract: "try the tests of definitions",
    discussion:
      "Each inserts the rows that it gives, applies the definition to them, compares what is there then with what it expects, and takes "
      + "that back: in one transaction, which is rolled back. Triggers fire and constraints hold; other rows are left alone unless the "
      + "definition means them. Without a name: every definition.",
    positionals: [Positionals.names],
    options: [
      Options.parameters, Options.parameterFile, Options.searchPath, Options.yes, Options.json,
    ],
    examples: [
      Command.Example("migrate test", "All tests, before a change of a definition is merged."),
      Command.Example("migrate test prices --yes", "Those of one definition, without being asked."),
    ],
    exitCodes: [.done, .failed, .usage, .interrupted])

  package static let apply = Command(
    "apply", abstract: "run definitions, or go on where a run stopped",
    discussion:
      "Shows a summary and asks. Without a name: lists what is pending and asks. Ctrl-C pauses at the edge of a "
      + "batch, a second Ctrl-C cancels the statement; nothing is lost, and `migrate apply` goes on.",
    positionals: [Positionals.names],
    options: [
      Options.dryRun, Options.parameters, Options.parameterFile, Options.searchPath, Options.batchSize, Options.workers,
      Options.again, Options.allPending, Options.expectOne,
      Options.concurrent, Options.rejects, Options.reason, Options.metrics, Options.trace, Options.yes, Options.json,
    ],
    // A second try goes by the plan of the run, in one worker.
    conflicts: [
      [Options.rejects, Options.dryRun], [Options.rejects, Options.again], [Options.rejects, Options.parameters],
      [Options.rejects, Options.parameterFile], [Options.rejects, Options.searchPath],
      [Options.rejects, Options.batchSize], [Options.rejects, Options.workers], [Options.rejects, Options.concurrent],
      [Options.rejects, Options.metrics], [Options.rejects, Options.trace], [Options.rejects, Options.allPending],
      [Options.rejects, Options.expectOne],
    ],
    examples: [
      Command.Example("migrate apply --rejects 17", "The rows in quarantine of run 17, once they are mended."),
      Command.Example("migrate apply --all --yes", "Everything that is pending, in the order of `needs`."),
      Command.Example("migrate apply prices --param rate=1.05", "Change the rows, after asking."),
      Command.Example("migrate apply prices --yes --json", "In a script: no question, events as JSON lines."),
    ],
    exitCodes: [.done, .failed, .usage, .rejects, .interrupted])

  package static let revert = Command(
    "revert", aliases: ["rollback", "undo"], abstract: "take a run back",
    discussion:
      "Puts back what was there, last batch first; what was published at once, at once. Rows that were changed since are conflicts: nothing of them is "
      + "overwritten unless you say `--on-conflict force`. The way back keeps to what slows the run down, by its definition or "
      + "as tuned, a window too, and says so first; `migrate tune` lifts it, `--holds none` the window.",
    positionals: [Positionals.runOrName],
    options: [
      Options.onConflict, Options.perBatch, Options.reason, Options.metrics, Options.trace, Options.yes, Options.json,
    ],
    examples: [
      Command.Example("migrate revert prices", "The newest run of prices that is not reverted."),
      Command.Example("migrate revert 17 --on-conflict skip", "Run 17, without the rows that were changed since."),
    ],
    exitCodes: [.done, .failed, .usage, .interrupted, .conflicts])

  package static let status = Command(
    "status", aliases: ["info"], abstract: "show state, progress, rate, time left and what holds a run",
    positionals: [Positionals.shown],
    options: [Options.watch, Options.exitCode, Options.metrics, Options.json],
    examples: [
      Command.Example("migrate status 17 --watch", "Follow run 17 until it ends."),
      Command.Example("migrate status 17 --exit-code --quiet", "In a script: is it complete?"),
    ],
    exitCodes: [.done, .failed, .usage, .rejects, .interrupted, .conflicts])

  package static let wait = Command(
    "wait", abstract: "wait until a run ends, or stands still",
    discussion:
      "By its definition's name it can be waited for before it has begun: the newest run that is not reverted, or the next "
      + "one. Ends with 0 only when the run is complete, so what may not come before it stands behind `&&`. A run that is "
      + "paused, failed or interrupted is not waited for any longer. Looks once a second at most and keeps no transaction open.",
    positionals: [Positionals.runOrName], options: [Options.timeout, Options.json],
    examples: [
      Command.Example(
        "migrate wait prices --timeout 1h && psql \"$DATABASE_URL\" -f drop_old_price.sql",
        "First the data, then the schema."),
      Command.Example("migrate wait 17", "Until run 17 ends, however long that takes."),
    ],
    exitCodes: [.done, .failed, .usage, .rejects, .interrupted, .conflicts, .timedOut])

  package static let why = Command(
    "why", abstract: "show which runs have touched a row, and what they made of it",
    discussion:
      "By its primary key: a word for each column, or one word with commas, where double quotes keep a comma within a value. A "
      + "column behind it shows only that one. Each run tells who, when and why, the columns before and after, what a revert has "
      + "made of it, and whether it is in quarantine, or was mended there. Where a run kept no values, or its undo was dropped, that is said. "
      + "`--` stands before a key that begins with a dash.",
    positionals: [Positionals.table, Positionals.key], options: [Options.json],
    examples: [
      Command.Example("migrate why shop.products 42", "Who has changed product 42?"),
      Command.Example("migrate why shop.products 42 price", "Its price alone."),
      Command.Example("migrate why shop.order_items 17,42", "A key of two columns; `17 42` is the same."),
    ])

  package static let history = Command(
    "history", aliases: ["log", "ls"], abstract: "list the runs so far",
    discussion:
      "ROWS is what the apply has changed, also when it was taken back since. "
      + "TOOK is how long batches were at work by the clock, however many at once, without a pause between them. "
      + "JSON and CSV have it as `seconds_worked`, and as `seconds` the whole time from the beginning to the end.",
    options: [Options.json, Options.csv], conflicts: [[Options.json, Options.csv]],
    examples: [Command.Example("migrate history --csv > runs.csv", "All runs, for a spreadsheet.")])

  package static let rejects = Command(
    "rejects", aliases: ["quarantine"], abstract: "show the rows that a run has left out, and why; mend them",
    discussion:
      "A row that breaks a rule of `validation`, and under `on_error: continue` one that the database refuses, stays as it "
      + "is and goes to quarantine with the reason. `--fix` changes such rows in their table, all or those "
      + "`--where` a condition holds, and notes who, when, how and with `--reason` why; `migrate apply --rejects RUN` then tries them "
      + "again. JSON has a line for each row.",
    positionals: [Positionals.runOrName],
    options: [
      Options.json, Options.csv, Options.all, Options.fix, Options.condition, Options.reason, Options.yes,
    ],
    conflicts: [[Options.json, Options.csv, Options.fix]],
    examples: [
      Command.Example("migrate rejects 17", "How many for which reason, and the first of them."),
      Command.Example("migrate rejects 17 --csv > rejects.csv", "All of them."),
      Command.Example("migrate rejects 17 --fix 'SET email = lower(email)'", "Then: migrate apply --rejects 17."),
      Command.Example(
        "migrate rejects 17 --fix 'SET age = NULL' --where 'age > 150'", "Only some of them."),
    ])

  package static let verify = Command(
    "verify", abstract: "check a run's coverage, counts and checks again",
    positionals: [Positionals.runOrName], options: [Options.json, Options.csv],
    conflicts: [[Options.json, Options.csv]],
    examples: [Command.Example("migrate verify 17", "Is every row done, and does every check hold?")])

  package static let pause = Command(
    "pause", abstract: "pause a run at the edge of its batch, from any machine",
    discussion:
      "Waits until the run stands still, or tells that a worker is busy with a batch: it pauses at the edge of that. A run "
      + "whose worker is gone is paused at once.",
    positionals: [Positionals.steered], options: [Options.reason, Options.json],
    examples: [
      Command.Example("migrate pause 17 --reason 'sale at noon'", "Within one batch."),
      Command.Example("migrate pause prices", "The run of prices that is not finished."),
    ])

  package static let resume = Command(
    "resume", abstract: "go on with a run that is paused, failed or interrupted, whichever way it goes",
    discussion:
      "A client that stayed while the run was paused goes on with it; when nobody works on it, as behind a canary, this command "
      + "does. It accepts what a run has found and did not expect, and ends what a run waits for behind its canary: the rest is "
      + "done then. SQL can ask for it, too: SELECT migrate.resume(17). That alone works on nothing, and says so where no client "
      + "has stayed.",
    positionals: [Positionals.steered], options: [Options.reason, Options.metrics, Options.trace, Options.json],
    examples: [Command.Example("migrate resume 17", "At the batch where it stopped.")],
    exitCodes: [.done, .failed, .usage, .rejects, .interrupted, .conflicts])

  package static let cancel = Command(
    "cancel", aliases: ["stop"], abstract: "end a run for good, keeping what it has done",
    discussion:
      "What is committed stays, and `migrate revert` takes it back, or `--revert` at once. The way back keeps to what slows the "
      + "run down, by its definition or as tuned, a window too, and says so first; `migrate tune` lifts it, `--holds none` the window.",
    positionals: [Positionals.steered], options: [Options.revertToo, Options.reason, Options.yes, Options.json],
    examples: [
      Command.Example("migrate cancel 17", "Then perhaps: migrate revert 17."),
      Command.Example("migrate cancel 17 --revert", "Both, in one go."),
    ],
    exitCodes: [.done, .failed, .usage, .interrupted, .conflicts])

  package static let tune = Command(
    "tune", abstract: "change how a run goes: its pace, what holds it, how many rejects end it, from any machine",
    discussion:
      "What is said counts in place of what the definition says, from the next batch on, also when the run is resumed; what is "
      + "not said stays as it is. "
      + "`migrate status` shows it. SQL can do it, too: SELECT migrate.tune(17, _max_rate => 5000).",
    positionals: [Positionals.steered],
    options: [
      Options.tunedBatchSize, Options.tunedWorkers, Options.maxRate, Options.restBetweenBatches, Options.tunedHolds,
      Options.tunedMaxRejects, Options.reason, Options.json,
    ],
    examples: [
      Command.Example("migrate tune 17 --max-rate 5k", "At most 5,000 rows a second, over all workers."),
      Command.Example("migrate tune 17 --batch-size auto --pause 0s", "As fast as batches of half a second go."),
      Command.Example("migrate tune 17 --holds none", "Go on, or back, although the window is closed."),
      Command.Example(
        "migrate tune 17 --max-rejects 2000", "Then: migrate apply, which goes on where it had too many."),
    ])

  package static let sandbox = Command(
    "sandbox", abstract: "a private PostgreSQL to try things in",
    subcommands: [
      Command("start", abstract: "start it, made anew when there is none", options: [Options.sandboxFolder]),
      Command("stop", abstract: "stop it; its data stays", options: [Options.sandboxFolder]),
      Command("destroy", abstract: "stop it and remove its data", options: [Options.sandboxFolder, Options.yes]),
      Command("status", abstract: "tell whether it runs, and where", options: [Options.sandboxFolder, Options.json]),
      Command("url", abstract: "print its URL, for --database", options: [Options.sandboxFolder]),
    ],
    examples: [
      Command.Example("migrate sandbox start", "A cluster of its own, reached by a socket alone."),
      Command.Example("export DATABASE_URL=$(migrate sandbox url)", "The commands that follow use it."),
    ])

  package static let help = Command(
    "help", abstract: "explain a command", positionals: [Positionals.commands],
    examples: [Command.Example("migrate help apply", "The same as: migrate apply --help.")], exitCodes: [.done, .usage])

  package static let version = Command("version", abstract: "show the version", exitCodes: [.done, .usage])

  package static let program = Program(
    "migrate", version: "0.1.0", abstract: "change data in bulk, inside PostgreSQL",
    discussion:
      "You declare in YAML what the data should become; it runs as SQL in batches that can be watched, paused, "
      + "resumed and taken back.",
    commands: [
      plan, test, apply, revert, status, wait, why, history, rejects, verify, pause, resume, cancel, tune, sandbox,
      help,
      version,
    ],
    globalOptions: [
      Options.database, Options.environment, Options.directory, Options.quiet, Options.verbose, Options.color,
      Options.help, Options.version,
    ],
    globalConflicts: [[Options.quiet, Options.verbose], [Options.database, Options.environment]],
    later: later, laterOptions: laterOptions,
    examples: [
      Command.Example("migrate plan prices", "What would happen."),
      Command.Example("migrate apply prices", "Make it happen."),
      Command.Example("migrate revert prices", "Take it back."),
    ])

  private static let laterOptions: [LaterCommand] = []

  private static let later: [LaterCommand] = [
    LaterCommand(
      "init", instead: "a definition is a YAML file under migrations/, and `migrate apply` creates the ledger"),
    LaterCommand("new", instead: "a definition is a YAML file under migrations/"),
    LaterCommand("lint", instead: "`migrate plan` shows every error of a definition"),
    LaterCommand("validate", instead: "`migrate plan` shows every error of a definition"),
    LaterCommand("run", instead: "`migrate apply NAME` runs a definition"),
    LaterCommand("report", instead: "`migrate status RUN --json` and `migrate history --csv` have the figures"),
    LaterCommand("rehearse", instead: "`migrate plan --measure` tries a sample and rolls it back"),
    LaterCommand("doctor"), LaterCommand("schedule"), LaterCommand("reconcile"), LaterCommand("dashboard"),
    LaterCommand("prune"), LaterCommand("schema"),
  ]
}
