import MigrateDiagnostics

extension Decoder {
  /// A connection each, and no server has cores for more.
  private static let mostWorkers = 64

  /// `parallel:`, a whole number from 1 to 64.
  mutating func parallel(_ entry: YAMLEntry) -> Located<Int>? {
    guard let text = text(entry, "a number of workers, such as `4`") else { return nil }
    if let workers = Int(text.value), (1...Self.mostWorkers).contains(workers),
      String(workers).utf8.elementsEqual(text.value.utf8)
    {
      return Located(workers, at: text.span)
    }
    refuse(
      Diagnostic(
        "bad-parallel", at: text.span,
        "`parallel` is a number of workers from 1 to \(Self.mostWorkers), not `\(text.value)`",
        remedy: "as many as the server has idle cores: `parallel: 4`"))
    return nil
  }
}
