/// Bounds how deeply a text can nest, before PostgreSQL's parser sees it.
///
/// The parser limits what it stacks (`memory exhausted`), yet a chain, `1 + 1 + 1 …`, becomes a tree as deep as it is long
/// without that limit, and the tree's writer overflows a thread's stack: 10,000 links do on 512 KiB. Counted here for each
/// bracket: the operators and keywords since the last word that lays terms side by side instead of into each other.
struct NestingLimit {
  static let limit = 1_000

  private struct Level {
    var chain = 0
    /// `UNION` and `JOIN` go on counting: a comma between two of them does not end the chain.
    var queries = 0
    var depth: Int { chain + queries + 1 }
  }

  private static let separators = ["and", "or", "when", "then", "else", "where", "having", "by"]
  private static let queryChains = ["union", "intersect", "except", "join"]

  /// The first token that stands too deep.
  static func exceeded(in sql: TokenizedSQL) -> Token? {
    var levels = [Level()]
    var outer = 0
    for (index, token) in sql.tokens.enumerated() {
      let word = sql.keyword(index)
      var level = levels.removeLast()
      if token.isSign("(") || token.isSign("[") || word == "case" {
        outer += level.depth
        levels.append(level)
        level = Level()
      } else if token.isSign(")") || token.isSign("]") || word == "end" {
        if let enclosing = levels.popLast() {
          outer -= enclosing.depth
          level = enclosing
          level.chain += 1
        }
      } else if token.isSign(",") || word.map(separators.contains) == true {
        level.chain = 0
      } else if word.map(queryChains.contains) == true {
        level.queries += 1
      } else if token.isOperator || word != nil {
        level.chain += 1
      }
      levels.append(level)
      if outer + level.depth > limit { return token }
    }
    return nil
  }
}
