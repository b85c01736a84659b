/// Bounds how deeply a text can nest, before PostgreSQL's parser sees it.
///
/// The parser limits what it stacks (`memory exhausted`), yet a chain, `1 + 1 + 1 …`, becomes a tree as deep as it is long
/// without that limit, and the tree's writer overflows a thread's stack: 20,000 links do on 512 KiB. Counted here for each
/// bracket: the operators and keywords since the last word that lays terms side by side instead of into each other.
struct NestingLimit {
  static let limit = 1_000

  private struct Level {
    var isCase = false
    var chain = 0
    /// `UNION` and `JOIN` go on counting: a comma between two of them does not end the chain.
    var queries = 0
    var depth: Int { chain + queries + 1 }
  }

  private static let separators = ["and", "or", "when", "then", "else", "where", "having", "by"]
  private static let setOperations = ["union", "intersect", "except"]
  /// Joins are walked by recursion, which needs more stack for each than a link of a chain does: at most 62 in one FROM.
  private static let joinWeight = 16

  private var enclosing: [Level] = []
  private var outerDepth = 0
  private var level = Level()

  /// The first token that stands too deep.
  static func exceeded(in sql: TokenizedSQL) -> Token? {
    var nesting = NestingLimit()
    for (index, token) in sql.tokens.enumerated() {
      // Behind a colon stands a parameter's name.
      let isParameter = index > 0 && sql.tokens[index - 1].isSign(":")
      nesting.count(token, word: isParameter ? nil : sql.keyword(index))
      if nesting.outerDepth + nesting.level.depth > limit { return token }
    }
    return nil
  }

  private mutating func count(_ token: Token, word: String?) {
    if token.isSign("(") || token.isSign("[") || word == "case" {
      outerDepth += level.depth
      enclosing.append(level)
      level = Level(isCase: word == "case")
    } else if token.isSign(")") || token.isSign("]") {
      while level.isCase { leave() }
      leave()
    } else if word == "end", level.isCase {
      leave()
    } else if token.isSign(",") || word.map(Self.separators.contains) == true {
      level.chain = 0
    } else if word.map(Self.setOperations.contains) == true {
      level.queries += 1
    } else if word == "join" {
      level.queries += Self.joinWeight
    } else if token.isOperator || word != nil {
      level.chain += 1
    }
  }

  private mutating func leave() {
    guard let outer = enclosing.popLast() else {
      level.isCase = false
      return
    }
    outerDepth -= outer.depth
    level = outer
    level.chain += 1
  }
}
