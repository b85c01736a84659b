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
        let isStream = console.arguments[Options.measure] || console.arguments[Options.prove]
        console.print(isStream ? compilation.plan.document.compact : compilation.plan.json)
      } else if console.arguments[Options.sql] {
        console.output.write((index > 0 ? "\n" : "") + Preview(compilation.plan).sql)
      } else {
        if index > 0 { console.print("") }
        try show(compilation, session, console)
      }
    }
    if console.arguments[Options.measure] {
      let ended = try measure(compiled.map(\.compilation), session, console)
      if ended != .done { return ended }
    }
    guard console.arguments[Options.prove] else { return .done }
    return try prove(compiled.map(\.compilation), session, console)
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

extension PlanCommand {
  /// Does a sample of each in several ways.
  fileprivate static func prove(
    _ compilations: [Compilation], _ session: borrowing Session, _ console: Console
  ) throws(CommandFailure) -> ExitCode {
    console.say(
      "--prove changes a sample in three transactions and rolls them back: triggers fire, sequences move and stay")
    console.say("moved, and the dead row versions stay until VACUUM. Nobody is waited for longer than 500 ms.")
    guard try console.allows("plan --prove") else { return .interrupted }
    var ended = ExitCode.done
    for compilation in compilations {
      let proof: Proof
      do throws(CompileFailure) { proof = try session.prove(compilation) } catch { throw CommandFailure(error) }
      if console.isJSON {
        console.event("proved", ProofText.members(proof, compilation.plan))
      } else {
        console.print(ProofText.lines(proof, compilation.plan))
      }
      if !proof.byBatch.isEmpty { ended = .failed }
    }
    return ended
  }
}

/// What has come of a sample, done in several ways.
enum ProofText {
  private static let most = 10

  static func lines(_ proof: Proof, _ plan: Plan) -> String {
    let name = plan.definition
    guard proof.isCompared else {
      return "not proved \(name): under `undo: none` nothing is kept that could be compared"
    }
    guard proof.rows > 0 else { return "not proved \(name): no row of the sample is eligible" }
    let ways =
      "\(Wording.count(proof.rows, "row")) in one batch, and in \(Wording.count(proof.batches, "batch", "batches")) in another order"
    var lines = [
      proof.byBatch.isEmpty
        ? "proved \(name): \(ways): the same"
        : "refuted \(name): \(ways): \(Wording.count(proof.byBatch.count, "row differs", "rows differ")); freeze what it reads: `source: {query: …, key: …}`"
    ]
    lines += proof.byBatch.prefix(most).map { line($0, plan, "in many") }
    if proof.byBatch.count > most { lines.append("  … and \(Wording.count(proof.byBatch.count - most, "more"))") }
    if !proof.byZone.isEmpty {
      lines.append(
        "  \(Wording.count(proof.byZone.count, "row depends", "rows depend")) on the time zone, which is pinned")
      lines += proof.byZone.prefix(3).map { line($0, plan, Session.proofZone) }
    }
    return lines.joined(separator: "\n")
  }

  private static func line(_ difference: Proof.Difference, _ plan: Plan, _ otherwise: String) -> String {
    let step = plan.steps.first { $0.number == difference.step }
    let key = difference.key.map { " \(Printable.line($0))" } ?? ""
    return
      "  \(step?.table ?? "")\(key): in one batch \(Printable.line(difference.inOne ?? "no such row")), \(otherwise) \(Printable.line(difference.otherwise ?? "no such row"))"
  }

  static func members(_ proof: Proof, _ plan: Plan) -> [JSON.Member] {
    func list(_ differences: [Proof.Difference]) -> JSON {
      .array(
        differences.map {
          .object([
            .init("step", .integer($0.step)), .init("key", .optional($0.key)), .init("in_one", .optional($0.inOne)),
            .init("otherwise", .optional($0.otherwise)),
          ])
        })
    }
    return [
      .init("definition", .string(plan.definition)), .init("rows", .integer(proof.rows)),
      .init("batches", .integer(proof.batches)), .init("differences", list(proof.byBatch)),
      .init("of_time_zone", list(proof.byZone)),
    ]
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
      + (measured.publishing.map {
        "\npublishing \(Wording.count($0.rows, "row")) at once: about \(Wording.roughly($0.wait)), which a writer of one of them may wait"
      } ?? "")
  }

  static func members(_ measured: Measurement, _ plan: Plan) -> [JSON.Member] {
    [
      .init("definition", .string(plan.definition)), .init("batches", .integer(measured.batches.count)),
      .init("rows_read", .integer(measured.read)), .init("rows_changed", .integer(measured.changed)),
      .init("microseconds_a_row", measured.perRow.map { .number(String($0 / .microseconds(1))) } ?? .null),
      .init("rows_expected", .integer(measured.expectedRows)),
      .init("seconds_expected", measured.expected.map { .number(String($0 / .seconds(1))) } ?? .null),
    ]
      + (measured.publishing.map {
        [
          .init("rows_published", .integer($0.rows)),
          .init("seconds_waited_at_most", .number(String($0.wait / .seconds(1)))),
        ]
      } ?? [])
  }
}
