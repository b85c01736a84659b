import Glibc
import MigrateCommandLine
import Testing

@Suite struct `A terminal` {
  @Test(
    arguments: [
      // choice, terminal, variables, colour
      (ColorChoice.auto, true, ["TERM": "xterm"], true), (.auto, false, ["TERM": "xterm"], false),
      (.auto, true, ["TERM": "dumb"], false), (.auto, true, [:], false),
      (.auto, true, ["TERM": "xterm", "NO_COLOR": "1"], false), (.auto, true, ["TERM": "xterm", "NO_COLOR": ""], true),
      (.auto, true, ["TERM": "xterm", "NO_COLOR": "0"], false), (.auto, false, ["CLICOLOR_FORCE": "1"], true),
      (.auto, false, ["CLICOLOR_FORCE": "0"], false), (.auto, false, ["CLICOLOR_FORCE": "1", "NO_COLOR": "1"], false),
      (.auto, true, ["TERM": "dumb", "CLICOLOR_FORCE": "1"], true),
      (.auto, true, ["TERM": "xterm", "CLICOLOR": "0"], false),
      (.always, false, ["NO_COLOR": "1", "TERM": "dumb"], true),
      (.never, true, ["TERM": "xterm", "CLICOLOR_FORCE": "1"], false),
    ] as [(ColorChoice, Bool, [String: String], Bool)])
  func `P26 is coloured as the flag, then the variables say`(
    choice: ColorChoice, isTerminal: Bool, variables: [String: String], color: Bool
  ) {
    #expect(choice.decides(isTerminal: isTerminal, environment: Environment(variables)) == color)
  }

  @Test(
    arguments: [
      (["LANG": "en_GB.UTF-8"], true), (["LANG": "de_DE.utf8@euro"], true), (["LANG": "C"], false), ([:], false),
      (["LANG": "en_GB.UTF-8", "LC_ALL": "C"], false), (["LANG": "C", "LC_CTYPE": "C.UTF-8"], true),
    ] as [([String: String], Bool)])
  func `shows more than ASCII in a UTF-8 locale`(variables: [String: String], unicode: Bool) {
    #expect(Terminal.speaksUnicode(Environment(variables)) == unicode)
  }

  @Test func `has the width that it says, or that COLUMNS says`() throws {
    let pair = try TerminalPair.make(columns: 132)
    #expect(Terminal.width(of: pair.user, environment: Environment(["COLUMNS": "50"])) == 132)
    #expect(Terminal.isTerminal(pair.user))
    let file = open("/dev/null", O_RDONLY)
    defer { close(file) }
    #expect(!Terminal.isTerminal(file))
    for (columns, width) in [("50", 50), ("0", 80), ("-1", 80), ("wide", 80), ("", 80)] {
      #expect(Terminal.width(of: file, environment: Environment(["COLUMNS": columns])) == width)
    }
  }
}

@Suite struct `A question` {
  @Test(arguments: [
    (["y"], true), (["Y"], true), (["yes"], true), (["YES "], true), (["n"], false), ([""], false), (["yeah"], false),
    (["ye\u{301}s"], false),
  ])
  func `is answered by yes alone`(line: [String], answer: Bool) throws {
    let pair = try TerminalPair.make(columns: 80)
    pair.type(line.joined() + "\nrest")
    let question = Question(output: Output(descriptor: pair.user), input: pair.user)
    #expect(try question.allows("apply prices", yes: false, environment: Environment([:])) == answer)
  }

  @Test func `without an answer is a no`() throws {
    let pair = try TerminalPair.make(columns: 80)
    pair.type("\u{4}")
    let question = Question(output: Output(descriptor: pair.user), input: pair.user)
    #expect(try !question.allows("apply prices", yes: false, environment: Environment([:])))
  }

  @Test func `is not asked where nobody is`() throws {
    typealias Decision = Question.Decision
    func decide(yes: Bool, terminal: Bool, _ variables: [String: String] = [:]) -> Decision {
      Question.decide("apply", yes: yes, isTerminal: terminal, environment: Environment(variables))
    }
    let remedy = "`--yes` goes ahead without asking"
    #expect(decide(yes: false, terminal: true) == .ask)
    #expect(decide(yes: true, terminal: false) == .proceed)
    #expect(decide(yes: true, terminal: true, ["CI": "true"]) == .proceed)
    #expect(decide(yes: false, terminal: true, ["CI": "false"]) == .ask)
    #expect(
      decide(yes: false, terminal: false)
        == .refuse(
          UsageError("`apply` asks before it changes anything; without a terminal give --yes", remedy: remedy)))
    #expect(
      decide(yes: false, terminal: true, ["CI": "true"])
        == .refuse(
          UsageError("`apply` asks before it changes anything; where the variable CI is set give --yes", remedy: remedy)
        ))
  }
}

/// A terminal without a window: what is typed at one end is read at the other.
struct TerminalPair: ~Copyable {
  private let keyboard: Int32
  let user: Int32

  struct Failure: Error { let code: Int32 }

  private init(keyboard: Int32, user: Int32) {
    self.keyboard = keyboard
    self.user = user
  }

  static func make(columns: UInt16) throws(Failure) -> TerminalPair {
    let keyboard = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)
    var locked: Int32 = 0
    var number: UInt32 = 0
    // TIOCSPTLCK and TIOCGPTN, macros that Swift does not see.
    guard keyboard >= 0, ioctl(keyboard, 0x4004_5431, &locked) == 0, ioctl(keyboard, 0x8004_5430, &number) == 0 else {
      throw Failure(code: errno)
    }
    let user = open("/dev/pts/\(number)", O_RDWR | O_NOCTTY)
    guard user >= 0 else { throw Failure(code: errno) }
    var size = winsize(ws_row: 25, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0)
    _ = ioctl(user, UInt(TIOCSWINSZ), &size)
    return TerminalPair(keyboard: keyboard, user: user)
  }

  func type(_ text: String) {
    let bytes = Array(text.utf8)
    _ = write(keyboard, bytes, bytes.count)
  }

  deinit {
    close(user)
    close(keyboard)
  }
}
