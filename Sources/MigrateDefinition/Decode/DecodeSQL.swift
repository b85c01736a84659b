import MigrateDiagnostics

extension Decoder {
  /// SQL in any style: a condition, a query.
  mutating func sql(_ entry: YAMLEntry, inFlow: Bool, _ what: String) -> SourceFragment? {
    switch entry.value.content {
    case .refused: return nil
    case .scalar(let scalar): return sql(scalar, key: entry.key, inFlow: inFlow, what)
    case .mapping, .sequence:
      let example = what.utf8Contains("condition") ? "where: status = 'active'" : "SELECT …"
      refuse(.notSQL("`\(entry.key.text)`", what, example: example, at: entry.value.span))
      return nil
    }
  }

  /// The SQL in `scalar`, unless YAML has cut off a part of it, or folded one away.
  mutating func sql(_ scalar: YAMLScalar, key: YAMLScalar, inFlow: Bool, _ what: String) -> SourceFragment? {
    guard scalar.fragment.text.utf8.contains(where: { ![0x20, 0x09, 0x0A].contains($0) }) else {
      refuse(.noSQL(key.text, what, at: key.span))
      return nil
    }
    if scalar.style == .plain, scalar.text.utf8.elementsEqual("~".utf8) {
      refuse(.tilde(key.text, at: scalar.span))
      return nil
    }
    if scalar.style == .plain, let comment = comment(behind: scalar, key: key, inFlow: inFlow) {
      let text = String(decoding: source.bytes[comment.start..<comment.end], as: UTF8.self)
      let meant = meant(scalar, key, through: comment, inFlow: inFlow)
      refuse(.comment(text, cuts: SQLOutline(scalar.text.utf8), meant, at: comment))
      return nil
    }
    if let lost = foldedAway(in: scalar.fragment) {
      refuse(lost)
      return nil
    }
    return scalar.fragment
  }

  /// What the author wrote, the comment with it.
  private func meant(_ scalar: YAMLScalar, _ key: YAMLScalar, through comment: SourceSpan, inFlow: Bool) -> Remedy {
    let text = source.bytes[scalar.span.start..<comment.end]
    return Remedy(key: key.text, value: String(decoding: text, as: UTF8.self), isFlow: inFlow)
  }

  /// The comment on the scalar's line, or on the next line where that could be meant to go on with it.
  private func comment(behind scalar: YAMLScalar, key: YAMLScalar, inFlow: Bool) -> SourceSpan? {
    let bytes = source.bytes
    var offset = scalar.span.end
    var isSameLine = true
    while offset < bytes.count {
      switch bytes[offset] {
      case 0x20, 0x09, 0x0D: offset += 1
      case 0x0A:
        isSameLine = false
        offset += 1
      case UInt8(ascii: "#"):
        let column = source.position(of: offset).column
        guard isSameLine || inFlow || column > source.position(of: key.span.start).column else { return nil }
        let text = bytes[offset...].prefix { $0 != 0x0A }.trimmingSpaces()
        return SourceSpan(offset, text.endIndex)
      default: return nil
      }
    }
    return nil
  }

  /// SQL whose meaning hung on a line break that YAML has made a space.
  private func foldedAway(in fragment: SourceFragment) -> Diagnostic? {
    let text = Array(fragment.text.utf8)
    let outline = SQLOutline(text)
    for comment in outline.lineComments {
      guard let fold = fold(in: comment, of: fragment, text), fold + 1 < text.count else { continue }
      return .foldedComment(at: fragment.span(of: comment.lowerBound..<comment.lowerBound + 2))
    }
    for string in outline.strings where fold(in: string, of: fragment, text) != nil {
      return .foldedString(at: fragment.span(of: string.lowerBound..<string.lowerBound + 1))
    }
    return nil
  }

  /// The first byte of `range` behind which a line ends in the file, and none in the text.
  private func fold(in range: Range<Int>, of fragment: SourceFragment, _ text: [UInt8]) -> Int? {
    range.dropLast().first { index in
      let (here, next) = (fragment.offsets[index], fragment.offsets[index + 1])
      return text[index] != 0x0A && here < next && source.bytes[here..<next].contains(0x0A)
    }
  }
}

extension Diagnostic {
  static func notSQL(_ key: String, _ what: String, example: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic("wrong-kind", at: span, "\(key) holds \(what)", remedy: "write it as SQL: `\(example)`")
  }

  static func noSQL(_ key: String, _ what: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic("no-value", at: span, "\"\(key)\" has no value", remedy: "give \(what), or leave the key out")
  }

  fileprivate static func tilde(_ key: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic("yaml-null", at: span, "`~` is YAML's null, and no SQL", remedy: "write `\(key): null`")
  }

  /// 5, 6, and comments that cut off nothing, which cannot be told from those that do.
  static func comment(_ text: String, cuts outline: SQLOutline, _ meant: Remedy, at span: SourceSpan) -> Diagnostic {
    if outline.hasOpenString {
      return Diagnostic(
        "comment-in-string", at: span, "YAML takes `\(text)` for a comment, the SQL string never ends",
        remedy: meant.shortest)
    }
    let second = text.utf8.dropFirst().first
    let isOperator = second.map { ![0x20, 0x09, UInt8(ascii: "#")].contains($0) } ?? false
    if outline.isCutShort || isOperator {
      return Diagnostic(
        "comment-in-sql", at: span, "YAML takes `\(text)` for a comment",
        remedy: "put the expression under a `|`:\n\(meant.block)")
    }
    return Diagnostic(
      "comment-after-sql", at: span, "YAML takes `\(text)` for a comment, SQL would take it for an operator",
      remedy: "put the comment on a line of its own, above the key; if it is SQL, put the expression under a `|`")
  }

  /// 24: YAML's `>` has made one line of several, and what stood below the comment is now part of it.
  fileprivate static func foldedComment(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "folded-comment", at: span, "folded onto one line, `--` comments out the rest",
      remedy: "put the expression under a `|`, which keeps lines; `/* … */` is safe everywhere")
  }

  fileprivate static func foldedString(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "folded-string", at: span, "folded onto one line, this SQL string loses its line break",
      remedy: "put the expression under a `|`, which keeps lines, or write the break as `E'\\n'`")
  }
}
