import MigrateDiagnostics
import MigrateSQL
import Testing

@Suite struct `A quoted text` {
  static let columns = ["name", "first", "last", "a", "price", "caf\u{e9}", "table"]

  private func judge(_ text: String) -> Diagnostic? {
    TextReading.alsoReadsAsSQL(
      fragment(text), visibleColumns: Self.columns, parameters: ["multiplier"], ranges: ["batch", "spent", "products"])
  }

  @Test(arguments: [
    "expired", "Mr Smith", "x-b", "hello world", "2026-01-01", "42", "-1.5", "1e3", "007", "", " ", "don't", "a.b.c",
    "50 %",
    "true", "x-a b", "DE", "first last", "first, last", "name: x", "no name", "Hello, world!", "mail.name", ":unknown",
    ":-)",
    "https://example.org/a?b=c", "default", "*", "1; DROP TABLE t", "{\"a\": 1}", "[1, 2]", "caf\u{65}\u{301}", "'",
    "it's",
    "%Y-%m-%d", "N/K", "\0", "tags[1:n]", "SELECT", "x y z", "Straße 5", "éé",
  ])
  func `that no one could take for SQL here is a text`(_ text: String) {
    #expect(judge(text) == nil)
  }

  static let refusals = [
    // 12
    Refusal(
      "'expired'", "text-holds-sql-quotes", "'expired'", at: 0, "this text contains SQL quotes",
      "for the text expired write `'expired'`"),
    Refusal(
      " E'it\\'s' ", "text-holds-sql-quotes", " E'it\\'s' ", at: 0, "this text contains SQL quotes",
      "for the text it's write `'it''s'`"),
    Refusal(
      "date '2026-01-01'", "text-holds-sql-quotes", "date '2026-01-01'", at: 0, "this text contains SQL quotes",
      "leave YAML's quotes off for SQL; `{value: \"date '2026-01-01'\"}` if the text is meant"),
    // 13
    Refusal(
      "first || ' ' || last", "text-reads-as-sql", "first || ' ' || last", at: 0,
      "quoted, so text, yet it reads as SQL over \"first\", \"last\"",
      "leave the quotes off for SQL; `{value: \"first || ' ' || last\"}` if the text is meant"),
    Refusal(
      "price * :multiplier", "text-reads-as-sql", "price * :multiplier", at: 0,
      "quoted, so text, yet it reads as SQL over \"price\", \":multiplier\"",
      "leave the quotes off for SQL; `{value: \"price * :multiplier\"}` if the text is meant"),
    Refusal(
      ":multiplier", "text-reads-as-sql", ":multiplier", at: 0,
      "quoted, so text, yet it reads as SQL over \":multiplier\"",
      "leave the quotes off for SQL; `{value: \":multiplier\"}` if the text is meant"),
    Refusal(
      "price * multipler", "text-reads-as-sql", "price * multipler", at: 0,
      "quoted, so text, yet it reads as SQL over \"price\"",
      "leave the quotes off for SQL; `{value: \"price * multipler\"}` if the text is meant"),
    Refusal(
      "spent.total", "text-reads-as-sql", "spent.total", at: 0,
      "quoted, so text, yet it reads as SQL over \"spent.total\"",
      "leave the quotes off for SQL; `{value: \"spent.total\"}` if the text is meant"),
    Refusal(
      "gen_random_uuid()", "text-reads-as-sql", "gen_random_uuid()", at: 0,
      "quoted, so text, yet it reads as SQL over \"gen_random_uuid\"",
      "leave the quotes off for SQL; `{value: \"gen_random_uuid()\"}` if the text is meant"),
    Refusal(
      "coalesce(1, \"x\\y\")", "text-reads-as-sql", "coalesce(1, \"x\\y\")", at: 0,
      "quoted, so text, yet it reads as SQL",
      "leave the quotes off for SQL; `{value: \"coalesce(1, \\\"x\\\\y\\\")\"}` if the text is meant"),
    Refusal(
      "(SELECT 1)", "text-reads-as-sql", "(SELECT 1)", at: 0, "quoted, so text, yet it reads as SQL",
      "leave the quotes off for SQL; `{value: \"(SELECT 1)\"}` if the text is meant"),
    Refusal(
      "user", "text-reads-as-sql", "user", at: 0, "quoted, so text, yet it reads as SQL over \"user\"",
      "leave the quotes off for SQL; `{value: \"user\"}` if the text is meant"),
    Refusal(
      "NULL", "text-reads-as-sql", "NULL", at: 0, "quoted, so the text \"NULL\", yet it reads as SQL's NULL",
      "write `null` for NULL, `{value: \"NULL\"}` if the text is meant"),
    // 14
    Refusal(
      "name", "text-names-column", "name", at: 0, "\"name\" is a column, too",
      "`name` for the column, `{value: name}` for the text"),
    Refusal(
      "Name", "text-names-column", "Name", at: 0, "\"name\" is a column, too",
      "`Name` for the column, `{value: Name}` for the text"),
    Refusal(
      "batch", "text-names-column", "batch", at: 0, "\"batch\" is a column, too",
      "`batch` for the column, `{value: batch}` for the text"),
    Refusal(
      "CAF\u{e9}", "text-names-column", "CAF\u{e9}", at: 0, "\"caf\u{e9}\" is a column, too",
      "`CAF\u{e9}` for the column, `{value: \"CAF\u{e9}\"}` for the text"),
  ]

  /// V16: "café" composed is a column, decomposed it is none.
  @Test(arguments: refusals) func `V16: that also reads as SQL here is refused`(_ refusal: Refusal) {
    refusal.expect(judge(refusal.sql))
  }
}
