/// One thing that is wrong: what, where, and how to mend it.
///
/// Texts are written at the foot of the file whose rule finds them, as an `extension Diagnostic`, so that rule and message are
/// read together. A remedy is required: without one a diagnostic does not compile.
public struct Diagnostic: Sendable, Equatable {
  /// How grave it is: an error stops the command, a warning is shown and stored with the run.
  public enum Severity: String, Sendable { case error, warning }

  /// The name of the rule, in kebab case: `unknown-column`. Stable; `docs/errors.md` lists them.
  public let code: String
  /// Error or warning.
  public let severity: Severity
  /// The place in the definition; `nil` for what stands outside of it, a flag for instance.
  public let span: SourceSpan?
  /// What is wrong, as a sentence without a full stop.
  public let message: String
  /// How to mend it; text that can be pasted stands in backquotes.
  public let remedy: String

  /// A diagnostic of rule `code`.
  package init(
    _ code: String, _ severity: Severity = .error, at span: SourceSpan?, _ message: String, remedy: String
  ) {
    self.code = code
    self.severity = severity
    self.span = span
    self.message = message
    self.remedy = remedy
  }
}

/// All that is wrong with one definition, in order of position.
public struct Diagnostics: Error, Sendable, Equatable {
  /// The text that the spans point into.
  public let source: SourceText
  /// In order of position; those without one come first.
  public let all: [Diagnostic]

  /// The diagnostics `all` about `source`, sorted; said twice at one place is said once.
  package init(source: SourceText, _ all: [Diagnostic]) {
    self.source = source
    var kept: [Diagnostic] = []
    for diagnostic in all where !kept.contains(diagnostic) { kept.append(diagnostic) }
    let ordered = kept.enumerated().sorted { left, right in
      let first = left.element.span ?? SourceSpan(-1, -1)
      let second = right.element.span ?? SourceSpan(-1, -1)
      return first == second ? left.offset < right.offset : first < second
    }
    self.all = ordered.map(\.element)
  }
}
