import Foundation
import Migrate
import TestSupport
import Testing

/// Every block marked `console` is a session: what follows `$ ` is run, and what stands below is what it says.
///
/// The documents show a shop of a million products and tests have a small one, so figures may differ, and with them units,
/// spaces and the length of a bar; a line `…` stands for any lines.
@Suite struct `The sessions in the documents` {
  @Test("are what happens", arguments: ["README.md", "docs/tutorial.md"])
  func happen(_ path: String) async throws {
    let fences = try Fence.all(in: path).filter { $0.language == "console" }
    #expect(!fences.isEmpty)
    try await Shop.with { shop in
      let steps = fences.flatMap(Step.all)
      let said = try await run(steps, shop)
      for (step, text) in zip(steps, said) {
        #expect(
          Shape.matches(step.expected, text), "\(path):\(step.line): `\(step.command)` says:\n\(text)")
      }
      #expect(said.count == steps.count)
    }
  }

  /// Whoever tries the tutorial a second time would have each row twice in the tables that have no key yet.
  @Test("load the shop, and a second time touch nothing", arguments: ["README.md", "docs/tutorial.md"])
  func load(_ path: String) async throws {
    let commands = try Fence.all(in: path).flatMap { $0.text.split(separator: "\n").map(String.init) }
      .filter { $0.hasSuffix(" -f migrations/demo/shop.sql") }
    let command = try #require(commands.first)
    try await Shop.with { shop in
      let before = try await shop.checksums()
      let process = try Program.process("/bin/bash", ["-c", command], database: shop.server)
      process.environment?["PGOPTIONS"] = "-c demo.size=small"
      let (status, text) = try await onThread { try Program.output(of: process) }
      #expect(status == 3 && text.hasSuffix("ERROR:  schema \"shop\" already exists\n"), "\(text)")
      #expect(try await shop.checksums() == before)
      _ = try await shop.server.psql("DROP SCHEMA shop, archive, site, staff CASCADE")
      let again = try Program.process("/bin/bash", ["-c", command], database: shop.server)
      again.environment?["PGOPTIONS"] = "-c demo.size=small"
      #expect(try await onThread { try Program.output(of: again) } == (0, ""))
      #expect(try await shop.checksums() == before)
    }
  }

  private struct Step: Sendable {
    let command: String
    let expected: String
    let line: Int

    static func all(in fence: Fence) -> [Step] {
      var steps: [(command: String, lines: [Substring], line: Int)] = []
      for (number, line) in fence.text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
        if line.hasPrefix("$ ") {
          steps.append((String(line.dropFirst(2)), [], fence.line + number + 1))
        } else if !steps.isEmpty {
          steps[steps.count - 1].lines.append(line)
        }
      }
      return steps.map { Step(command: $0.command, expected: $0.lines.joined(separator: "\n"), line: $0.line) }
    }
  }

  /// All of them in one shell, as a person would type them, in a folder that has the definitions.
  private func run(_ steps: [Step], _ shop: Shop) async throws -> [String] {
    let mark = "-- next command --"
    let script = steps.map { "echo '\(mark)'\n(exit $code)\n\($0.command)\ncode=$?\n" }.joined()
    let text = try await withFolder { path in
      let folder = URL(fileURLWithPath: path)
      try FileManager.default.createSymbolicLink(
        at: folder.appending(path: "migrations"), withDestinationURL: Repository.root.appending(path: "migrations"))
      let process = try Program.process(
        "/bin/bash", ["-c", "code=0\n" + script], database: shop.server, in: folder)
      return try await onThread { try Program.output(of: process).text }
    }
    return Array(text.components(separatedBy: mark + "\n").dropFirst())
  }
}

/// A text without its figures.
enum Shape {
  static func matches(_ expected: String, _ text: String) -> Bool {
    matches(lines(expected)[...], lines(text)[...])
  }

  private static func matches(_ expected: ArraySlice<String>, _ lines: ArraySlice<String>) -> Bool {
    guard let first = expected.first else { return lines.isEmpty }
    if first == "…" {
      return (lines.startIndex...lines.endIndex).contains { matches(expected.dropFirst(), lines[$0...]) }
    }
    return first == lines.first && matches(expected.dropFirst(), lines.dropFirst())
  }

  private static func lines(_ text: String) -> [String] {
    text.split(separator: "\n").map { line in
      String(line.replacing(/[0-9][0-9,.]*( (?:kB|MB|GB|B|ms|s|batches|batch))?/, with: { $0.1 == nil ? "0" : "0 u" }))
        .split(separator: " ").joined(separator: " ")
    }.filter { !$0.isEmpty }
  }
}
