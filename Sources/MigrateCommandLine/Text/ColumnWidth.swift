/// How many columns of a terminal a text takes.
package enum ColumnWidth {
  /// Two for the wide letters of East Asia and for pictures, none for marks that stand on another letter, one for the rest.
  package static func of(_ text: String) -> Int {
    if text.utf8.allSatisfy({ $0 < 0x80 }) { return text.utf8.count }
    return text.unicodeScalars.reduce(0) { $0 + of($1) }
  }

  /// `text`, cut where it would exceed `width` columns, with an ellipsis in the last one.
  package static func truncated(_ text: String, to width: Int, ellipsis: String = "…") -> String {
    if of(text) <= width { return text }
    let mark = of(ellipsis) <= width ? ellipsis : ""
    var left = max(0, width) - of(mark)
    var kept = String.UnicodeScalarView()
    for scalar in text.unicodeScalars {
      left -= of(scalar)
      if left < 0 { break }
      kept.append(scalar)
    }
    return String(kept) + mark
  }

  /// `text` with blanks behind it, `width` columns in all.
  package static func padded(_ text: String, to width: Int) -> String { text + blanks(width - of(text)) }

  /// `text` with blanks before it, `width` columns in all.
  package static func rightAligned(_ text: String, to width: Int) -> String { blanks(width - of(text)) + text }

  package static func blanks(_ count: Int) -> String { String(repeating: " ", count: max(0, count)) }

  private static func of(_ scalar: Unicode.Scalar) -> Int {
    switch scalar.value {
    case 0x20...0x7E, 0xA1...0x2FF: return 1
    case 0x1100...0x115F, 0x2E80...0x303E, 0x3041...0x4DBF, 0x4E00...0xA4CF, 0xAC00...0xD7A3, 0xF900...0xFAFF,
      0xFE30...0xFE6F, 0xFF00...0xFF60, 0xFFE0...0xFFE6, 0x1F300...0x1F64F, 0x1F680...0x1F6FF, 0x1F900...0x1F9FF,
      0x20000...0x3FFFD:
      return 2
    default:
      switch scalar.properties.generalCategory {
      case .nonspacingMark, .enclosingMark, .format, .control: return 0
      default: return 1
      }
    }
  }
}
