import MigrateDiagnostics

/// Makes a tree of events, and refuses what YAML can say and a definition must not.
struct YAMLTreeBuilder {
  let source: SourceText
  /// The bytes that the events were read from; of the same length as the source's.
  private let bytes: [UInt8]
  private let events: [YAMLEvents.Event]
  private var next = 0
  private(set) var diagnostics: [Diagnostic] = []

  init(_ events: YAMLEvents, of bytes: [UInt8], in source: SourceText) {
    self.source = source
    self.bytes = bytes
    self.events = events.all
  }

  /// The first document's root. Where reading broke off, everything open ends there.
  mutating func root() -> YAMLNode? {
    guard let start = take(), case .documentStart(let hasDirectives) = start.kind else { return nil }
    if hasDirectives { diagnostics.append(.directive(at: SourceSpan(start.start, start.end))) }
    let root = node()
    if let second = take(), case .documentStart = second.kind { refuseSecondDocument(second) }
    return root
  }

  private mutating func refuseSecondDocument(_ start: YAMLEvents.Event) {
    let count = diagnostics.count
    let root = node()
    diagnostics.removeSubrange(count...)
    var name: String?
    if case .mapping(let mapping)? = root?.content {
      for entry in mapping.entries where entry.key.text.utf8.elementsEqual("batch".utf8) {
        if case .scalar(let scalar) = entry.value.content { name = scalar.text }
      }
    }
    let line = source.position(of: start.start).line
    let isEmpty = name == nil && events.count <= next
    diagnostics.append(
      .secondDocument(at: SourceSpan(start.start, start.end), line: line, name: name, isEmpty: isEmpty && root.isBlank))
  }

  private mutating func take() -> YAMLEvents.Event? {
    guard next < events.count else { return nil }
    next += 1
    return events[next - 1]
  }

  private mutating func node() -> YAMLNode? {
    guard let event = take() else { return nil }
    let start = refuseProperties(of: event)
    switch event.kind {
    case .scalar(let text, let style):
      let span = SourceSpan(start, event.end)
      if style == .singleQuoted || style == .doubleQuoted { refuseTouchingComment(at: event.end) }
      if event.hasTag { return YAMLNode(content: .refused, span: span) }
      let scalar = YAMLScalar(
        style: style, fragment: ScalarOffsets.fragment(text, style, in: bytes, span))
      if let index = text.firstIndex(of: 0) {
        diagnostics.append(.nulCharacter(at: scalar.fragment.span(of: index..<index + 1)))
        return YAMLNode(content: .refused, span: span)
      }
      return YAMLNode(content: .scalar(scalar), span: scalar.span)
    case .alias:
      let span = SourceSpan(event.start, event.end)
      diagnostics.append(.alias(slice(span), at: span))
      return YAMLNode(content: .refused, span: span)
    case .mappingStart(let isFlow):
      let (mapping, end) = mapping(isFlow: isFlow, startingAt: start)
      return YAMLNode(content: .mapping(mapping), span: SourceSpan(start, end))
    case .sequenceStart:
      let (items, end) = items(startingAt: start)
      return YAMLNode(content: .sequence(items), span: SourceSpan(start, end))
    case .documentStart, .collectionEnd:
      return nil
    }
  }

  /// Refuses the anchor and the tag in front of a node; the offset at which the node itself begins.
  private mutating func refuseProperties(of event: YAMLEvents.Event) -> Int {
    guard event.hasAnchor || event.hasTag else { return event.start }
    var position = event.start
    while position < event.end, bytes[position] == UInt8(ascii: "&") || bytes[position] == UInt8(ascii: "!") {
      var end = position
      while end < event.end, !Self.isSpace(bytes[end]) { end += 1 }
      let span = SourceSpan(position, end)
      if bytes[position] == UInt8(ascii: "&") {
        diagnostics.append(.anchor(slice(span), at: span))
      } else {
        diagnostics.append(.tag(slice(span), rest: lineRest(from: end), at: span))
      }
      position = end
      while position < event.end, Self.isSpace(bytes[position]) { position += 1 }
    }
    return position
  }

  /// Behind a quote and a bracket `#` begins a comment without a blank before it, to libyaml; to YAML 1.2 it is an error.
  private mutating func refuseTouchingComment(at offset: Int) {
    guard offset < bytes.count, bytes[offset] == UInt8(ascii: "#") else { return }
    diagnostics.append(.touchingComment(at: SourceSpan(offset, offset + 1)))
  }

  private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D }

  private func slice(_ span: SourceSpan) -> String { String(decoding: bytes[span.start..<span.end], as: UTF8.self) }

  private func lineRest(from offset: Int) -> String {
    let rest = bytes[offset...].prefix(Remedy.limit).prefix {
      $0 != 0x0A && $0 != 0x0D && $0 != UInt8(ascii: "#") && $0 != UInt8(ascii: "}")
    }
    return slice(SourceSpan(offset, rest.endIndex))
  }

  private func isFlowEnd(_ event: YAMLEvents.Event) -> Bool {
    event.end > event.start && [UInt8(ascii: "]"), UInt8(ascii: "}")].contains(bytes[event.end - 1])
  }

  private mutating func items(startingAt start: Int) -> ([YAMLNode], end: Int) {
    var items: [YAMLNode] = []
    while next < events.count {
      if case .collectionEnd = events[next].kind {
        next += 1
        if isFlowEnd(events[next - 1]) { refuseTouchingComment(at: events[next - 1].end) }
        return (items, max(events[next - 1].end, items.last?.span.end ?? start))
      }
      guard let item = node() else { break }
      items.append(item)
    }
    return (items, items.last?.span.end ?? start)
  }

  private mutating func mapping(isFlow: Bool, startingAt start: Int) -> (YAMLMapping, end: Int) {
    var members = YAMLMembers(isFlow: isFlow, bytes: bytes)
    var end = start
    var isWhole = false
    while next < events.count {
      if case .collectionEnd = events[next].kind {
        isWhole = members.diagnostics.isEmpty
        end = isFlow ? max(end, events[next].end) : end
        if isFlowEnd(events[next]) { refuseTouchingComment(at: events[next].end) }
        next += 1
        break
      }
      guard let key = node() else { break }
      let count = diagnostics.count
      guard let value = node() else { break }
      end = max(end, value.span.end, key.span.end)
      if members.isMergeKey(key) { diagnostics.removeSubrange(count...) }
      members.add(key, value, in: source)
    }
    diagnostics += members.diagnostics
    return (YAMLMapping(entries: members.entries, isFlow: isFlow, isWhole: isWhole), end)
  }
}

extension YAMLNode? {
  fileprivate var isBlank: Bool {
    guard case .scalar(let scalar)? = self?.content else { return self == nil }
    return scalar.isMissing
  }
}

extension Diagnostic {
  fileprivate static func secondDocument(at span: SourceSpan, line: Int, name: String?, isEmpty: Bool) -> Diagnostic {
    let file = name.map { "`\($0).yaml`" } ?? "a file of its own"
    return Diagnostic(
      "second-document", at: span, "a second document starts on line \(line)",
      remedy: isEmpty ? "remove the `---`" : "one definition a file: move it to \(file)")
  }

  fileprivate static func nulCharacter(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "nul-character", at: span, "no text in PostgreSQL can hold the character U+0000",
      remedy: "remove it; a `bytea` constant is written as `'\\x00'`")
  }

  fileprivate static func anchor(_ anchor: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "anchor", at: span, "anchors, aliases and merge keys are not read, and `\(anchor)` is an anchor",
      remedy: "write it out where it is used; an SQL expression used twice will belong in `let`, which is not there yet"
    )
  }

  fileprivate static func alias(_ alias: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "alias", at: span, "anchors, aliases and merge keys are not read, and `\(alias)` is an alias",
      remedy: "repeat what it stands for; an SQL expression used twice will belong in `let`, which is not there yet")
  }

  fileprivate static func tag(_ tag: String, rest: String, at span: SourceSpan) -> Diagnostic {
    let name = String(decoding: tag.utf8.drop { $0 == UInt8(ascii: "!") }, as: UTF8.self)
    let isPlainTag = tag.utf8.starts(with: "!!".utf8) || name.utf8.first == UInt8(ascii: "<")
    let isNegation = !isPlainTag && (name.utf8.first.map { $0 >= 0x41 && $0 != 0x7E } ?? false)
    let remedy =
      if isNegation { "SQL says `NOT \(name)\(rest)`" } else if isPlainTag {
        "leave it out: quotes make a text, and unquoted is SQL"
      } else { "SQL that begins with `!` goes under a `|`" }
    return Diagnostic("tag", at: span, "`\(tag)` is a YAML tag", remedy: remedy)
  }
}
