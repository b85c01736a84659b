/// An SQL text with its tokens.
struct TokenizedSQL: Sendable {
  let bytes: [UInt8]
  /// Without comments.
  let tokens: [Token]
  /// Whether a `--` comment reaches to the very end: a parenthesis behind it would be swallowed.
  let endsInLineComment: Bool

  init(_ bytes: [UInt8]) throws(PgQuery.Failure) {
    let scanned = try PgQuery.scan(bytes)
    self.bytes = bytes
    endsInLineComment = scanned.last?.kind == .lineComment && scanned.last?.range.upperBound == bytes.count
    tokens = Self.mended(scanned.filter { $0.range.upperBound <= bytes.count }, in: bytes).filter { !$0.isComment }
  }

  static let space: [UInt8] = [9, 10, 11, 12, 13, 32]

  /// The scanner tells a wrong end for `U&'…'` and `U&"…"`: the true one is the last byte before the next token that is no
  /// white space. A following `UESCAPE '…'` belongs to the token.
  private static func mended(_ scanned: [Token], in bytes: [UInt8]) -> [Token] {
    var tokens: [Token] = []
    for (index, token) in scanned.enumerated() {
      guard token.kind == .unicodeString || token.kind == .unicodeIdentifier else {
        tokens.append(token)
        continue
      }
      var end = scanned.indices.contains(index + 1) ? scanned[index + 1].range.lowerBound : bytes.count
      while end > token.range.lowerBound, TokenizedSQL.space.contains(bytes[end - 1]) { end -= 1 }
      tokens.append(Token(range: token.range.lowerBound..<end, kind: token.kind, keyword: nil))
    }
    return mergingEscapes(tokens, in: bytes)
  }

  private static func mergingEscapes(_ tokens: [Token], in bytes: [UInt8]) -> [Token] {
    var merged: [Token] = []
    var index = 0
    while index < tokens.count {
      var token = tokens[index]
      index += 1
      if token.kind == .unicodeString || token.kind == .unicodeIdentifier, index + 1 < tokens.count,
        tokens[index].keyword != nil, lowercased(bytes[tokens[index].range]) == "uescape",
        tokens[index + 1].kind == .string
      {
        token.range = token.range.lowerBound..<tokens[index + 1].range.upperBound
        index += 2
      }
      merged.append(token)
    }
    return merged
  }

  private static func lowercased(_ bytes: ArraySlice<UInt8>) -> String {
    String(decoding: bytes.map { (65...90).contains($0) ? $0 + 32 : $0 }, as: UTF8.self)
  }

  /// The index of the token that begins at `offset`, or else of the first one behind it.
  func index(at offset: Int) -> Int {
    var (low, high) = (0, tokens.count)
    while low < high {
      let middle = (low + high) / 2
      if tokens[middle].range.lowerBound < offset { low = middle + 1 } else { high = middle }
    }
    return low
  }

  /// The token that begins at `offset`.
  func token(at offset: Int) -> Token? {
    let index = index(at: offset)
    guard index < tokens.count, tokens[index].range.lowerBound == offset else { return nil }
    return tokens[index]
  }

  func text(_ range: Range<Int>) -> String {
    let range = range.clamped(to: 0..<bytes.count)
    return String(decoding: bytes[range], as: UTF8.self)
  }

  /// The keyword at `index` in small letters; `nil` for anything else, and behind a dot, where a keyword is a name.
  func keyword(_ index: Int) -> String? {
    guard tokens.indices.contains(index), tokens[index].keyword != nil else { return nil }
    if index > 0, tokens[index - 1].isSign(".") { return nil }
    return Self.lowercased(bytes[tokens[index].range])
  }

  /// The indices of the tokens outside of all brackets.
  var outerIndices: [Int] {
    var depth = 0
    return tokens.indices.filter { index in
      if tokens[index].isSign("(") || tokens[index].isSign("[") { depth += 1 }
      if tokens[index].isSign(")") || tokens[index].isSign("]") {
        depth -= 1
        return false
      }
      return depth == 0
    }
  }

  /// The indices of the tokens that begin a name of `count` parts at `offset`: `a.b.c`, with or without space and comments.
  func nameTokens(at offset: Int, count: Int) -> [Token] {
    var index = index(at: offset)
    var parts: [Token] = []
    while parts.count < count, tokens.indices.contains(index) {
      parts.append(tokens[index])
      index += tokens.indices.contains(index + 1) && tokens[index + 1].isSign(".") ? 2 : tokens.count
    }
    return parts
  }
}

extension TokenizedSQL {
  /// The name that a token stands for: folded, or without its quotes. What `U&"…"` escapes is not resolved.
  func name(of token: Token) -> Identifier {
    let quote = UInt8(ascii: "\"")
    guard bytes[token.range.lowerBound] == quote else {
      return Identifier(trusted: Self.lowercased(bytes[token.range]))
    }
    var name: [UInt8] = []
    var isPairOpen = false
    for byte in bytes[token.range].dropFirst().dropLast() {
      isPairOpen = byte == quote && !isPairOpen
      if !isPairOpen || byte != quote { name.append(byte) }
    }
    return Identifier(trusted: String(decoding: name, as: UTF8.self))
  }
}
