/// A word, sign, constant or comment of an SQL text, as PostgreSQL's scanner cuts it.
struct Token: Sendable, Equatable {
  /// Its bytes in the text.
  var range: Range<Int>
  var kind: Kind
  var keyword: Keyword?

  /// The numbers of PostgreSQL 15's grammar. A sign that is one byte has that byte's value.
  struct Kind: Sendable, Equatable {
    let rawValue: Int

    init(rawValue: Int) { self.rawValue = rawValue }
    init(_ sign: Unicode.Scalar) { rawValue = Int(sign.value) }

    static let identifier = Kind(rawValue: 258)
    static let unicodeIdentifier = Kind(rawValue: 259)
    static let float = Kind(rawValue: 260)
    static let string = Kind(rawValue: 261)
    static let unicodeString = Kind(rawValue: 262)
    static let bits = Kind(rawValue: 263)
    static let hexadecimal = Kind(rawValue: 264)
    static let `operator` = Kind(rawValue: 265)
    static let integer = Kind(rawValue: 266)
    static let parameter = Kind(rawValue: 267)
    static let cast = Kind(rawValue: 268)
    static let notEqual = Kind(rawValue: 274)
    static let lineComment = Kind(rawValue: 275)
    static let blockComment = Kind(rawValue: 276)

    static let constants: [Kind] = [.float, .string, .unicodeString, .bits, .hexadecimal, .integer]
    static let numbers: [Kind] = [.float, .integer]
  }

  /// How free a keyword is to be a name.
  enum Keyword: Int, Sendable { case unreserved = 1, columnName, typeOrFunctionName, reserved }

  func isSign(_ sign: Unicode.Scalar) -> Bool { kind == Kind(sign) }

  var isComment: Bool { kind == .lineComment || kind == .blockComment }

  /// Whether it may stand as a part of a name: an identifier, quoted or not, or a keyword.
  var isName: Bool { kind == .identifier || kind == .unicodeIdentifier || keyword != nil }

  /// Whether it is an operator of one sign or more.
  var isOperator: Bool {
    guard kind.rawValue < 256 else {
      return kind == .operator || (Kind.cast.rawValue...Kind.notEqual.rawValue).contains(kind.rawValue)
    }
    return "+-*/%^<>=".utf8.contains { Int($0) == kind.rawValue }
  }
}
