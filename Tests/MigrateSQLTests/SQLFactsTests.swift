import MigrateDiagnostics
import MigrateSQL
import Testing

func expression(_ sql: String) throws -> SQLExpression { try SQLExpression.parse(fragment(sql)) }

func slice(_ sql: String, _ range: Range<Int>) -> String {
  String(decoding: Array(sql.utf8)[range], as: UTF8.self)
}

@Suite struct `The facts of an expression` {
  static let columns: [(sql: String, parts: [[String]], texts: [String])] = [
    ("price", [["price"]], ["price"]),
    ("batch.Price + \"Unit Price\"", [["batch", "price"], ["Unit Price"]], ["batch.Price", "\"Unit Price\""]),
    ("'é' || ü.\"q\"\"u\"", [["ü", "q\"u"]], ["ü.\"q\"\"u\""]),
    ("a /* x */ . /* y */ b", [["a", "b"]], ["a /* x */ . /* y */ b"]),
    ("U&'\\0061' || x", [["x"]], ["x"]),
    ("U&\"d!0061\" UESCAPE '!' + z", [["da"], ["z"]], ["U&\"d!0061\" UESCAPE '!'", "z"]),
    ("batch.order + batch.user", [["batch", "order"], ["batch", "user"]], ["batch.order", "batch.user"]),
    ("$é$ a.b $é$ || c", [["c"]], ["c"]),
    ("shop.products.price", [["shop", "products", "price"]], ["shop.products.price"]),
    ("f(t.*)", [["t"]], ["t.*"]),
    ("(r).f + r2[1].g", [["r"], ["r2"]], ["r", "r2"]),
    ("extract(day FROM x) + (y AT TIME ZONE 'utc')", [["x"], ["y"]], ["x", "y"]),
    ("count(*) FILTER (WHERE a) OVER (PARTITION BY b ORDER BY c)", [["a"], ["b"], ["c"]], ["a", "b", "c"]),
    ("-- é\na", [["a"]], ["a"]),
  ]

  @Test(arguments: columns) func `name its columns, each part with its bytes`(
    _ example: (sql: String, parts: [[String]], texts: [String])
  ) throws {
    let found = try expression(example.sql).columns
    #expect(found.map { $0.parts.map(\.name.name) } == example.parts)
    #expect(found.map { slice(example.sql, $0.range) } == example.texts)
    for part in found.flatMap(\.parts) where !part.isQuoted {
      #expect(Array(slice(example.sql, part.range).lowercased().utf8) == Array(part.name.name.utf8))
    }
    #expect(found.allSatisfy { $0.scope == .top })
  }

  /// V16
  @Test func `V16: keep composed and decomposed names apart`() throws {
    let found = try expression("\"caf\u{e9}\" + \"cafe\u{301}\" + caf\u{e9}").columns
    #expect(found.count == 3)
    #expect(found[0].column?.name != found[1].column?.name)
    #expect(found[0].column?.name == found[2].column?.name)
    #expect(found.map { $0.column?.isQuoted } == [true, true, false])
  }

  @Test func `tell how a function is called`() throws {
    let sql =
      "count(*) + sum(DISTINCT a ORDER BY a) FILTER (WHERE b) + rank() OVER w + pg_catalog.\"Now\"(1, 2) + f(VARIADIC x)"
    let found = try expression(sql).functions
    #expect(found.map { $0.name.map(\.name) } == [["count"], ["sum"], ["rank"], ["pg_catalog", "Now"], ["f"]])
    #expect(found.map { slice(sql, $0.range) } == ["count", "sum", "rank", "pg_catalog.\"Now\"", "f"])
    #expect(found.map(\.argumentCount) == [0, 1, 0, 2, 1])
    #expect(found.map(\.isStar) == [true, false, false, false, false])
    #expect(found.map(\.isDistinct) == [false, true, false, false, false])
    #expect(found.map(\.hasOrder) == [false, true, false, false, false])
    #expect(found.map(\.hasFilter) == [false, true, false, false, false])
    #expect(found.map(\.over) == [false, false, true, false, false])
    #expect(found.map(\.isVariadic) == [false, false, false, false, true])
    #expect(try expression("percentile_cont(0.5) WITHIN GROUP (ORDER BY x)").functions.map(\.isWithinGroup) == [true])
  }

  @Test func `tell calls in SQL's own syntax by their first word`() throws {
    let sql = "extract(day FROM x) || trim(y) || (z AT TIME ZONE 'utc') || (a LIKE 'b' ESCAPE 'c')"
    let found = try expression(sql).functions
    #expect(found.map { $0.name.last?.name } == ["extract", "btrim", "timezone", "like_escape"])
    #expect(found.map { slice(sql, $0.range) } == ["extract", "trim", "AT", "LIKE"])
    #expect(found.allSatisfy { $0.isSQLSyntax })
  }

  @Test func `name operators, constants and casts`() throws {
    let sql =
      "a + -1 = ANY (ARRAY[2.50]) AND b NOT IN ('it''s', U&'\\0061', NULL) AND c::varchar(3) LIKE date 'today' AND true"
    let found = try expression(sql)
    #expect(found.operators.map(\.name) == ["+", "=", "<>", "~~"])
    #expect(found.operators.map { slice(sql, $0.range) } == ["+", "=", "NOT", "LIKE"])
    #expect(
      found.constants.map(\.value) == [
        .number("-1"), .number("2.50"), .string("it's"), .string("a"), .null, .string("today"), .boolean(true),
      ])
    #expect(
      found.constants.map { slice(sql, $0.range) } == [
        "-1", "2.50", "'it''s'", "U&'\\0061'", "NULL", "'today'", "true",
      ])
    #expect(found.casts.map { $0.type.map(\.name) } == [["pg_catalog", "varchar"], ["date"]])
    #expect(found.casts.map(\.hasModifier) == [true, false])
    #expect(found.casts.map(\.literal) == [nil, "today"])
    #expect(found.casts.map { slice(sql, $0.range) } == ["varchar", "date"])
    let qualified = try expression("a OPERATOR(public.@@@) - b").operators
    #expect(qualified.map(\.schema?.name) == ["public", nil])
    #expect(qualified.map(\.isPrefix) == [false, true])
  }

  @Test(arguments: [
    ("-1", "-1", "-1"), ("- /* é */ 1.50", "-1.50", "- /* é */ 1.50"), ("-(-1)", "1", "-(-1)"), ("0", "0", "0"),
    ("((-(2)))", "-2", "-(2)"), ("99999999999", "99999999999", "99999999999"), ("a-(3)", "3", "3"),
  ]) func `give a number as written, with its sign`(_ sql: String, _ value: String, _ text: String) throws {
    let constants = try expression(sql).constants
    #expect(constants.map(\.value) == [.number(value)])
    #expect(constants.map { slice(sql, $0.range) } == [text])
  }

  @Test func `find each reading of the clock`() throws {
    let sql =
      "f(now(), pg_catalog.clock_timestamp(), x.now(), CURRENT_DATE, localtime(2), user, (SELECT statement_timestamp()))"
    let found = try expression(sql)
    #expect(
      found.clockUses.map(\.name)
        == ["now", "clock_timestamp", "current_date", "localtime", "statement_timestamp"])
    #expect(
      found.clockUses.map { slice(sql, $0.range) }.prefix(3) == ["now", "pg_catalog.clock_timestamp", "CURRENT_DATE"])
    #expect(found.sqlValueFunctions.map(\.name) == ["current_date", "localtime", "user"])
  }

  @Test func `tell what it is as a whole`() throws {
    #expect(try expression("(price)").bareColumn != nil)
    #expect(try expression("price + 1").bareColumn == nil)
    #expect(try expression("'it''s'").stringLiteral == "it's")
    #expect(try expression("'a' || 'b'").stringLiteral == nil)
    #expect(try expression("1 + 2 * interval '1 day'").isConstantOnly)
    for sql in ["a", ":a", "f()", "user", "(SELECT 1)"] { #expect(try expression(sql).isConstantOnly == false) }
  }

  @Test func `tell how it is built`() throws {
    guard case .infix("-", .column(let left), .column(let right)) = try expression("points - lost.points").shape else {
      Issue.record("no difference of two columns")
      return
    }
    #expect(!left.isQualified && right.qualifier?.name.name == "lost")
    guard case .call(let name, let arguments) = try expression("greatest(a, :b, 'c')").shape else {
      Issue.record("no call of greatest")
      return
    }
    #expect(name.map(\.name) == ["greatest"] && arguments.count == 3)
    guard case .and(let terms) = try expression("a.id = b.id AND (a.x = :x AND lower(a.y) <> 'z')").shape else {
      Issue.record("no AND")
      return
    }
    #expect(terms.count == 2)
    guard case .infix("=", .column, .column) = terms[0], case .and = terms[1] else {
      Issue.record("not an equality and an AND: \(terms)")
      return
    }
    guard case .or(let choices) = try expression("a = 1 OR b = 2").shape else {
      Issue.record("no OR")
      return
    }
    #expect(choices.count == 2)
  }

  @Test(arguments: [("a -- net", true), ("a -- net\n", false), ("a /* -- */", false), ("'--'", false), ("a --", true)])
  func `tell whether a comment would swallow what follows`(_ sql: String, _ expected: Bool) throws {
    #expect(try expression(sql).endsInLineComment == expected)
    #expect(try expression(sql).text == sql)
  }
}

@Suite struct `A range` {
  @Test func `is of bytes, so that what it covers can be replaced`() throws {
    let sql = "round(price  * :m, 2) /* é :m */"
    let read = try expression(sql)
    let columns = read.columns.map { (range: $0.range.lowerBound..<$0.range.lowerBound, replacement: "t.") }
    let parameters = read.parameters.map { (range: $0.range, replacement: "$1::numeric") }
    #expect(read.edited(parameters + columns) == "round(t.price  * $1::numeric, 2) /* é :m */")
  }
}

extension SQLText {
  /// The text with other bytes in the places of `edits`, which do not overlap; an empty range inserts.
  func edited(_ edits: [(range: Range<Int>, replacement: String)]) -> String {
    var bytes = Array(text.utf8)
    for edit in edits.sorted(by: { $0.range.lowerBound > $1.range.lowerBound }) {
      bytes.replaceSubrange(edit.range, with: edit.replacement.utf8)
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
