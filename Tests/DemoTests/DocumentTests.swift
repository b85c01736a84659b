import Foundation
import MigrateCommandLine
import TestSupport
import Testing

/// A fenced block of a document.
struct Fence: Sendable {
  let language: String
  let text: String
  /// Where it begins, from 1.
  let line: Int

  static func all(in path: String) throws -> [Fence] {
    var fences: [Fence] = []
    var open: (language: String, line: Int, lines: [Substring])?
    let lines = try Repository.text(path).split(separator: "\n", omittingEmptySubsequences: false)
    for (number, line) in lines.enumerated() {
      guard line.hasPrefix("```") else {
        open?.lines.append(line)
        continue
      }
      if let fence = open {
        let text = fence.lines.joined(separator: "\n") + "\n"
        fences.append(Fence(language: fence.language, text: text, line: fence.line))
        open = nil
      } else {
        open = (String(line.dropFirst(3)), number + 1, [])
      }
    }
    return fences
  }
}

/// The documents that people read.
let documents = [
  "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/tutorial.md", "docs/guarantees.md", "docs/quarantine.md",
  "docs/reference.md",
  "docs/traps.md",
  "docs/roles.md", "docs/publishing.md", "docs/testing.md",
]

@Suite struct `The documents` {
  @Test("link only to what is there", arguments: documents + decisions)
  func link(_ path: String) throws {
    let text = try Repository.text(path)
    let folder = Repository.root.appending(path: path).deletingLastPathComponent()
    var count = 0
    for match in text.matches(of: /\]\(([^)#]+)[^)]*\)/) where !match.1.hasPrefix("http") {
      count += 1
      #expect(FileManager.default.fileExists(atPath: folder.appending(path: String(match.1)).path), "\(match.1)")
    }
    #expect(path != "README.md" || count > 5)
  }

  /// In the documents a test stands in italics: *a killed client's run goes on …*
  @Test(
    "name only tests that there are",
    arguments: [
      "README.md", "docs/guarantees.md", "docs/quarantine.md", "docs/roles.md", "docs/publishing.md", "docs/testing.md",
    ])
  func tests(_ path: String) throws {
    let sources = try Self.tests()
    var count = 0
    let text = try Repository.text(path).split { $0 == " " || $0 == "\n" }.joined(separator: " ")
    for list in text.matches(of: /tests? ((?:\*[^*]+\*(?:, | and )?)+)/) {
      for match in list.1.matches(of: /\*([^*]+)\*/) {
        count += 1
        #expect(sources.contains(match.1), "there is no test called \(match.1)")
      }
    }
    #expect(count > 0)
  }

  private static func tests() throws -> String {
    let folder = Repository.root.appending(path: "Tests")
    let files = FileManager.default.enumerator(atPath: folder.path)?.compactMap { $0 as? String } ?? []
    return try files.filter { $0.hasSuffix(".swift") }.map { try Repository.text("Tests/\($0)") }.joined()
  }

  static let decisions =
    (try? FileManager.default.contentsOfDirectory(atPath: Repository.root.path + "/docs/decisions"))?
    .sorted().map { "docs/decisions/\($0)" } ?? []

  @Test("name only commands, options and make targets that there are", arguments: documents)
  func commands(_ path: String) throws {
    let text = try Repository.text(path)
    let names = Set(Commands.program.commands.flatMap { [$0.name] + $0.aliases })
    let options =
      Commands.program.commands.flatMap { $0.options + $0.subcommands.flatMap(\.options) }
      + Commands.program.globalOptions
    let optionNames = Set(options.flatMap { [$0.name] + $0.aliases })
    // What a worker's session is called, `migrate run 42 batch 17`, is no command.
    for match in text.matches(of: /(?:`|\$ |^)migrate (?!run [0-9])([a-z]+)/.anchorsMatchLineEndings()) {
      #expect(names.contains(String(match.1)), "migrate \(match.1)")
    }
    for match in text.matches(of: /(?:`|\$ |^)migrate [^`\n]*/.anchorsMatchLineEndings()) {
      for option in match.0.matches(of: /\ --([a-z-]+)/) {
        #expect(optionNames.contains(String(option.1)), "--\(option.1)")
      }
    }
    let makefile = try Repository.text("Makefile")
    for match in text.matches(of: /(?:`|\$ |^|&& )(?:SIZE=[a-z]+ )?make ([a-z]+)/.anchorsMatchLineEndings()) {
      #expect(makefile.contains("\n\(match.1):"), "make \(match.1)")
    }
  }

  @Test func `show the example that the demo runs`() throws {
    let first = try #require(Fence.all(in: "README.md").first { $0.language == "yaml" })
    #expect(first.text == (try Repository.text("migrations/demo/raise_prices.yaml")))
  }

  /// Its remarks and the empty lines aside, in the order in which they stand.
  @Test func `show what the demo's definition for noon says`() throws {
    let shown = try #require(Fence.all(in: "README.md").first { $0.text.contains("max_blocking") })
    let lines = shown.text.split(separator: "\n").map { line in
      String(line.split(separator: #/ +# /#, maxSplits: 1).first ?? "")
    }
    #expect(lines.count > 10)
    #expect(try Repository.text("migrations/demo/noon_prices.yaml").contains(lines.joined(separator: "\n")))
  }
}
