internal import Migrate
internal import MigrateCommandLine

/// `migrate tune`: changes how an unfinished run goes, from its next batch on.
enum TuneCommand {
  static func run(_ console: Console) throws(CommandFailure) -> ExitCode {
    let tuning = Tuning(
      batchSize: said(Options.tunedBatchSize, console), workers: said(Options.tunedWorkers, console),
      maxRate: said(Options.maxRate, console), pause: said(Options.restBetweenBatches, console),
      holds: said(Options.tunedHolds, console), maxRejects: said(Options.tunedMaxRejects, console))
    guard tuning != Tuning() else {
      throw .usage(
        UsageError(
          "nothing is said that shall change",
          remedy:
            "for instance `migrate tune \(console.arguments[Positionals.steered]?.text ?? "17") --batch-size 500 --pause 1s`"
        ))
    }
    let runs = try console.runs()
    let run = try console.run(runs)
    return try console.ask { () throws(RunRefusal) in
      let tuned = try runs.tune(run, tuning, reason: console.arguments[Options.reason])
      let standing = try runs.standing(run)
      console.conclude(run, standing.word, TuningText.plain(tuned), TuningText.members(tuned))
      return .done
    }
  }

  /// What a variable or migrate.yaml says holds for runs that begin, and changes none that goes on.
  private static func said<Value>(_ option: Option<Value?>, _ console: Console) -> Value? {
    console.arguments.origin(of: option) == .commandLine ? console.arguments[option] : nil
  }
}

/// What is tuned of a run.
enum TuningText {
  /// For the line that greps: numbers are plain.
  static func plain(_ tuning: Tuning) -> String { words(tuning, separator: " ") { String($0) } }

  /// For people.
  static func words(_ tuning: Tuning) -> String { words(tuning, separator: ", ") { Wording.count($0) } }

  private static func words(_ tuning: Tuning, separator: String, _ count: (Int) -> String) -> String {
    [
      tuning.batchSize.map { "batch_size \($0 == 0 ? "auto" : count($0))" }, tuning.workers.map { "workers \($0)" },
      tuning.maxRate.map { "max_rate \($0 == 0 ? "none" : count($0))" },
      tuning.pause.map { "pause \(Int($0 / .milliseconds(1)))ms" }, tuning.holds.map { "holds \($0.rawValue)" },
      tuning.maxRejects.map { "max_rejects \(Int($0).map(count) ?? $0)" },
    ].compactMap(\.self).joined(separator: separator)
  }

  static func members(_ tuning: Tuning) -> [JSON.Member] {
    [
      .init("batch_size", tuning.batchSize == 0 ? .string("auto") : .optional(tuning.batchSize)),
      .init("workers", .optional(tuning.workers)), .init("max_rate", .optional(tuning.maxRate)),
      .init("pause_milliseconds", .optional(tuning.pause.map { Int($0 / .milliseconds(1)) })),
      .init("holds", .optional(tuning.holds?.rawValue)), .init("max_rejects", .optional(tuning.maxRejects)),
    ]
  }

  static func document(_ tuned: Tuned) -> JSON {
    .object(members(tuned.tuning) + [.init("by", .string(tuned.by)), .init("at", .string(tuned.at))])
  }
}
