import MigrateDiagnostics
import Testing

@Suite struct `A source text` {
  private let text = SourceText(path: "a.yaml", bytes: Array("é: x\r\nb: ü!\n".utf8))

  @Test func `counts lines and columns from one, a column being a code point`() {
    #expect(text.position(of: 0) == (1, 1))
    #expect(text.position(of: 2) == (1, 2))
    #expect(text.position(of: 10) == (2, 4))
    #expect(text.position(of: 99) == (3, 1))
  }

  @Test func `gives a line without its end`() {
    #expect(String(decoding: text.line(1), as: UTF8.self) == "é: x")
    #expect(String(decoding: text.line(2), as: UTF8.self) == "b: ü!")
    #expect(text.line(3) == [])
    #expect(text.line(4) == [])
  }

  @Test func `does not count a byte order mark as a column`() {
    let marked = SourceText(path: "a.yaml", bytes: [0xEF, 0xBB, 0xBF] + Array("a: b\n".utf8))
    #expect(marked.position(of: 0) == (1, 1))
    #expect(marked.position(of: 6) == (1, 4))
    #expect(marked.offset(line: 1, column: 4) == 6)
    #expect(String(decoding: marked.line(1), as: UTF8.self) == "a: b")
  }

  @Test func `finds the byte of a line and column again`() {
    for offset in [0, 2, 3, 7, 10, 12] {
      let (line, column) = text.position(of: offset)
      #expect(text.offset(line: line, column: column) == offset)
    }
  }
}

private func == (left: (line: Int, column: Int), right: (Int, Int)) -> Bool {
  left.line == right.0 && left.column == right.1
}
