/// What is wrong with the command line, and how to mend it. The program ends with ``ExitCode/usage``.
///
/// Texts are written at the foot of the file whose rule finds them, as an `extension UsageError`.
package struct UsageError: Error, Sendable, Equatable {
  /// What is wrong, as a sentence without a full stop.
  package let message: String
  /// How to mend it; text that can be pasted stands in backquotes.
  package let remedy: String
  /// The help that is shown before the error, when too little was said to know more.
  package let help: String?

  package init(_ message: String, remedy: String, help: String? = nil) {
    self.message = message
    self.remedy = remedy
    self.help = help
  }

  /// As standard error shows it, with a newline at the end.
  package func rendered(program: String) -> String {
    let error = "\(program): error: \(Printable.line(message))\n  help: \(Printable.line(remedy))\n"
    return help.map { "\($0)\n\(error)" } ?? error
  }

  /// What the user typed, in quotes, short, and without passwords: errors end up in logs.
  package static func shown(_ typed: String) -> String {
    "'\(ColumnWidth.truncated(Printable.line(Redaction.withoutPasswords(typed)), to: 60))'"
  }
}
