internal import MigrateDiagnostics

/// The steps that an expression and a query share: from text to a parse tree that PostgreSQL accepts.
struct SQLReader {
  let fragment: SourceFragment
  let sql: TokenizedSQL
  let parameters: [ParameterUse]
  /// The only statement: `{"SelectStmt": …}`.
  let statement: ParseTree
  /// How many bytes stood before the text when it was parsed.
  let shift: Int

  /// - Parameter prefix: what makes a statement of the text.
  init(_ fragment: SourceFragment, prefix: String) throws(SQLDiagnostics) {
    self.fragment = fragment
    shift = prefix.utf8.count
    let bytes = Array(fragment.text.utf8)
    if let nul = bytes.firstIndex(of: 0) { throw SQLDiagnostics(.nul(nul, in: fragment)) }
    do { sql = try TokenizedSQL(bytes) } catch { throw SQLDiagnostics(SyntaxError.unreadable(error, in: fragment)) }
    guard !sql.tokens.isEmpty else { throw SQLDiagnostics(.empty(in: fragment)) }
    if let token = NestingLimit.exceeded(in: sql) { throw SQLDiagnostics(.tooDeep(token.range, in: fragment)) }
    if let problem = BracketCheck.problem(of: sql, in: fragment) { throw SQLDiagnostics(problem) }
    let scanner = ParameterScanner(sql, in: fragment)
    if let problems = SQLDiagnostics(scanner.problems + Self.longNames(sql, fragment)) { throw problems }
    parameters = scanner.uses
    statement = try Self.parse(scanner, sql, fragment, prefix: Array(prefix.utf8))
  }

  private static func parse(
    _ scanner: ParameterScanner, _ sql: TokenizedSQL, _ fragment: SourceFragment, prefix: [UInt8]
  ) throws(SQLDiagnostics) -> ParseTree {
    let tree: ParseTree?
    do {
      tree = try PgQuery.parse(prefix + scanner.parsable)
    } catch {
      let offset = error.offset.map { max(0, $0 - prefix.count) }
      let syntaxError = SyntaxError(
        failure: PgQuery.Failure(message: error.message, offset: offset), sql: sql, parameters: scanner.uses,
        isExpression: !prefix.isEmpty)
      throw SQLDiagnostics(syntaxError.diagnostic(in: fragment))
    }
    guard let tree else { throw SQLDiagnostics(.tooDeep(0..<sql.bytes.count, in: fragment)) }
    let statements = tree.list("stmts")
    guard statements.count == 1, let statement = statements.first?["stmt"] else {
      throw SQLDiagnostics(.empty(in: fragment))
    }
    return statement
  }

  /// PostgreSQL cuts a name at 63 bytes without a word.
  private static func longNames(_ sql: TokenizedSQL, _ fragment: SourceFragment) -> [Diagnostic] {
    sql.tokens.filter { $0.isName && sql.name(of: $0).name.utf8.count > 63 && $0.kind != .unicodeIdentifier }
      .map { .longName($0.range, in: fragment) }
  }

  /// The facts of the statement, and what is forbidden in it.
  func collect() -> FactCollector {
    var collector = FactCollector(sql, shift: shift)
    collector.facts.parameters = parameters
    return collector
  }

  /// The diagnostics of what may not stand anywhere in SQL that is read here.
  func forbidden(_ found: [FactCollector.Forbidden]) -> [Diagnostic] {
    found.map { forbidden in
      switch forbidden {
      case .default(let offset): .defaultKeyword(sql.token(at: offset)?.range ?? 0..<0, in: fragment)
      case .into(let offset): .into(range(of: "into", before: offset), in: fragment)
      case .locking: .locking(lockingRange, in: fragment)
      case .writing(let kind, let offset): .writing(kind, sql.token(at: offset)?.range ?? 0..<0, in: fragment)
      }
    }
  }

  private func range(of keyword: String, before offset: Int) -> Range<Int> {
    let index = sql.tokens.indices.last { sql.tokens[$0].range.lowerBound < offset && sql.keyword($0) == keyword }
    return index.map { sql.tokens[$0].range } ?? 0..<0
  }

  /// `FOR UPDATE`, `FOR SHARE`, `FOR NO KEY UPDATE`, `FOR KEY SHARE`; `FOR` alone stands in `substring`, too.
  private var lockingRange: Range<Int> {
    for index in sql.tokens.indices where sql.keyword(index) == "for" {
      let words = (1...3).map { sql.keyword(index + $0) }
      for ending in [["update"], ["share"], ["no", "key", "update"], ["key", "share"]]
      where words.prefix(ending.count).elementsEqual(ending) {
        return sql.tokens[index].range.lowerBound..<sql.tokens[index + ending.count].range.upperBound
      }
    }
    return 0..<0
  }
}

extension Diagnostic {
  fileprivate static func nul(_ offset: Int, in fragment: SourceFragment) -> Diagnostic {
    Diagnostic(
      "nul-byte", at: fragment.span(of: offset..<offset + 1),
      "this text holds a NUL byte, which PostgreSQL cannot read",
      remedy: "remove it; for the byte in a bytea value write `'\\x00'`")
  }

  fileprivate static func empty(in fragment: SourceFragment) -> Diagnostic {
    Diagnostic(
      "empty-sql", at: fragment.span, "there is no SQL here",
      remedy: "for NULL write `null`, for an empty text `''`")
  }

  fileprivate static func tooDeep(_ range: Range<Int>, in fragment: SourceFragment) -> Diagnostic {
    Diagnostic(
      "nested-too-deeply", at: fragment.span(of: range), "this is nested too deeply to be read",
      remedy: "compute a part of it in `let`, or put it into a function of the database")
  }

  fileprivate static func longName(_ range: Range<Int>, in fragment: SourceFragment) -> Diagnostic {
    Diagnostic(
      "name-too-long", at: fragment.span(of: range), "this name has more than 63 bytes; PostgreSQL would cut it",
      remedy: "write the name as the database stores it, at most 63 bytes")
  }

  fileprivate static func defaultKeyword(_ range: Range<Int>, in fragment: SourceFragment) -> Diagnostic {
    Diagnostic(
      "default-in-expression", at: fragment.span(of: range), "`DEFAULT` is no value of its own",
      remedy: "leave the column out to give it its default, or write the default's expression")
  }

  fileprivate static func into(_ range: Range<Int>, in fragment: SourceFragment) -> Diagnostic {
    Diagnostic(
      "query-into", at: fragment.span(of: range), "`INTO` would create a table",
      remedy: "remove `INTO` and the name behind it; where rows go is said by `insert:` or `target:`")
  }

  fileprivate static func locking(_ range: Range<Int>, in fragment: SourceFragment) -> Diagnostic {
    Diagnostic(
      "query-locks", at: fragment.span(of: range), "a query here may not lock rows",
      remedy: "remove the `FOR …` clause; each batch locks what it writes by itself")
  }

  fileprivate static func writing(_ kind: String, _ range: Range<Int>, in fragment: SourceFragment) -> Diagnostic {
    let verb = kind.replacing("Stmt", with: "").uppercased()
    return Diagnostic(
      "query-writes", at: fragment.span(of: range), "a query here may only read; this part of WITH is \(verb)",
      remedy: "make it a step of its own, which `undo` then covers")
  }
}
