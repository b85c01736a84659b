/// Writes diagnostics for a person: the place, the message, the line with a caret under it, and the help.
package struct DiagnosticRenderer: Sendable {
  private let color: Bool

  package init(color: Bool) { self.color = color }

  package func render(_ diagnostics: Diagnostics) -> String {
    diagnostics.all.map { render($0, in: diagnostics.source) }.joined(separator: "\n")
  }

  package func render(_ diagnostic: Diagnostic, in source: SourceText) -> String {
    var lines = [head(of: diagnostic, in: source)]
    if let span = diagnostic.span { lines += excerpt(of: span, in: source) }
    lines.append("  \(paint("help:", .bold)) \(indentFollowing(diagnostic.remedy))")
    return lines.map(Self.printable).joined(separator: "\n") + "\n"
  }

  private func head(of diagnostic: Diagnostic, in source: SourceText) -> String {
    let severity = paint(diagnostic.severity.rawValue + ":", diagnostic.severity == .error ? .red : .yellow)
    guard let span = diagnostic.span else {
      return "\(source.path): \(severity) \(diagnostic.message) [\(diagnostic.code)]"
    }
    let (line, column) = source.position(of: span.start)
    return "\(source.path):\(line):\(column): \(severity) \(diagnostic.message) [\(diagnostic.code)]"
  }

  /// The first line of the span with carets under its part of it. A tab is kept in the margin, so that carets stay in place.
  private func excerpt(of span: SourceSpan, in source: SourceText) -> [String] {
    let (number, column) = source.position(of: span.start)
    let text = String(decoding: source.line(number), as: UTF8.self)
    let (lastLine, lastColumn) = source.position(of: span.end)
    let scalars = Array(text.unicodeScalars)
    let end = lastLine == number ? lastColumn - 1 : scalars.count
    let margin = scalars.prefix(column - 1).map { $0 == "\t" ? "\t" : " " }.joined()
    let carets = String(repeating: "^", count: max(1, end - column + 1))
    let gutter = String(number)
    let blank = String(repeating: " ", count: gutter.utf8.count)
    return ["  \(gutter) | \(text)", "  \(blank) | \(margin)\(paint(carets, .red))"]
  }

  private func indentFollowing(_ text: String) -> String {
    text.split(separator: "\n", omittingEmptySubsequences: false).joined(separator: "\n        ")
  }

  private enum Style: String { case bold = "1", red = "1;31", yellow = "1;33" }

  private func paint(_ text: String, _ style: Style) -> String {
    color ? "\u{1B}[\(style.rawValue)m\(text)\u{1B}[0m" : text
  }

  /// Data never reaches a terminal with its escapes: control characters that we did not write ourselves are shown by name (S08).
  private static func printable(_ text: String) -> String {
    var result = String.UnicodeScalarView()
    var rest = Substring(text).unicodeScalars
    while let scalar = rest.popFirst() {
      let isOurs = scalar == "\u{1B}" && ownEscape(before: rest)
      let isControl = (scalar.value < 0x20 && scalar != "\n" && scalar != "\t") || (0x7F...0x9F).contains(scalar.value)
      if isControl && !isOurs {
        result.append(contentsOf: "\\u{\(String(scalar.value, radix: 16))}".unicodeScalars)
      } else {
        result.append(scalar)
      }
    }
    return String(result)
  }

  private static func ownEscape(before rest: Substring.UnicodeScalarView) -> Bool {
    ["[0m", "[1m", "[1;31m", "[1;33m"].contains { rest.starts(with: $0.unicodeScalars) }
  }
}
