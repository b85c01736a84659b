import MigrateDefinition
import MigrateDiagnostics
import Testing

@Suite struct `A definition` {
  @Test func `says what is read, what is written, and what must hold`() throws {
    let definition = try decode(
      """
      # Prices go up.
      batch: update_product_prices
      description: >
        Five per cent on everything
        that is sold.
      source: {table: shop.products, key: [shelf, id], as: p}
      where: status = 'active'
      params:
        multiplier: {type: numeric, default: 1.05}
        cutoff: date
        tags: text[]
      set:
        price: round(price * :multiplier, 2)
        changed: true
      checks:
        before: {some left: SELECT 1 FROM shop.products HAVING count(*) = 0}
        batch: {no price below zero: SELECT 1 FROM batch WHERE price < 0}
        after:
          none forgotten: |
            SELECT 1 FROM shop.products  -- all of them
            WHERE changed IS NULL
      batch_size: 500
      undo: {except: last_update}
      timezone: Asia/Shanghai
      search_path: [shop, public]
      needs: load_products
      """)
    let operation = definition.operation
    #expect(definition.name == Located("update_product_prices", at: SourceSpan(23, 44)))
    #expect(definition.description == "Five per cent on everything that is sold.\n")
    #expect(operation.source.table?.value.schema == "shop" && operation.source.table?.value.name == "products")
    #expect(operation.source.key?.map(\.value) == ["shelf", "id"])
    #expect(operation.source.alias?.value == "p")
    #expect(operation.filter?.text == "status = 'active'")
    #expect(operation.parameters.map(\.name.value) == ["multiplier", "cutoff", "tags"])
    #expect(operation.parameters.map(\.type.value) == ["numeric", "date", "text[]"])
    #expect(operation.parameters.map(\.defaultValue?.value) == [.number("1.05"), nil, nil])
    #expect(operation.set.map(\.column.value) == ["price", "changed"])
    #expect(operation.checks.before.map(\.name.value) == ["some left"])
    #expect(operation.checks.batch.map(\.name.value) == ["no price below zero"])
    let query = "SELECT 1 FROM shop.products  -- all of them\nWHERE changed IS NULL\n"
    #expect(operation.checks.after.map(\.query.text) == [query])
    #expect(operation.batchSize?.value == .rows(500))
    #expect(operation.timezone?.value == "Asia/Shanghai")
    #expect(operation.searchPath?.map(\.value) == ["shop", "public"])
    #expect(operation.needs.map(\.value) == ["load_products"])
    guard case .except(let columns) = operation.undo else { throw Unexpected() }
    #expect(columns.map(\.value) == ["last_update"])
  }

  @Test func `needs no more than a name, a source and what to set`() throws {
    let operation = try decode("batch: b\nsource: products\nset: {price: 0}\n").operation
    let table = try #require(operation.source.table).value
    #expect(table.schema == nil && table.name == "products")
    #expect(operation.filter == nil && operation.batchSize == nil && operation.timezone == nil)
    #expect(operation.parameters.isEmpty && operation.needs.isEmpty && operation.searchPath == nil)
    #expect(operation.checks.before.isEmpty && operation.checks.batch.isEmpty && operation.checks.after.isEmpty)
    guard case .full = operation.undo else { throw Unexpected() }
  }

  /// B17
  @Test(
    "takes what is unquoted for SQL and what is quoted for text",
    arguments: [
      ("x: price * 2", "sql price * 2"), ("x: null", "sql null"), ("x: NO", "sql NO"), ("x: 42", "sql 42"),
      ("x: :amount", "sql :amount"), ("x: a ? b", "sql a ? b"), ("x: 'NO'", "text NO"), ("x: \"a\\nb\"", "text a\nb"),
      ("x: ''", "text "), ("x: |\n    a -- b\n    + c", "sql a -- b\n+ c\n"), ("x: >\n    a\n    + c", "sql a + c\n"),
      ("x: a\n    + c", "sql a + c"), ("x: {sql: \"'Mr ' || name\"}", "sql 'Mr ' || name"), ("x: {sql: a}", "sql a"),
      ("x: {sql: 2026-01-01}", "sql 2026-01-01"), ("x: a -- b", "sql a -- b"),
      ("x: a || '--'\n    || b", "sql a || '--' || b"),
      ("x: a || '#' || b", "sql a || '#' || b"), ("x: doc#>>'{a}'", "sql doc#>>'{a}'"),
      ("x: batch.\"Counted Qty\"", "sql batch.\"Counted Qty\""), ("x: f(a, b)", "sql f(a, b)"),
    ])
  func values(_ yaml: String, _ expected: String) throws {
    let definition = try decode("batch: b\nsource: t\nset:\n  \(yaml)\n")
    switch try #require(definition.operation.set.first).value {
    case .sql(let fragment): #expect("sql \(fragment.text)" == expected)
    case .text(let text): #expect("text \(text.value)" == expected)
    case .constant: throw Unexpected()
    }
  }

  @Test(
    "reads constants by the core schema of YAML 1.2, numbers as they are spelt",
    arguments: [
      ("NO", Constant.text("NO")), ("yes", .text("yes")), ("null", .null), ("~", .null), ("True", .bool(true)),
      ("false", .bool(false)), ("42", .number("42")), ("+4", .number("+4")), ("-0.50", .number("-0.50")),
      (".5", .number(".5")), ("1e3", .number("1e3")), ("0.10", .number("0.10")), ("1_000", .text("1_000")),
      ("1:30", .text("1:30")), ("2026-01-01", .text("2026-01-01")), ("'42'", .text("42")), ("\"null\"", .text("null")),
      ("[a, 1, [true]]", .list([.text("a"), .number("1"), .list([.bool(true)])])), ("[]", .list([])),
      ("1.", .number("1.")), ("9223372036854775808", .number("9223372036854775808")),
    ])
  func constants(_ yaml: String, _ expected: Constant) throws {
    let definition = try decode("batch: b\nsource: t\nset: {x: {value: \(yaml)}}\n")
    guard case .constant(let constant)? = definition.operation.set.first?.value else { throw Unexpected() }
    #expect(constant.value == expected)
  }

  @Test func `keeps the order of a JSON constant's keys`() throws {
    let definition = try decode("batch: b\nsource: t\nset: {x: {value: {b: 1, a: {c: null}}}}\n")
    guard case .constant(let constant)? = definition.operation.set.first?.value,
      case .map(let members) = constant.value
    else { throw Unexpected() }
    #expect(members.map(\.key) == ["b", "a"])
  }

  /// B2
  @Test(
    "names tables exactly",
    arguments: [
      ("Users", [nil, "Users"]), ("public.Users", ["public", "Users"]), ("my table", [nil, "my table"]),
      ("'\"a.b\".\"c\"\"d\"'", ["a.b", "c\"d"]), ("public.\"Users\"", ["public", "Users"]),
    ])
  func tables(_ yaml: String, _ parts: [String?]) throws {
    let table = try #require(decode("batch: b\nsource: \(yaml)\nset: {x: y}\n").operation.source.table).value
    #expect([table.schema, table.name] == parts)
  }

  @Test func `gives an error inside its SQL the line and column of the file`() throws {
    let text = source("batch: b\nsource: t\nset:\n  x: >\n    a\n    + multipler\n")
    let definition = try Definition(text)
    guard case .sql(let fragment)? = definition.operation.set.first?.value else { throw Unexpected() }
    let (line, column) = text.position(of: fragment.span(of: 4..<13).start)
    #expect((line, column) == (6, 7))
  }

  /// V16
  @Test func `V16: has two columns where letters are composed and decomposed`() throws {
    let set = try decode("batch: b\nsource: t\nset: {caf\u{e9}: 1, cafe\u{301}: 2}\n").operation.set
    #expect(set.map { Array($0.column.value.utf8).count } == [5, 6])
  }

  /// V17
  @Test func `V17: reads lines that end in CR LF`() throws {
    let definition = try decode("batch: b\r\nsource: t\r\nset:\r\n  x: |\r\n    a\r\n    + b\r\n")
    guard case .sql(let fragment)? = definition.operation.set.first?.value else { throw Unexpected() }
    #expect(Array(fragment.text.utf8) == Array("a\n+ b\n".utf8))
  }

  @Test(arguments: [
    ("5k", 5_000), ("5K", 5_000), ("1.5k", 1_500), ("2M", 2_000_000), ("5_000", 5_000), ("5,000", 5_000),
    ("5 000", 5_000), ("'5000'", 5_000), ("\"5k\"", 5_000), ("3e4", 30_000), ("1_000_000", 1_000_000),
    // Nobody can tell, or no batch can be so large: the default.
    ("5.000", 10_000), ("1e9", 10_000), ("0k", 10_000), ("0.5", 10_000), ("many", 10_000), ("5,00", 10_000),
  ])
  func `offers the batch size that was meant`(written: String, meant: Int) {
    let text = refusal(of: head + foot + "batch_size: \(written)\n")
    #expect(text.hasSuffix("\n  help: write `batch_size: \(meant)`\n"), "\(text)")
  }

  @Test func `allows comments wherever they cut nothing off`() throws {
    _ = try decode(
      """
      # before
      batch: b  # the name
      source: t  # the table
      where: "a = 1"  # quoted
      # between
      set:  # columns
        # first
        x: |  # a block
          y
        # second
        z: {value: 1}  # behind braces
      batch_size: 10  # a number
      # after
      """)
  }
}

struct Unexpected: Error {}
