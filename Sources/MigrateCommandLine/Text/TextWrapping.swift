/// Breaks text into lines at blanks.
package enum TextWrapping {
  /// Lines of at most `width` columns; only a word that is longer than that stands out. Paragraphs are separated by an empty line.
  package static func lines(of text: String, width: Int) -> [String] {
    var lines: [String] = []
    for paragraph in text.split(separator: "\n", omittingEmptySubsequences: false) {
      var line = ""
      for word in paragraph.split(separator: " ").map(String.init) {
        let joined = line.isEmpty ? word : "\(line) \(word)"
        if line.isEmpty || ColumnWidth.of(joined) <= width {
          line = joined
        } else {
          lines.append(line)
          line = word
        }
      }
      lines.append(line)
    }
    return lines
  }

  /// The same with `indent` blanks before each line, all within `width`.
  package static func indented(_ text: String, by indent: Int, width: Int) -> [String] {
    lines(of: text, width: width - indent).map { $0.isEmpty ? "" : ColumnWidth.blanks(indent) + $0 }
  }
}
