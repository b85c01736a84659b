package import MigrateDiagnostics

/// All that is wrong with one SQL text, in order of position. At least one.
package struct SQLDiagnostics: Error, Sendable, Equatable {
  package let all: [Diagnostic]

  package init(_ first: Diagnostic, _ others: [Diagnostic] = []) { all = [first] + others }

  /// `nil` when nothing is wrong.
  init?(_ all: [Diagnostic]) {
    guard !all.isEmpty else { return nil }
    self.all = all
  }
}
