package import MigrateDiagnostics

/// A file as a tree, with all that is wrong with it as YAML.
package struct YAMLDocument: Sendable {
  /// `nil` when nothing could be read.
  package let root: YAMLNode?
  package let diagnostics: [Diagnostic]
  /// False when parts are missing from the tree that may be there in the file.
  package let isComplete: Bool
  /// What stands from this offset on was not understood: nothing can be said about it.
  package let end: Int
}

/// Reads YAML 1.2: one document, UTF-8, without anchors, aliases, tags and merge keys.
///
/// libyaml stops at its first error. To find the others, the line at fault is blanked out, with what hangs from it, and the
/// rest is read again; offsets stay as they were.
package enum YAMLReader {
  private static let attempts = 8

  package static func read(_ source: SourceText) -> YAMLDocument {
    if let violation = TextRules.violation(in: source) {
      return YAMLDocument(root: nil, diagnostics: [violation], isComplete: false, end: 0)
    }
    var bytes = source.bytes
    var errors: [Diagnostic] = []
    for _ in 0..<attempts {
      let events = YAMLEvents(of: bytes)
      guard case .syntax(let error)? = events.failure else {
        return tree(events, bytes, source, errors)
      }
      let diagnosis = SyntaxDiagnosis(error, events, in: SourceText(path: source.path, bytes: bytes)).diagnostic
      let place = diagnosis.span?.start ?? bytes.count
      if errors.isEmpty || SyntaxDiagnosis.standsByItself(diagnosis) { errors.append(diagnosis) }
      guard blank(diagnosis, at: place, in: &bytes, source) else { return tree(events, bytes, source, errors) }
    }
    return tree(YAMLEvents(of: bytes), bytes, source, errors)
  }

  private static func tree(
    _ events: YAMLEvents, _ bytes: [UInt8], _ source: SourceText, _ errors: [Diagnostic]
  ) -> YAMLDocument {
    var builder = YAMLTreeBuilder(events, of: bytes, in: source)
    let root = builder.root()
    var diagnostics = errors + builder.diagnostics
    var end = bytes.count
    switch events.failure {
    case .syntax(let error)?: end = lineStart(of: min(error.offset, error.contextOffset ?? error.offset), in: bytes)
    case .tooDeep(let offset)?:
      diagnostics.append(.tooDeep(at: SourceSpan(offset, offset + 1)))
      end = lineStart(of: offset, in: bytes)
    case .tooManyNodes(let offset)?:
      diagnostics.append(.tooManyNodes(at: SourceSpan(offset, offset)))
      end = lineStart(of: offset, in: bytes)
    case nil: break
    }
    let isComplete = errors.isEmpty && events.failure == nil
    if isComplete, root.map(\.isBlank) ?? true { diagnostics.append(.emptyDocument()) }
    return YAMLDocument(root: root, diagnostics: diagnostics, isComplete: isComplete, end: end)
  }

  private static func lineStart(of offset: Int, in bytes: [UInt8]) -> Int {
    bytes[..<min(offset, bytes.count)].lastIndex(of: 0x0A).map { $0 + 1 } ?? 0
  }

  /// Takes the cause of an error out of the text; false when nothing is left to take out.
  private static func blank(
    _ diagnosis: Diagnostic, at place: Int, in bytes: inout [UInt8], _ source: SourceText
  ) -> Bool {
    if diagnosis.code == SyntaxDiagnosis.tabCode { return blankTabs(in: &bytes) }
    var start = lineStart(of: place, in: bytes)
    let depth = indentation(of: bytes[start...])
    var isFirst = true
    var didBlank = false
    while start < bytes.count {
      let line = bytes[start...].prefix { $0 != 0x0A }
      let isBlankLine = line.allSatisfy { [0x20, 0x09, 0x0D].contains($0) }
      if !isFirst, !isBlankLine, indentation(of: line) <= depth { break }
      isFirst = false
      for offset in line.indices where ![0x20, 0x0D].contains(bytes[offset]) {
        bytes[offset] = 0x20
        didBlank = true
      }
      start = line.endIndex + 1
    }
    return didBlank
  }

  private static func indentation(of line: ArraySlice<UInt8>) -> Int { line.prefix { $0 == 0x20 }.count }

  private static func blankTabs(in bytes: inout [UInt8]) -> Bool {
    var isLeading = true
    var didBlank = false
    for offset in bytes.indices {
      switch bytes[offset] {
      case 0x0A: isLeading = true
      case 0x20: break
      case 0x09 where isLeading:
        bytes[offset] = 0x20
        didBlank = true
      default: isLeading = false
      }
    }
    return didBlank
  }
}

extension YAMLNode {
  fileprivate var isBlank: Bool {
    guard case .scalar(let scalar) = content else { return false }
    return scalar.isMissing
  }
}

extension Diagnostic {
  fileprivate static func emptyDocument() -> Diagnostic {
    Diagnostic(
      "empty-document", at: nil, "there is no definition in this file",
      remedy: "begin with `batch: name`, `source: schema.table` and `set:`")
  }

  fileprivate static func tooDeep(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "too-deep", at: span, "this is nested more than \(YAMLEvents.depthLimit) deep",
      remedy: "close a bracket or brace; a large JSON constant can be written as text: `'{\"a\": …}'`")
  }

  fileprivate static func tooManyNodes(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "too-many-nodes", at: span, "a definition may have \(YAMLEvents.nodeLimit) keys and values, this one has more",
      remedy: "keep data out of the definition: load it into a table and read that")
  }
}
