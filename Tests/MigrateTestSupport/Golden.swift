import Foundation

/// A folder that holds a case and what is expected of it.
package struct GoldenCase: Sendable, CustomStringConvertible {
  /// The folder's name.
  package let name: String
  package let path: String

  package var description: String { name }

  /// Whether what is expected is written anew: `make golden`.
  package static var isUpdating: Bool { !(ProcessInfo.processInfo.environment["UPDATE_GOLDEN"] ?? "").isEmpty }

  /// The package's folder.
  package static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().path

  /// The cases in `Tests/Golden/<kind>`, by name: the folders that have `file`.
  package static func all(under kind: String, with file: String = "definition.yaml") -> [GoldenCase] {
    let folder = "\(root)/Tests/Golden/\(kind)"
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    return names.sorted().map { GoldenCase(name: $0, path: "\(folder)/\($0)") }
      .filter { FileManager.default.fileExists(atPath: "\($0.path)/\(file)") }
  }

  package func has(_ file: String) -> Bool { FileManager.default.fileExists(atPath: "\(path)/\(file)") }

  package func bytes(_ file: String) throws -> [UInt8] {
    Array(try Data(contentsOf: URL(fileURLWithPath: "\(path)/\(file)")))
  }

  package func text(_ file: String) throws -> String { String(decoding: try bytes(file), as: UTF8.self) }

  /// Holds `text` against the file, or writes it there.
  package func expect(_ text: String, in file: String) throws { try Self.expect(text, at: "\(path)/\(file)") }

  /// Holds `text` against a file of the package, or writes it there.
  package static func expect(_ text: String, at path: String) throws {
    let data = try? Data(contentsOf: URL(fileURLWithPath: path))
    guard data != Data(text.utf8) else { return }
    if isUpdating {
      let folder = URL(fileURLWithPath: path).deletingLastPathComponent()
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
      return try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    }
    throw GoldenMismatch(path: path, expected: data.map { String(decoding: $0, as: UTF8.self) }, found: text)
  }
}

/// What came out is not what the file holds.
package struct GoldenMismatch: Error, CustomStringConvertible {
  package let path: String
  package let expected: String?
  package let found: String

  package var description: String {
    guard let expected else { return "\(path) is not there; `make golden` writes it:\n\(found)" }
    let old = expected.split(separator: "\n", omittingEmptySubsequences: false)
    let new = found.split(separator: "\n", omittingEmptySubsequences: false)
    let first = zip(old, new).prefix { $0.utf8.elementsEqual($1.utf8) }.count
    let lines = old.dropFirst(first).prefix(12).map { "- \($0)" } + new.dropFirst(first).prefix(12).map { "+ \($0)" }
    return "\(path) differs from line \(first + 1); `make golden` rewrites it\n\(lines.joined(separator: "\n"))"
  }
}
