internal import Migrate
internal import MigrateCommandLine

/// `migrate plan`: what would happen, then the SQL.
enum PlanCommand {
  static func run(_ console: Console) throws(CommandFailure) -> ExitCode {
    let definitions = try console.definitions(console.arguments[Positionals.names])
    let session = try console.session(for: definitions)
    let compiled = try console.compile(definitions, session, beginning: false)
    for (index, (definition, compilation)) in compiled.enumerated() {
      let behind = compiled[..<index].map(\.definition.name.value)
      do throws(PostgresError) {
        let unmet = try session.unmetNeeds(of: definition, behind: behind, .warning)
        console.warn(Diagnostics(source: definition.source, compilation.warnings.all + unmet))
      } catch { throw .database(error) }
      if let folder = console.arguments[Options.output] {
        try write(compilation, of: definition, into: folder, alone: compiled.count == 1, console)
      } else if console.isJSON {
        // Beside the measurements, which are events, the plan is a line of the stream too.
        let isStream = console.arguments[Options.measure]
        console.print(isStream ? compilation.plan.document.compact : compilation.plan.json)
      } else if console.arguments[Options.sql] {
        console.output.write((index > 0 ? "\n" : "") + Preview(compilation.plan).sql)
      } else {
        if index > 0 { console.print("") }
        try show(compilation, session, console)
      }
    }
    guard console.arguments[Options.measure] else { return .done }
    return try measure(compiled.map(\.compilation), session, console)
  }

  private static func show(
    _ compilation: Compilation, _ session: borrowing Session, _ console: Console
  ) throws(CommandFailure) {
    var explanations: [Explanation] = []
    let (surroundings, staleness): (Surroundings?, Staleness?)
    do throws(CompileFailure) {
      surroundings = try session.surroundings(of: compilation.plan)
      staleness = try session.staleness(of: compilation.plan)
      if console.arguments[Options.explain] { explanations = try session.explain(compilation) }
    } catch { throw CommandFailure(error) }
    let summary = Summary(compilation.plan, surroundings, staleness, isMeasured: console.arguments[Options.measure])
    if console.arguments[Options.markdown] {
      console.output.write(MarkdownPlan(compilation.plan, summary, explanations).text)
      return
    }
    console.print(summary.text)
    let which = compilation.plan.isFrozen ? "all rows" : "the second batch"
    for explanation in explanations {
      console.print("-- ===== explain: \(explanation.name), for \(which)\n\n\(Printable.block(explanation.text))\n")
    }
    console.output.write(Preview(compilation.plan).sql)
  }

  /// Tries a sample of each in a transaction that is rolled back.
  private static func measure(
    _ compilations: [Compilation], _ session: borrowing Session, _ console: Console
  ) throws(CommandFailure) -> ExitCode {
    console.say(
      "--measure changes five batches and rolls them back: triggers fire, sequences move and stay moved, and the")
    console.say(
      "dead row versions stay until VACUUM. Rows are locked meanwhile, and nobody is waited for longer than 500 ms.")
    guard try console.allows("plan --measure") else { return .interrupted }
    for compilation in compilations {
      let measured: Measurement
      do throws(CompileFailure) { measured = try session.measure(compilation) } catch { throw CommandFailure(error) }
      if console.isJSON {
        console.event("measured", MeasurementText.members(measured, compilation.plan))
      } else {
        console.print(MeasurementText.line(measured, compilation.plan))
      }
    }
    return .done
  }
}

/// What five batches took, in a line.
enum MeasurementText {
  static func line(_ measured: Measurement, _ plan: Plan) -> String {
    guard let perRow = measured.perRow, let expected = measured.expected else {
      return "measured \(plan.definition): no row of the sample is eligible"
    }
    let tenths = Int(perRow / .nanoseconds(100))
    return "measured \(plan.definition): \(tenths / 10).\(tenths % 10) µs a row without commit, in "
      + "\(Wording.count(measured.batches.count, "batch", "batches")) of \(Wording.count(measured.read, "row")) in all, "
      + "\(Wording.count(measured.changed)) changed; about \(Wording.roughly(expected)) for "
      + Wording.count(measured.expectedRows, "row")
  }

  static func members(_ measured: Measurement, _ plan: Plan) -> [JSON.Member] {
    [
      .init("definition", .string(plan.definition)), .init("batches", .integer(measured.batches.count)),
      .init("rows_read", .integer(measured.read)), .init("rows_changed", .integer(measured.changed)),
      .init("microseconds_a_row", measured.perRow.map { .number(String($0 / .microseconds(1))) } ?? .null),
      .init("rows_expected", .integer(measured.expectedRows)),
      .init("seconds_expected", measured.expected.map { .number(String($0 / .seconds(1))) } ?? .null),
    ]
  }
}
