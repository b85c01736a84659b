import MigrateSQL
import Testing

@Suite struct `An identifier` {
  @Test func `is quoted by bytes, under a combining accent too`() throws {
    #expect(try Identifier("a\"b").quoted == "\"a\"\"b\"")
    let accented = try Identifier("a\"\u{301}; DROP TABLE t")
    #expect(Array(accented.quoted.utf8).count { $0 == UInt8(ascii: "\"") } == 4)
  }

  /// V16
  @Test func `V16: composed and decomposed letters are two names`() throws {
    #expect(try Identifier("caf\u{e9}") != Identifier("cafe\u{301}"))
    #expect(try Set([Identifier("caf\u{e9}"), Identifier("cafe\u{301}")]).count == 2)
  }

  /// X22
  @Test func `X22: is refused where PostgreSQL would cut it`() throws {
    #expect(throws: InvalidIdentifier.length(bytes: 64)) { try Identifier(String(repeating: "é", count: 32)) }
    #expect(throws: InvalidIdentifier.length(bytes: 0)) { try Identifier("") }
    #expect(throws: InvalidIdentifier.containsNUL) { try Identifier("a\0") }
    #expect(try Identifier(String(repeating: "é", count: 31)).name.utf8.count == 62)
  }
}
