import MigrateDiagnostics
import MigrateSQL
import Testing

/// What a text is refused with: the rule, the text under the caret, message and help.
struct Refusal: Sendable, CustomTestStringConvertible {
  let sql: String
  let code: String
  /// Where the caret stands: the text that it underlines, and the byte where that begins.
  let marked: String
  let at: Int
  let message: String
  let remedy: String

  init(_ sql: String, _ code: String, _ marked: String, at: Int, _ message: String, _ remedy: String) {
    (self.sql, self.code, self.marked, self.at, self.message, self.remedy) = (sql, code, marked, at, message, remedy)
  }

  var testDescription: String { sql }

  func expect(_ diagnostic: Diagnostic?, sourceLocation: SourceLocation = #_sourceLocation) {
    guard let diagnostic else {
      Issue.record("not refused: \(sql)", sourceLocation: sourceLocation)
      return
    }
    #expect(diagnostic.code == code, sourceLocation: sourceLocation)
    #expect(diagnostic.message == message, sourceLocation: sourceLocation)
    #expect(diagnostic.remedy == remedy, sourceLocation: sourceLocation)
    #expect(diagnostic.span == SourceSpan(at, at + marked.utf8.count), sourceLocation: sourceLocation)
    #expect(Array(sql.utf8).dropFirst(at).starts(with: Array(marked.utf8)), sourceLocation: sourceLocation)
  }
}

func fragment(_ text: String) -> SourceFragment { SourceFragment(verbatim: text, at: 0) }

func problems(_ sql: String) -> [Diagnostic] {
  do {
    _ = try SQLExpression.parse(fragment(sql))
    return []
  } catch {
    return error.all
  }
}

func queryProblems(_ sql: String) -> [Diagnostic] {
  do {
    _ = try SQLQuery.parse(fragment(sql))
    return []
  } catch {
    return error.all
  }
}

@Suite struct `An expression is refused` {
  static let refusals = [
    // 20
    Refusal(
      "batch.Unit Price", "expression-alias", "Price", at: 11, "this is `Unit` with the alias `Price`",
      "write `batch.\"Unit Price\"`"),
    Refusal(
      "Unit Price", "expression-alias", "Price", at: 5, "this is `Unit` with the alias `Price`",
      "write `batch.\"Unit Price\"`"),
    Refusal(
      "price * 2 total", "expression-alias", "total", at: 10, "this is `price * 2` with the alias `total`",
      "remove `total`"),
    Refusal(
      "price AS p", "expression-alias", "AS p", at: 6, "this is `price` with the alias `p`", "remove `AS p`"),
    Refusal(
      "batch.Unit Price Net", "syntax-error", "Net", at: 17, "syntax error at or near \"Net\"",
      "a name with spaces or capitals stands in double quotes: `batch.\"Unit Price Net\"`"),
    // 21
    Refusal(
      "price * 1.1, status = 'x'", "second-expression", ",", at: 11,
      "one expression expected, a second starts at the comma", "one line for each column; here only `price * 1.1`"),
    Refusal(
      "f(a, b), c", "second-expression", ",", at: 7, "one expression expected, a second starts at the comma",
      "one line for each column; here only `f(a, b)`"),
    // 22
    Refusal(
      "a = 1; DROP TABLE t", "second-statement", ";", at: 5,
      "`;` starts another statement; only one may stand here", "remove it and what follows: `a = 1`"),
    Refusal("a = 1 ;", "second-statement", ";", at: 6, "`;` ends a statement; here stands a part of one", "remove it"),
    // 23
    Refusal(
      "price * 2 WHERE id > 5", "clause-in-expression", "WHERE", at: 10, "an expression has no WHERE",
      "move it to `where: id > 5`"),
    Refusal(
      "a IS DISTINCT FROM b FROM t", "clause-in-expression", "FROM", at: 21, "an expression has no FROM",
      "read another table in `join`, or by a sub-select in parentheses: `(SELECT … FROM …)`"),
    Refusal(
      "DISTINCT a", "clause-in-expression", "DISTINCT", at: 0, "an expression has no DISTINCT",
      "remove it; a whole query stands in parentheses: `(SELECT …)`"),
    Refusal(
      "ALL a", "clause-in-expression", "ALL", at: 0, "an expression has no ALL",
      "remove it; a whole query stands in parentheses: `(SELECT …)`"),
    Refusal(
      "a ORDER BY b", "clause-in-expression", "ORDER", at: 2, "an expression has no ORDER",
      "remove it; a whole query stands in parentheses: `(SELECT …)`"),
    Refusal(
      "a UNION SELECT b", "clause-in-expression", "UNION", at: 2, "an expression has no UNION",
      "remove it; a whole query stands in parentheses: `(SELECT …)`"),
    Refusal(
      "a INTO b", "clause-in-expression", "INTO", at: 2, "an expression has no INTO",
      "remove it; a whole query stands in parentheses: `(SELECT …)`"),
    Refusal(
      "WHERE a", "clause-in-expression", "WHERE", at: 0, "an expression has no WHERE", "move it to `where: a`"),
    Refusal(
      "SELECT a FROM t", "query-as-expression", "SELECT", at: 0, "this is a query; an expression belongs here",
      "a query that gives one value stands in parentheses: `(SELECT a FROM t)`"),
    // S02
    Refusal(
      "1); DROP TABLE x; --", "unbalanced-parenthesis", ")", at: 1, "this `)` closes nothing",
      "remove it, or open it before `1`"),
    Refusal(
      "(a[1)]", "unbalanced-parenthesis", ")", at: 4, "this `)` would close a `[`", "close the `[` with `]` first"),
    Refusal(
      "coalesce(a", "unbalanced-parenthesis", "(", at: 8, "this `(` is never closed",
      "add the missing `)`; if YAML cut the text short, put it under a `|`"),
    Refusal(
      "*", "star-in-expression", "*", at: 0, "`*` stands for several columns; one value is expected",
      "name the column; a count is `count(*)`"),
    Refusal(
      "batch.*", "star-in-expression", "*", at: 6, "`*` stands for several columns; one value is expected",
      "name the column; a count is `count(*)`"),
    Refusal(
      "(batch).*", "star-in-expression", "*", at: 8, "`*` stands for several columns; one value is expected",
      "name the column; a count is `count(*)`"),
    Refusal(
      "(SELECT a FROM t FOR UPDATE)", "query-locks", "FOR UPDATE", at: 17, "a query here may not lock rows",
      "remove the `FOR …` clause; each batch locks what it writes by itself"),
    Refusal(
      "EXISTS (WITH d AS (DELETE FROM t RETURNING 1) SELECT 1 FROM d)", "query-writes", "d", at: 13,
      "a query here may only read; this part of WITH is DELETE", "make it a step of its own, which `undo` then covers"),
    Refusal(
      "(SELECT a INTO x FROM t)", "query-into", "INTO", at: 10, "`INTO` would create a table",
      "remove `INTO` and the name behind it; where rows go is said by `insert:` or `target:`"),
    Refusal("", "empty-sql", "", at: 0, "there is no SQL here", "for NULL write `null`, for an empty text `''`"),
    Refusal(
      " -- x", "empty-sql", " -- x", at: 0, "there is no SQL here", "for NULL write `null`, for an empty text `''`"),
    Refusal(
      "a\0b", "nul-byte", "\0", at: 1, "this text holds a NUL byte, which PostgreSQL cannot read",
      "remove it; for the byte in a bytea value write `'\\x00'`"),
    Refusal(
      "coalesce(a, DEFAULT)", "default-in-expression", "DEFAULT", at: 12, "`DEFAULT` is no value of its own",
      "leave the column out to give it its default, or write the default's expression"),
    // X22
    Refusal(
      "a + \"\(String(repeating: "é", count: 32))\"", "name-too-long", "\"\(String(repeating: "é", count: 32))\"",
      at: 4,
      "this name has more than 63 bytes; PostgreSQL would cut it",
      "write the name as the database stores it, at most 63 bytes"),
  ]

  static let syntaxErrors = [
    Refusal(
      "price +", "syntax-error", "", at: 7, "syntax error at end of input", "something is missing behind `price +`"),
    Refusal(
      "a + order", "syntax-error", "order", at: 4, "syntax error at or near \"order\"",
      "`order` is a word of SQL; a column of that name is `batch.order`"),
    Refusal(
      "'é' || 'ü' c d", "syntax-error", "d", at: 15, "syntax error at or near \"d\"",
      "a name with spaces or capitals stands in double quotes: `batch.\"c d\"`"),
    Refusal(
      "'é' || :naïve :other", "syntax-error", ":other", at: 16, "syntax error at or near \":other\"",
      "a parameter is a value: an operator or a comma is missing before `:other`"),
    Refusal(
      "'it's'", "syntax-error", "'", at: 5, "unterminated quoted string at or near \"'\"",
      "end the string with `'`; a quote inside a string is written twice: `'it''s'`"),
    Refusal(
      "é + /* never", "syntax-error", "/", at: 5, "unterminated /* comment at or near \"/* never\"",
      "end the comment with `*/`"),
    Refusal(
      "\"é\" = \"Size", "syntax-error", "\"", at: 7, "unterminated quoted identifier at or near \"\"Size\"",
      "end the name with `\"`; text stands in single quotes: `'text'`"),
    Refusal(
      "2nd", "syntax-error", "2", at: 0, "trailing junk after numeric literal at or near \"2n\"",
      "a name that begins with a digit needs quotes, `batch.\"2nd\"`; text stands in single quotes"),
    Refusal(
      "* 2", "syntax-error", "2", at: 2, "syntax error at or near \"2\"",
      "PostgreSQL understands it up to `*`; mend what follows"),
    Refusal(
      "1 'x'", "syntax-error", "'x'", at: 2, "syntax error at or near \"'x'\"",
      "an operator is missing before 'x'; to join texts write `||`, for a quote in a text write it twice: `''`"),
  ]

  /// S02 X22
  @Test(arguments: refusals) func `S02: unless it is one expression and nothing besides`(_ refusal: Refusal) {
    refusal.expect(problems(refusal.sql).first)
  }

  @Test(arguments: syntaxErrors) func `with PostgreSQL's message at the right byte`(_ refusal: Refusal) {
    refusal.expect(problems(refusal.sql).first)
  }

  @Test func `at its place in a file that YAML has folded`() {
    let folded = SourceFragment(text: "a b", span: SourceSpan(10, 20), offsets: [11, 12, 18, 19])
    do {
      _ = try SQLExpression.parse(folded)
      Issue.record("an alias was read as an expression")
    } catch {
      #expect(error.all.map(\.span) == [SourceSpan(18, 19)])
    }
  }

  @Test func `for the word user, when it is a column`() throws {
    let expression = try SQLExpression.parse(fragment("lower(user) || current_date"))
    Refusal(
      "lower(user) || current_date", "word-not-column", "user", at: 6,
      "`user` is the database role in SQL, not the column", "write `batch.user`"
    ).expect(expression.sqlValuesThatNameColumns(["id", "user"]).first)
    #expect(expression.sqlValuesThatNameColumns(["id", "users"]) == [])
    let inner = try SQLExpression.parse(fragment("(SELECT user FROM t)"))
    #expect(inner.sqlValuesThatNameColumns(["user"]) == [])
  }
}

@Suite struct `A query is refused` {
  static let refusals = [
    Refusal(
      "DELETE FROM t", "not-a-query", "DELETE", at: 0, "one SELECT expected, this is `DELETE`",
      "write a query that only reads; what changes rows is `set:`"),
    Refusal(
      "SELECT 1; SELECT 2", "second-statement", ";", at: 8, "`;` starts another statement; only one may stand here",
      "remove it and what follows: `SELECT 1`"),
    Refusal(
      "SELECT 1) q; DROP TABLE t; --", "unbalanced-parenthesis", ")", at: 8, "this `)` closes nothing",
      "remove it, or open it before `SELECT 1`"),
    Refusal(
      "SELECT a INTO t2 FROM t", "query-into", "INTO", at: 9, "`INTO` would create a table",
      "remove `INTO` and the name behind it; where rows go is said by `insert:` or `target:`"),
    Refusal(
      "SELECT substring(a FOR 3) FROM t FOR NO KEY UPDATE", "query-locks", "FOR NO KEY UPDATE", at: 33,
      "a query here may not lock rows",
      "remove the `FOR …` clause; each batch locks what it writes by itself"),
    Refusal(
      "WITH u AS (UPDATE t SET a = 1 RETURNING a) SELECT * FROM u", "query-writes", "u", at: 5,
      "a query here may only read; this part of WITH is UPDATE", "make it a step of its own, which `undo` then covers"),
    Refusal(
      "user_id, total FROM t", "syntax-error", "user_id", at: 0, "syntax error at or near \"user_id\"",
      "a query cannot begin with `user_id`"),
    Refusal(
      "/* */", "empty-sql", "/* */", at: 0, "there is no SQL here", "for NULL write `null`, for an empty text `''`"),
  ]

  /// S02
  @Test(arguments: refusals) func `S02: unless it is one query that only reads`(_ refusal: Refusal) {
    refusal.expect(queryProblems(refusal.sql).first)
  }
}
