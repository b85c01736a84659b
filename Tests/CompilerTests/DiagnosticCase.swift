import Foundation
import Migrate
import MigrateTestSupport

/// A definition that must be refused, or warned about, and the folder that says how.
///
/// Lines at its top that begin with `# ` say how it is compiled: `# --param name=value`, `# role NAME`, `# to apply it`, `# plan --out`, and
/// `# the last line N times`, for files that nobody wants to look at.
struct DiagnosticCase: Sendable, CustomStringConvertible {
  let golden: GoldenCase

  var description: String { golden.name }

  static let all = GoldenCase.all(under: "Diagnostics").map(DiagnosticCase.init)
  /// Mistakes in `migrate.yaml`; the tests of the command hold them against what it says.
  static let ofProject = GoldenCase.all(under: "ProjectFile", with: "migrate.yaml").map(DiagnosticCase.init)
  static let schema = "\(GoldenCase.root)/Tests/Golden/Diagnostics/schema.sql"

  /// The number that the language has given the mistake; `nil` when it has none.
  var number: Int? { golden.name.split(separator: "-").first.flatMap { Int($0) } }

  /// What follows `# ` in the lines at the top.
  private func directives() throws -> [String] {
    let lines = String(decoding: try golden.bytes("definition.yaml"), as: UTF8.self).split(separator: "\n")
    return lines.prefix { $0.hasPrefix("# ") }.map { String($0.dropFirst(2)) }
  }

  func bytes() throws -> [UInt8] {
    let bytes = try golden.bytes("definition.yaml")
    let prefix = "the last line "
    guard
      let times = try directives().first(where: { $0.hasPrefix(prefix) })?.dropFirst(prefix.count).split(separator: " ")
        .first,
      let count = Int(times), let last = bytes.dropLast().lastIndex(of: UInt8(ascii: "\n"))
    else { return bytes }
    return Array(bytes[...last]) + [[UInt8]](repeating: Array(bytes[(last + 1)...]), count: count).joined()
  }

  func way() throws -> Way {
    var way = Way()
    way.parameters = try directives().filter { $0.hasPrefix("--param ") }.map { line in
      let parts = line.dropFirst("--param ".count).split(separator: "=", maxSplits: 1).map(String.init)
      return (parts[0], parts.count > 1 ? parts[1] : "")
    }
    if try directives().contains("to apply it") { way.beginning = Beginning() }
    return way
  }

  /// The server as the role sees it.
  func server(_ server: Server) throws -> Server {
    guard let role = try directives().first(where: { $0.hasPrefix("role ") })?.dropFirst("role ".count) else {
      return server
    }
    return server.setting("options", "-c role=\(role)")
  }

  /// What a person reads, and the rules that are broken.
  func said(_ server: Server) async throws -> (codes: [String], text: String) {
    let (bytes, way, asRole) = (try bytes(), try way(), try self.server(server))
    if let refused = try await refusal(of: bytes, on: asRole, way) { return (refused.codes, refused.description) }
    let yaml = String(decoding: bytes, as: UTF8.self)
    let compilation = try await compiled(yaml, on: asRole, way)
    if try directives().contains("plan --out") {
      do { _ = try compilation.scripts(of: definition(yaml), version: "test") } catch {
        return (error.all.map(\.code), DiagnosticRenderer(color: false).render(error))
      }
    }
    let warnings = compilation.warnings
    return (warnings.all.map(\.code), DiagnosticRenderer(color: false).render(warnings))
  }

  /// The file that is wrong.
  var file: String { golden.has("migrate.yaml") ? "migrate.yaml" : "definition.yaml" }

  /// The rules that the recorded text names.
  func codes() throws -> [String] {
    try golden.text("diagnostics.txt").split(separator: "\n").compactMap { line in
      guard line.contains(": error: ") || line.contains(": warning: "), line.hasSuffix("]"),
        let open = line.lastIndex(of: "[")
      else { return nil }
      return String(line[line.index(after: open)...].dropLast())
    }
  }
}
