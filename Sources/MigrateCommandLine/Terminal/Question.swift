private import Glibc

/// Asks before something changes. To be asked before signals are watched, so that Ctrl-C at the question ends the program.
package struct Question: Sendable {
  /// What to do about a question, before it is asked.
  package enum Decision: Sendable, Equatable {
    case proceed
    case ask
    case refuse(UsageError)
  }

  private let output: Output
  private let input: Int32

  package init(output: Output = .error, input: Int32 = STDIN_FILENO) {
    self.output = output
    self.input = input
  }

  /// Whether to go on with what a command does: `rejects --fix`.
  ///
  /// - Returns: false when the answer is anything but yes, the end of the input included.
  /// - Throws: when nobody is there to answer.
  package func allows(_ command: String, yes: Bool, environment: Environment) throws(UsageError) -> Bool {
    let isTerminal = Terminal.isTerminal(input) && Terminal.isTerminal(output.descriptor)
    switch Self.decide(command, yes: yes, isTerminal: isTerminal, environment: environment) {
    case .proceed: return true
    case .refuse(let error): throw error
    case .ask:
      output.write("Proceed? [y/N] ")
      return Self.isYes(readLine())
    }
  }

  package static func decide(
    _ command: String, yes: Bool, isTerminal: Bool, environment: Environment
  ) -> Decision {
    if yes { return .proceed }
    if let variable = environment.text("CI"), ValueForm.yesOrNo.read(variable) ?? true {
      return .refuse(.nobodyToAsk(command, where: "where the variable CI is set"))
    }
    return isTerminal ? .ask : .refuse(.nobodyToAsk(command, where: "without a terminal"))
  }

  /// `y` and `yes`, in capitals too, and nothing else.
  package static func isYes(_ line: [UInt8]) -> Bool {
    let letters = line.filter { $0 > 0x20 }.map { (65...90).contains($0) ? $0 + 32 : $0 }
    return letters == Array("y".utf8) || letters == Array("yes".utf8)
  }

  /// Byte by byte, so that nothing behind the line is taken from who reads the input next.
  private func readLine() -> [UInt8] {
    var line: [UInt8] = []
    var byte: UInt8 = 0
    while line.count < 1_000 {
      let count = read(input, &byte, 1)
      if count < 0 && errno == EINTR { continue }
      if count <= 0 {
        output.write("\n")
        return []
      }
      if byte == UInt8(ascii: "\n") { break }
      line.append(byte)
    }
    return line
  }
}

extension UsageError {
  fileprivate static func nobodyToAsk(_ command: String, where place: String) -> UsageError {
    UsageError(
      "`\(command)` asks before it changes anything; \(place) give --yes", remedy: "`--yes` goes ahead without asking")
  }
}
