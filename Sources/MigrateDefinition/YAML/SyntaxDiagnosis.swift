import MigrateDiagnostics

/// Says in terms of SQL why libyaml could not read on.
///
/// libyaml names what it expected, which helps nobody who wrote `where: "Size" > 3`. So the line is read again as it was meant,
/// and the first rule that knows the mistake speaks; libyaml's own words are the last resort.
struct SyntaxDiagnosis {
  let diagnostic: Diagnostic

  static let tabCode = "tab-indentation"

  /// Whether an error found after another one was taken out is certainly none of its consequences.
  static func standsByItself(_ diagnostic: Diagnostic) -> Bool {
    ["text-ends-early", "colon-in-sql", "parameter-in-braces", "value-start", "bad-escape"].contains(diagnostic.code)
  }

  init(_ error: YAMLEvents.SyntaxError, _ events: YAMLEvents, in source: SourceText) {
    let isFlow = error.context.utf8.starts(with: "while parsing a flow".utf8)
    let line = LineReading(of: source.bytes, at: error.offset, isFlow: isFlow)
    let found = Finding(error: error, line: line, source: source, lastEvent: events.all.last)
    diagnostic =
      found.withoutLine() ?? found.quoteFromEarlierLine() ?? found.textEndsEarly() ?? found.secondColon()
      ?? found.valueStart() ?? found.structure() ?? found.inLibyamlsWords()
  }
}

/// What is known about an error, and the rules that may know its cause, in the order of ``SyntaxDiagnosis``.
private struct Finding {
  let error: YAMLEvents.SyntaxError
  let line: LineReading
  let source: SourceText
  let lastEvent: YAMLEvents.Event?

  private var bytes: [UInt8] { source.bytes }

  private var byte: UInt8? { bytes.indices.contains(error.offset) ? bytes[error.offset] : nil }

  private var here: SourceSpan { SourceSpan(error.offset, min(error.offset + 1, bytes.count)) }

  private func says(_ part: String) -> Bool { error.problem.utf8.contains(part.utf8) }

  private func inContext(_ part: String) -> Bool { error.context.utf8.contains(part.utf8) }

  /// Errors that the mark alone explains.
  func withoutLine() -> Diagnostic? {
    let context = error.contextOffset ?? error.offset
    if byte == 0x09, says("found character that cannot start") || says("tab character") { return .tab(at: here) }
    if inContext("quoted scalar"), says("end of stream") || says("document indicator") {
      return .unclosedQuote(at: SourceSpan(context, context + 1))
    }
    if inContext("quoted scalar"), says("escape") || says("hexdecimal") || says("character escape") {
      return .badEscape(at: here)
    }
    if inContext("directive") || says("directive") || says("incompatible YAML") { return .directive(at: here) }
    return nil
  }

  /// A text that was closed by the quote that was to open the next one.
  func quoteFromEarlierLine() -> Diagnostic? {
    guard let lastEvent, case .scalar(_, let style) = lastEvent.kind, style == .singleQuoted || style == .doubleQuoted,
      lastEvent.end <= error.offset
    else { return nil }
    let first = source.position(of: lastEvent.start).line
    guard first < source.position(of: lastEvent.end).line,
      bytes[lastEvent.end..<error.offset].allSatisfy({ $0 == 0x20 })
    else { return nil }
    return .quoteOpensEarlier(line: first, at: SourceSpan(lastEvent.start, lastEvent.start + 1))
  }

  /// 9, 61: `"Size" > 3`, `'Mr ' || name`
  func textEndsEarly() -> Diagnostic? {
    guard let span = line.behindQuote, line.start <= error.offset else { return nil }
    let rest = String(decoding: bytes[span.start..<span.end], as: UTF8.self)
    return .textEndsEarly(before: rest, Remedy(line), at: span)
  }

  /// 62: `note = 'a: b'`, or a key that is indented deeper than its neighbours.
  func secondColon() -> Diagnostic? {
    if let colon = line.secondColon, line.key != nil {
      return .colonInSQL(Remedy(line), at: SourceSpan(colon, colon + 1))
    }
    guard says("mapping values are not allowed"), let key = line.key else { return nil }
    let name = line.keyText ?? ""
    return .deeperThanKey(name, at: SourceSpan(key.lowerBound, key.upperBound))
  }

  /// 8, and characters that cannot begin a value.
  func valueStart() -> Diagnostic? {
    let start = line.start
    guard bytes.indices.contains(start), start <= error.offset, !line.value.utf8.isEmpty else { return nil }
    let value = line.value
    let span = SourceSpan(start, start + value.utf8.count)
    switch bytes[start] {
    case UInt8(ascii: ":") where line.isFlow:
      return .parameterInBraces(value, line.key == nil ? nil : Remedy(line), at: span)
    case UInt8(ascii: "*") where inContext("alias"), UInt8(ascii: "&") where inContext("anchor"):
      return .valueStart(bytes[start], Remedy(line), at: span)
    case _ where [0x5B, 0x7B].contains(byte) && line.isFlow && line.key != nil:
      return .bracketInBraces(Remedy(line), at: here)
    case UInt8(ascii: "-"), UInt8(ascii: "`"), UInt8(ascii: "@"), UInt8(ascii: "%"), UInt8(ascii: "|"),
      UInt8(ascii: ">"), UInt8(ascii: "?"), UInt8(ascii: ","), UInt8(ascii: "]"), UInt8(ascii: "}"):
      guard line.key != nil, error.offset - start <= 16 else { return nil }
      return .valueStart(bytes[start], Remedy(line), at: span)
    default:
      return nil
    }
  }

  /// Braces that are not closed, lines without a colon, indentation.
  func structure() -> Diagnostic? {
    let context = error.contextOffset ?? error.offset
    if says("expected <document start>") {
      if byte == UInt8(ascii: "}") || byte == UInt8(ascii: "]") { return .tooManyBraces(at: here) }
      let number = source.position(of: error.offset).line
      let isBehindEnd = (1..<number).contains { source.line($0).starts(with: "...".utf8) }
      return isBehindEnd ? .textBehindEnd(at: here) : nil
    }
    if says("did not find expected ',' or") {
      if let byte, [0x5D, 0x7D].contains(byte), line.key != nil { return .bracketInBraces(Remedy(line), at: here) }
      if let comment = commentInBraces(from: context) { return comment }
      let brace = bytes.indices.contains(context) ? String(UnicodeScalar(bytes[context])) : "{"
      return .unclosedBrace(brace, at: SourceSpan(context, min(context + 1, bytes.count)))
    }
    if says("could not find expected ':'") {
      let end = bytes[context...].firstIndex(of: 0x0A) ?? bytes.count
      let text = bytes[context..<end].trimmingSpaces()
      return .noColon(String(decoding: text, as: UTF8.self), at: SourceSpan(context, text.endIndex))
    }
    guard says("did not find expected key") || says("did not find expected '-'") else { return nil }
    if byte == UInt8(ascii: "}") || byte == UInt8(ascii: "]") { return .tooManyBraces(at: here) }
    if byte == UInt8(ascii: ":") { return .keyIsNotText("", "", at: here) }
    if isBehindText { return .behindValue(String(decoding: restOfLine, as: UTF8.self), at: here) }
    return isBehindComment ? .commentInside(at: here) : .indentation(at: here)
  }

  private var restOfLine: ArraySlice<UInt8> { bytes[error.offset...].prefix { $0 != 0x0A }.trimmingSpaces() }

  /// Whether something stands before the error on its line.
  private var isBehindText: Bool {
    bytes[..<error.offset].reversed().prefix { $0 != 0x0A }.contains { $0 != 0x20 && $0 != UInt8(ascii: "-") }
  }

  /// A comment behind a value in braces, which took the rest of the line with it.
  private func commentInBraces(from start: Int) -> Diagnostic? {
    let candidates = (start..<min(error.offset, bytes.count, start + Remedy.limit)).filter { offset in
      bytes[offset] == UInt8(ascii: "#") && offset > start && [0x20, 0x09].contains(bytes[offset - 1])
    }
    for offset in candidates {
      let line = LineReading(of: bytes, at: offset - 1, isFlow: true)
      guard line.key != nil, line.quoteEnd == nil, line.start < offset - 1 else { continue }
      let comment = bytes[offset...].prefix { $0 != 0x0A }.trimmingSpaces()
      return .comment(
        String(decoding: comment, as: UTF8.self), cuts: SQLOutline(bytes[line.start..<offset]), Remedy(line),
        at: SourceSpan(offset, comment.endIndex))
    }
    return nil
  }

  /// Whether the nearest line above that is not blank is a comment, so that the comment may have ended a value.
  private var isBehindComment: Bool {
    var number = source.position(of: error.offset).line - 1
    while number > 0 {
      let text = source.line(number)[...].trimmingSpaces()
      if !text.isEmpty { return text.first == UInt8(ascii: "#") && line.key == nil }
      number -= 1
    }
    return false
  }

  func inLibyamlsWords() -> Diagnostic {
    let place = error.contextOffset.map { "\(error.context), which begins on line \(source.position(of: $0).line)" }
    return .yamlSyntax(error.problem, place, at: here)
  }
}

extension String.UTF8View {
  fileprivate func contains(_ part: String.UTF8View) -> Bool {
    var rest = self[...]
    while rest.count >= part.count {
      if rest.starts(with: part) { return true }
      rest = rest.dropFirst()
    }
    return false
  }
}
