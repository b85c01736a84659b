/// Data never reaches a terminal with its escapes: a value may hold sequences that retitle the window, move the cursor over
/// what was said before, or feed a line to a log that looks like one of ours (S08).
package enum Printable {
  /// `text` on one line: newline and tab escaped too.
  package static func line(_ text: String) -> String { escaped(text, keepingLayout: false) }

  /// `text` with its lines and tabs.
  package static func block(_ text: String) -> String { escaped(text, keepingLayout: true) }

  /// Control characters of both sets, and those that turn the direction of the text around or break lines.
  package static func isUnsafe(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0x00...0x1F, 0x7F...0x9F: true
    case 0x200E, 0x200F, 0x2028...0x202E, 0x2066...0x2069: true
    default: false
    }
  }

  private static func escaped(_ text: String, keepingLayout: Bool) -> String {
    if text.utf8.allSatisfy({ (0x20...0x7E).contains($0) }) { return text }
    var result = String.UnicodeScalarView()
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\n" where keepingLayout, "\t" where keepingLayout: result.append(scalar)
      case "\n": result.append(contentsOf: "\\n".unicodeScalars)
      case "\r": result.append(contentsOf: "\\r".unicodeScalars)
      case "\t": result.append(contentsOf: "\\t".unicodeScalars)
      case _ where isUnsafe(scalar):
        result.append(contentsOf: "\\u{\(String(scalar.value, radix: 16))}".unicodeScalars)
      default: result.append(scalar)
      }
    }
    return String(result)
  }
}
