import MigrateDiagnostics

/// What must be true of the bytes before YAML is looked for in them.
enum TextRules {
  static let sizeLimit = 1 << 20

  /// The first thing that is wrong with the bytes of `source`; `nil` when they are text that YAML and PostgreSQL agree about.
  static func violation(in source: SourceText) -> Diagnostic? {
    let bytes = source.bytes
    if bytes.count > sizeLimit { return .tooLarge(bytes.count) }
    if isUTF16(bytes) { return .utf16() }
    var parser = Unicode.UTF8.ForwardParser()
    var rest = bytes.makeIterator()
    var offset = 0
    while true {
      switch parser.parseScalar(from: &rest) {
      case .emptyInput:
        return nil
      case .error(let length):
        return .notUTF8(bytes[offset], at: SourceSpan(offset, offset + length))
      case .valid(let encoded):
        let scalar = Unicode.UTF8.decode(encoded)
        let span = SourceSpan(offset, offset + encoded.count)
        let isLineEnd = scalar == "\r" && bytes.count > span.end && bytes[span.end] == UInt8(ascii: "\n")
        let isMark = scalar == "\u{FEFF}" && offset == 0
        if !isLineEnd, !isMark, let violation = violation(scalar, at: span) { return violation }
        offset = span.end
      }
    }
  }

  private static func isUTF16(_ bytes: [UInt8]) -> Bool {
    guard bytes.count >= 2 else { return false }
    return bytes.starts(with: [0xFE, 0xFF]) || bytes.starts(with: [0xFF, 0xFE])
      || (bytes[0] == 0) != (bytes[1] == 0)
  }

  private static func violation(_ scalar: Unicode.Scalar, at span: SourceSpan) -> Diagnostic? {
    switch scalar.value {
    case 0x09, 0x0A: nil
    case 0x0D, 0x85, 0x2028, 0x2029: .oddLineBreak(scalar, at: span)
    case ..<0x20, 0x7F...0x9F, 0xFEFF, 0xFFFE, 0xFFFF: .controlCharacter(scalar, at: span)
    default: nil
    }
  }
}

extension Diagnostic {
  fileprivate static func tooLarge(_ count: Int) -> Diagnostic {
    Diagnostic(
      "file-too-large", at: nil, "the file has \(count) bytes, a definition may have \(TextRules.sizeLimit)",
      remedy: "keep data out of the definition: load it into a table and read that")
  }

  fileprivate static func utf16() -> Diagnostic {
    Diagnostic(
      "not-utf8", at: SourceSpan(0, 0), "the file is UTF-16, a definition is UTF-8",
      remedy: "convert it: `iconv -f UTF-16 -t UTF-8`")
  }

  fileprivate static func notUTF8(_ byte: UInt8, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "not-utf8", at: span, "the byte 0x\(hexadecimal(UInt32(byte), digits: 2)) is not UTF-8 here",
      remedy: "save the file as UTF-8; if it is Latin-1: `iconv -f LATIN1 -t UTF-8`")
  }

  fileprivate static func oddLineBreak(_ scalar: Unicode.Scalar, at span: SourceSpan) -> Diagnostic {
    let escapes: [UInt32: String] = [0x0D: "\\r", 0x85: "\\N", 0x2028: "\\L", 0x2029: "\\P"]
    let escape = escapes[scalar.value] ?? "\\n"
    return Diagnostic(
      "odd-line-break", at: span,
      "U+\(hexadecimal(scalar.value, digits: 4)) ends a line to some programs and not to others",
      remedy: "end lines with LF or CRLF; inside a text write `\(escape)` in double quotes")
  }

  fileprivate static func controlCharacter(_ scalar: Unicode.Scalar, at span: SourceSpan) -> Diagnostic {
    let name = hexadecimal(scalar.value, digits: 4)
    return Diagnostic(
      "control-character", at: span, "the control character U+\(name) cannot stand in YAML",
      remedy: scalar.value == 0
        ? "remove it; no text in PostgreSQL can hold it" : "remove it, or write `\\u\(name)` in double quotes")
  }

  private static func hexadecimal(_ value: UInt32, digits: Int) -> String {
    let text = String(value, radix: 16, uppercase: true)
    return String(repeating: "0", count: max(0, digits - text.utf8.count)) + text
  }
}
