internal import Migrate
internal import MigrateCommandLine

/// A plan in Markdown, for a pull request: a heading, a table, the SQL in fenced blocks.
struct MarkdownPlan {
  private let plan: Plan
  private let summary: Summary
  private let explanations: [Explanation]

  init(_ plan: Plan, _ summary: Summary, _ explanations: [Explanation]) {
    self.plan = plan
    self.summary = summary
    self.explanations = explanations
  }

  var text: String {
    var parts = ["## migrate plan: \(Self.inline(plan.definition))", table]
    if !plan.warnings.isEmpty {
      parts.append("### Warnings\n\n" + plan.warnings.map(Self.item).joined(separator: "\n"))
    }
    for explanation in explanations {
      parts.append("### EXPLAIN: \(explanation.name)\n\n" + Self.fenced(explanation.text, ""))
    }
    for phase in plan.phases where !phase.statements.isEmpty {
      let blocks = phase.statements.map { statement in
        "\(Self.inline("\(statement.name): \(statement.why)"))\n\n" + Self.fenced(statement.text + ";", "sql")
      }
      parts.append(
        "<details><summary>SQL: \(phase.name.rawValue)</summary>\n\n" + blocks.joined(separator: "\n\n")
          + "\n\n</details>")
    }
    return parts.joined(separator: "\n\n") + "\n"
  }

  private var table: String {
    let rows = summary.lines.map { "| \($0.title) | \($0.text.map(Self.cell).joined(separator: "<br>")) |" }
    return (["| | |", "| --- | --- |"] + rows).joined(separator: "\n")
  }

  /// A line of a cell; its blanks at the beginning stay.
  private static func cell(_ line: String) -> String {
    let text = line.drop { $0 == " " }
    return String(repeating: "&nbsp;", count: line.utf8.count - text.utf8.count) + inline(String(text))
  }

  private static func item(_ warning: PlanWarning) -> String {
    let line = warning.line.map { "line \($0): " } ?? ""
    return "- \(line)\(inline(warning.message)) `[\(warning.code)]`  \n  help: \(inline(warning.remedy))"
  }

  /// Text on one line in which nothing is taken for markup; what stands in backquotes stays code.
  private static func inline(_ text: String) -> String {
    let special: Set<UInt8> = Set("\\|*_<>[]#".utf8)
    var result: [UInt8] = []
    var isCode = false
    for byte in Printable.line(text).utf8 {
      if byte == UInt8(ascii: "`") { isCode.toggle() }
      // A bar ends a cell of a table even in code.
      if special.contains(byte), !isCode || byte == UInt8(ascii: "|") { result.append(UInt8(ascii: "\\")) }
      result.append(byte)
    }
    return String(decoding: result, as: UTF8.self)
  }

  /// The fence is longer than any row of backquotes inside.
  private static func fenced(_ text: String, _ language: String) -> String {
    var longest = 0
    var current = 0
    for byte in text.utf8 {
      current = byte == UInt8(ascii: "`") ? current + 1 : 0
      longest = max(longest, current)
    }
    let fence = String(repeating: "`", count: max(3, longest + 1))
    return "\(fence)\(language)\n\(Printable.block(text))\n\(fence)"
  }
}
