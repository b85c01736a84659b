/// How a piece of text stands out, where there is colour.
package enum Style: String, Sendable, CaseIterable {
  case bold = "1"
  case faint = "2"
  case red = "1;31"
  case green = "32"
  case yellow = "1;33"

  /// `text` in this style. Make what comes from outside printable before, see ``Printable``.
  package func paint(_ text: String, on terminal: Terminal) -> String {
    terminal.color ? "\u{1B}[\(rawValue)m\(text)\u{1B}[0m" : text
  }
}
