package import MigrateDefinition
package import MigrateDiagnostics

/// The definitions of a project: YAML files below one folder, at any depth.
package struct Project: Sendable {
  /// The folder, as it was given.
  package let folder: String
  /// Every file that looks like a definition, in order of path; read, not yet decoded.
  package let files: [SourceText]

  /// Reads the files below `folder`, but for the project's own, `file`, which may lie there.
  package init(folder: String, besides file: ProjectFile? = nil) throws(ProjectError) {
    self.folder = folder
    var paths: [String] = []
    guard Files.isFolder(folder) else { throw .noFolder(folder) }
    Files.walk(folder, depth: 0) { path in
      if path.hasSuffix(".yaml") || path.hasSuffix(".yml") { paths.append(path) }
    }
    var files: [SourceText] = []
    if let own = file.flatMap({ FileIdentity($0.source.path) }) { paths.removeAll { FileIdentity($0) == own } }
    for path in paths.sorted(by: { $0.utf8.lexicographicallyPrecedes($1.utf8) }) {
      guard let bytes = Files.read(path) else { throw .unreadable(path) }
      files.append(SourceText(path: path, bytes: bytes))
    }
    self.files = files
  }

  /// What its definitions are called, also those in which something is wrong.
  package var names: [String] { known().map(\.name) }

  private func known() -> [(name: String, result: Result<Definition, Diagnostics>)] {
    files.map { file in
      do throws(Diagnostics) {
        let definition = try Definition(partly: file)
        let name = definition.name.value
        return (name.utf8.isEmpty ? Self.declaredName(file) ?? file.path : name, .success(definition))
      } catch { return (Self.declaredName(file) ?? file.path, .failure(error)) }
    }
  }

  /// The definitions called `names`, in that order; all of them when there is no name.
  ///
  /// A file is meant by a name that it declares, also when the rest of it is wrong, so that its errors can be shown.
  package func definitions(_ names: [String]) throws(ProjectError) -> [Result<Definition, Diagnostics>] {
    let known = known()
    try Self.refuseDoubles(known, files)
    guard !names.isEmpty else { return known.map(\.result) }
    var found: [Result<Definition, Diagnostics>] = []
    for name in names {
      guard let match = known.first(where: { $0.name.utf8.elementsEqual(name.utf8) }) else {
        throw .unknown(name, nearest: Suggestion.nearest(to: name, among: known.map(\.name)), folder: folder)
      }
      found.append(match.result)
    }
    return found
  }

  private static func refuseDoubles(
    _ known: [(name: String, result: Result<Definition, Diagnostics>)], _ files: [SourceText]
  ) throws(ProjectError) {
    for (index, entry) in known.enumerated() {
      if let first = known[..<index].firstIndex(where: { $0.name.utf8.elementsEqual(entry.name.utf8) }) {
        throw .twice(entry.name, files[first].path, files[index].path)
      }
    }
  }

  /// What stands behind `batch:` in a file that cannot be decoded.
  private static func declaredName(_ file: SourceText) -> String? {
    for line in String(decoding: file.bytes, as: UTF8.self).split(separator: "\n") where line.hasPrefix("batch:") {
      let name = line.dropFirst("batch:".count).drop { $0 == " " }.prefix { $0.isLetter || $0.isNumber || $0 == "_" }
      return name.isEmpty ? nil : String(name)
    }
    return nil
  }
}

/// Why a project's definitions cannot be had.
package enum ProjectError: Error, Sendable, Equatable {
  case noFolder(String)
  case unreadable(String)
  case unknown(String, nearest: String?, folder: String)
  case twice(String, String, String)

  package var message: String {
    switch self {
    case .noFolder(let folder): "there is no folder \(folder)"
    case .unreadable(let path): "\(path) cannot be read"
    case .unknown(let name, _, let folder): "no definition in \(folder) is called \(name)"
    case .twice(let name, let first, let second): "two definitions are called \(name): \(first) and \(second)"
    }
  }

  package var remedy: String {
    switch self {
    case .noFolder: "make it, or name another one: `--dir DIR`"
    case .unreadable: "look at its permissions"
    case .unknown(_, let nearest, _):
      nearest.map { "did you mean \($0)?" } ?? "a definition's name stands behind `batch:` in its file"
    case .twice: "give one of them another name; a name is for ever, since the ledger knows a definition by it"
    }
  }
}
