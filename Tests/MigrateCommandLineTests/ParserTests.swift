import MigrateCommandLine
import Testing

@Suite struct `A command line` {
  @Test(arguments: [
    ["go", "--rate", "5", "x"], ["go", "--rate=5", "x"], ["go", "x", "--rate", "5"], ["go", "-r", "5", "x"],
    ["go", "-r5", "x"], ["go", "-r=5", "x"], ["walk", "x", "-r5"], ["-q", "go", "--rate", "5", "x"],
    ["go", "--rate", "4", "--rate", "5", "x"], ["go", "--rate", "5", "--", "x"],
  ])
  func `has one meaning however it is spelt`(words: [String]) throws {
    let arguments = try #require(try Sample.arguments(words))
    #expect(arguments.command == "go")
    #expect(arguments[Sample.rate] == "5")
    #expect(arguments[Sample.words] == ["x"])
  }

  @Test func `takes letters in groups, the last of which may have a value`() throws {
    let arguments = try #require(try Sample.arguments(["go", "-qar5"]))
    #expect(arguments[Sample.quiet] && arguments[Sample.all])
    #expect(!arguments[Sample.bare])
    #expect(arguments[Sample.rate] == "5")
  }

  @Test func `takes all behind two dashes as plain words`() throws {
    let arguments = try #require(try Sample.arguments(["go", "a", "--", "--all", "--", "-q", "--help"]))
    #expect(arguments[Sample.words] == ["a", "--all", "--", "-q", "--help"])
    #expect(!arguments[Sample.all])
  }

  @Test func `takes a dash and a negative number as words and as values`() throws {
    let arguments = try #require(try Sample.arguments(["go", "-", "-5", "-.5", "--level", "-3", "--rate", "-1.5"]))
    #expect(arguments[Sample.words] == ["-", "-5", "-.5"])
    #expect(arguments[Sample.level] == -3)
    #expect(arguments[Sample.rate] == "-1.5")
  }

  @Test func `keeps repeated options in order, under each of their names`() throws {
    let arguments = try #require(try Sample.arguments(["go", "--param", "a=1", "--set", "b=x=y", "-p", "c="]))
    #expect(arguments[Sample.set].map(\.name) == ["a", "b", "c"])
    #expect(arguments[Sample.set].map(\.value) == ["1", "x=y", ""])
  }

  @Test func `takes a flag back`() throws {
    let arguments = try #require(try Sample.arguments(["go", "--all", "--no-all", "--bare"], ["MIGRATE_QUIET": "1"]))
    #expect(!arguments[Sample.all])
    #expect(arguments[Sample.bare] && arguments[Sample.quiet])
    #expect(try Sample.arguments(["go", "--no-quiet"], ["MIGRATE_QUIET": "1"])?[Sample.quiet] == false)
  }

  @Test func `reads values to their types, and has defaults`() throws {
    let arguments = try #require(try Sample.arguments(["go", "--wait", "1h30m", "-n", "5k"]))
    #expect(arguments[Sample.wait] == .seconds(5_400))
    #expect(arguments[Sample.rows] == 5_000)
    #expect(arguments[Sample.level] == 1)
    #expect(arguments[Sample.rate] == nil)
    #expect(arguments.origin(of: Sample.level) == nil)
  }

  @Test func `keeps the bytes of a value`() throws {
    let composed = "caf\u{e9}"
    let decomposed = "cafe\u{301}"
    let arguments = try #require(try Sample.arguments(["go", "--rate=\u{301}x", "--note", decomposed, composed]))
    #expect(arguments[Sample.rate].map { Array($0.utf8) } == Array("\u{301}x".utf8))
    #expect(arguments[Sample.note].map { Array($0.utf8) } == Array(decomposed.utf8))
    #expect(Array(arguments[Sample.words][0].utf8) == Array(composed.utf8))
  }

  @Test func `beats the environment, which beats the default`() throws {
    let variables = ["MIGRATE_LEVEL": "4", "MIGRATE_ROWS": "2k", "MIGRATE_RATE": ""]
    let arguments = try #require(try Sample.arguments(["go", "--level", "5"], variables))
    #expect(arguments[Sample.level] == 5)
    #expect(arguments[Sample.rows] == 2_000)
    #expect(arguments[Sample.rate] == nil)
    #expect(arguments.origin(of: Sample.level) == .commandLine)
    #expect(arguments.origin(of: Sample.rows) == .environment(variable: "MIGRATE_ROWS"))
  }

  @Test func `is not contradicted by a variable`() throws {
    let arguments = try #require(try Sample.arguments(["go", "--bare"], ["MIGRATE_ALL": "1"]))
    #expect(arguments[Sample.bare] && !arguments[Sample.all])
    #expect(try Sample.arguments(["go", "--bare", "--no-all"])?[Sample.bare] == true)
  }

  @Test func `reads long values from a file and from standard input`() throws {
    func note(_ typed: String) throws -> String? { try Sample.arguments(["go", "--note", typed])?[Sample.note] }
    #expect(try note("@letter") == "dear\r\nreader")
    #expect(try note("-") == "typed")
    #expect(try note("@-") == "typed")
    #expect(try note("@@home") == "@home")
    #expect(try Sample.arguments(["go", "--rate", "@letter"])?[Sample.rate] == "@letter")
  }

  @Test func `gives help and version wherever they are asked for`() {
    for words in [
      ["go", "--help"], ["go", "-qh"], ["--help", "go"], ["help", "go"], ["go", "--nonsense", "--help"],
    ] {
      #expect(answer(words, of: Sample.program).utf8.starts(with: "tool go: go (also: walk)\n".utf8), "\(words)")
    }
    #expect(answer(["help"], of: Sample.program).utf8.starts(with: "tool: try things\n".utf8))
    #expect(answer(["help", "box", "open"], of: Sample.program).utf8.starts(with: "tool box open: open one\n".utf8))
    for words in [["--version"], ["go", "--version"], ["--version", "go", "x"]] {
      #expect(answer(words, of: Sample.program) == "tool 1.2.3\n")
    }
    #expect(answer(["version"]) == answer(["--version"]))
  }

  @Test func `is refused when it is not UTF-8 rather than changed`() throws {
    #expect(try CommandLineWords.checked([Array("é".utf8)]) == ["é"])
    let error = #expect(throws: UsageError.self) { try CommandLineWords.checked([[0x61], [0x63, 0xE9]]) }
    #expect(error?.message == "argument 2 is not valid UTF-8: 'c\u{FFFD}'")
  }
}
