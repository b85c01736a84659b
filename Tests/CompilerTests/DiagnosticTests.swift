import Foundation
import Migrate
import MigrateTestSupport
import TestSupport
import Testing

@Suite(.serialized) struct `What is wrong is said with its place, its cause and its remedy` {
  @Test func `as the folder of each mistake has it`() async throws {
    let schema = try String(contentsOfFile: DiagnosticCase.schema, encoding: .utf8)
    try await withDatabase { server in
      try await server.psql(schema)
      await withTaskGroup(of: Void.self) { group in
        let cases = DiagnosticCase.all.filter { !$0.golden.has("schema.sql") }
        for lane in 0..<6 {
          group.addTask {
            for index in stride(from: lane, to: cases.count, by: 6) { await check(cases[index], server) }
          }
        }
      }
    }
    for `case` in DiagnosticCase.all where `case`.golden.has("schema.sql") {
      try await withDatabase { server in
        try await server.psql(`case`.golden.text("schema.sql"))
        await check(`case`, server)
      }
    }
  }

  private func check(_ case: DiagnosticCase, _ server: Server) async {
    do {
      let said = try await `case`.said(server)
      #expect(!said.codes.isEmpty, "\(`case`): nothing is said")
      #expect(said.codes.contains { `case`.golden.name.contains($0) } || `case`.golden.name.hasPrefix("many"))
      #expect(!said.text.utf8.elementsEqual("".utf8))
      try `case`.golden.expect(said.text, in: "diagnostics.txt")
    } catch {
      Issue.record("\(`case`): \(error)")
    }
  }

  /// Rules that no file of UTF-8 can break: whoever checks first has refused it.
  private static let outOfReach: Set = [
    // YAML has refused the character before.
    "nul-byte",
    // About a file of parameters, which is no definition; the test of the command shows it.
    "no-parameters",
    // About what is given to `migrate rejects --fix`; the test of that shows it.
    "not-assignments",
    // Of a project's file in a wrong place; the tests of the command show them.
    "foreign-project-file", "misnamed-project-file",
  ]

  @Test func `for every rule that the sources know`() throws {
    let shown = Set(try (DiagnosticCase.all + DiagnosticCase.ofProject).flatMap { try $0.codes() })
    let known = try Self.codesOfSources()
    #expect(known.count > 100)
    #expect(known.subtracting(shown).subtracting(Self.outOfReach).sorted() == [])
    #expect(shown.subtracting(known).sorted() == [])
  }

  @Test func `all of them at once, from YAML, SQL, catalog and server, in order of position`() throws {
    let many = try #require(DiagnosticCase.all.first { $0.golden.name == "many-mistakes-at-once" })
    #expect(
      try many.codes() == [
        "missing-parameter", "unknown-column", "moving-clock", "leading-zeros-lost", "second-expression",
        "unknown-column", "unknown-function", "type-mismatch", "unknown-function", "unknown-function",
        "database-refuses", "unknown-label", "generated-column", "type-mismatch", "unknown-function", "duplicate-key",
        "bad-batch-size",
      ])
  }

  @Test func `for every number of the language that this version can meet`() {
    let numbers = Set(DiagnosticCase.all.compactMap(\.number))
    let demanded = Set([1...7, 9...30, 32...37, 46...52, 61...62].joined())
    #expect(demanded.subtracting(numbers).sorted() == [])
  }

  @Test func `and all of them are in the reference`() throws {
    let cases = DiagnosticCase.all + DiagnosticCase.ofProject
    try GoldenCase.expect(try Reference.page(cases), at: "\(GoldenCase.root)/docs/errors.md")
  }

  /// The first argument of each `Diagnostic(…)`, and what an SQLSTATE is called.
  private static func codesOfSources() throws -> Set<String> {
    let created = /Diagnostic\(\s*"([a-z0-9-]+)"/
    let constant = /static let \w+Code = "([a-z0-9-]+)"/
    let named = /(?m)^    (?:case .*|default): "([a-z0-9-]+)"$/
    var codes: Set<String> = []
    let sources = "\(GoldenCase.root)/Sources"
    let files = FileManager.default.enumerator(atPath: sources)?.compactMap { $0 as? String } ?? []
    for file in files where file.hasSuffix(".swift") {
      let text = try String(contentsOfFile: "\(sources)/\(file)", encoding: .utf8)
      codes.formUnion(text.matches(of: created).map { String($0.output.1) })
      codes.formUnion(text.matches(of: constant).map { String($0.output.1) })
      if file.hasSuffix("/DatabaseDiagnostic.swift") {
        codes.formUnion(text.matches(of: named).map { String($0.output.1) })
      }
    }
    return codes
  }
}

/// `docs/errors.md`: a section for each rule, made of the folders.
enum Reference {
  static func page(_ cases: [DiagnosticCase]) throws -> String {
    var sections: [String: [String]] = [:]
    for `case` in cases {
      guard let code = try `case`.codes().first(where: { `case`.golden.name.contains($0) }) else { continue }
      sections[code, default: []].append(try section(`case`))
    }
    let parts = sections.sorted { $0.key < $1.key }.map { "## \($0.key)\n\n\($0.value.joined(separator: "\n"))" }
    return """
      # What can be wrong with a definition

      Each rule under the name that stands in brackets at the end of its message: a definition that breaks it, or a project's
      `migrate.yaml`, and what is said. Generated by `make golden` from `Tests/Golden`.

      \(parts.joined(separator: "\n"))
      """
  }

  private static func section(_ case: DiagnosticCase) throws -> String {
    let lines = try `case`.golden.text(`case`.file).split(separator: "\n", omittingEmptySubsequences: false)
    let yaml = lines.map { $0.count > 160 ? $0.prefix(150) + "…" : $0 }.joined(separator: "\n")
    return "```yaml\n\(yaml)```\n\n```text\n\(try `case`.golden.text("diagnostics.txt"))```\n"
  }
}
