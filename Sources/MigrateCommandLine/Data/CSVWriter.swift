/// Writes CSV, as RFC 4180 has it: commas, lines that end with CR LF, quotes where they are needed.
package struct CSVWriter: Sendable {
  /// Whether control characters are escaped, for a terminal (S08). In a file the data stands as it is.
  private let escapesControls: Bool

  package init(escapesControls: Bool = false) {
    self.escapesControls = escapesControls
  }

  /// One record with its end. `nil` is nothing between the commas, an empty text two quotes: COPY tells them apart, too.
  package func record(_ fields: [String?]) -> String {
    fields.map { $0.map(field) ?? "" }.joined(separator: ",") + "\r\n"
  }

  private func field(_ text: String) -> String {
    let text = escapesControls ? Printable.line(text) : text
    let quote = UInt8(ascii: "\"")
    let bytes = Array(text.utf8)
    let needsQuotes =
      bytes.isEmpty || bytes.first == 0x20 || bytes.last == 0x20
      || bytes.contains {
        $0 == quote || $0 == UInt8(ascii: ",") || $0 == UInt8(ascii: "\n") || $0 == UInt8(ascii: "\r")
      }
    guard needsQuotes else { return text }
    return String(decoding: [quote] + bytes.flatMap { $0 == quote ? [quote, quote] : [$0] } + [quote], as: UTF8.self)
  }
}
