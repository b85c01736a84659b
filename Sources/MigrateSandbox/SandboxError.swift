/// Why the sandbox cannot do what it was asked, and what helps.
package struct SandboxError: Error, Sendable, Equatable, CustomStringConvertible {
  package let message: String
  package let remedy: String

  package init(_ message: String, remedy: String) {
    self.message = message
    self.remedy = remedy
  }

  package var description: String { "\(message)\n  help: \(remedy)" }
}
