private import Glibc

/// What a stream can show.
package struct Terminal: Sendable, Equatable {
  /// Whether a person sees it at once, and lines can be redrawn.
  package let isTerminal: Bool
  package let color: Bool
  /// Whether it shows more than ASCII.
  package let unicode: Bool

  package init(isTerminal: Bool, color: Bool, unicode: Bool) {
    self.isTerminal = isTerminal
    self.color = color
    self.unicode = unicode
  }

  /// What `output` can show.
  package init(_ output: Output, color: ColorChoice, environment: Environment) {
    let isTerminal = Self.isTerminal(output.descriptor)
    self.init(
      isTerminal: isTerminal, color: color.decides(isTerminal: isTerminal, environment: environment),
      unicode: Self.speaksUnicode(environment))
  }

  package static func isTerminal(_ descriptor: Int32) -> Bool { isatty(descriptor) == 1 }

  /// The columns of `descriptor` just now; asked again for each line, since windows change. `COLUMNS` where there is no
  /// terminal, then 80.
  package static func width(of descriptor: Int32, environment: Environment) -> Int {
    var size = winsize()
    if ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 { return Int(size.ws_col) }
    return environment.text("COLUMNS").flatMap { Int($0) }.flatMap { (1...10_000).contains($0) ? $0 : nil } ?? 80
  }

  /// The lines of `descriptor` just now; `LINES` where there is no terminal, then 24.
  package static func height(of descriptor: Int32, environment: Environment) -> Int {
    var size = winsize()
    if ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_row > 0 { return Int(size.ws_row) }
    return environment.text("LINES").flatMap { Int($0) }.flatMap { (1...10_000).contains($0) ? $0 : nil } ?? 24
  }

  /// Whether the locale's letters are UTF-8: `LC_ALL`, `LC_CTYPE`, `LANG`, the first that is set.
  package static func speaksUnicode(_ environment: Environment) -> Bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].lazy.compactMap { environment.text($0) }.first ?? ""
    let name = locale.uppercased()
    return ["UTF-8", "UTF8"].contains { name.hasSuffix($0) || name.contains($0 + "@") }
  }
}
