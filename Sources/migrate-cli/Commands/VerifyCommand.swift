internal import Migrate
internal import MigrateCommandLine

/// `migrate verify`: a run's coverage, counts and checks again.
enum VerifyCommand {
  static func run(_ console: Console) throws(CommandFailure) -> ExitCode {
    let runs = try console.runs()
    let reference = console.arguments[Positionals.runOrName]?.text ?? ""
    let summary = try console.ask { () throws(RunRefusal) in try runs.verifiable(reference) }
    let found = try console.ask { () throws(RunRefusal) in try runs.verify(summary.id) }
    let code: ExitCode = found.holds ? .done : .failed
    if console.isJSON {
      console.print(document(found, summary, code).compact)
    } else if console.arguments[Options.csv] {
      let writer = CSVWriter(escapesControls: console.page.isTerminal)
      let rows = found.findings.map { [String(found.run), $0.name, $0.verdict.rawValue, String($0.figure), $0.detail] }
      console.output.write(([["run", "name", "verdict", "figure", "detail"]] + rows).map(writer.record).joined())
    } else {
      let lines = found.findings.map { finding in
        "  \(ColumnWidth.padded(finding.verdict.rawValue, to: 6))  \(finding.name): \(finding.detail)"
      }
      console.print((["run \(found.run) \(summary.name)"] + lines).map(Printable.line).joined(separator: "\n"))
      console.print("run \(found.run) " + (found.holds ? "verified" : "not verified"))
    }
    return code
  }

  private static func document(_ found: Verification, _ summary: RunSummary, _ code: ExitCode) -> JSON {
    let findings = found.findings.map { finding -> JSON in
      [
        "name": .string(finding.name), "verdict": .string(finding.verdict.rawValue), "figure": .integer(finding.figure),
        "detail": .string(finding.detail),
      ]
    }
    return [
      "run": .integer(found.run), "name": .string(summary.name), "verified": .bool(found.holds),
      "findings": .array(findings), "exit_code": .integer(Int(code.rawValue)),
    ]
  }
}
