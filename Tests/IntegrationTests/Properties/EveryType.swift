/// A column of one type, with values that are hard to keep.
struct EveryType: Sendable {
  let name: String
  let type: String
  /// SQL, each a value of the type.
  let values: [String]

  init(_ name: String, _ type: String, _ values: String...) {
    self.name = name
    self.type = type
    self.values = values.map { $0.hasPrefix("=") ? String($0.dropFirst()) : "'\($0)'" }
  }

  /// The name in double quotes.
  var quoted: String { "\"\(name.replacing("\"", with: "\"\""))\"" }
}

extension EveryType {
  /// 63 bytes in 32 letters, and all that can end a quotation.
  static let schema = "\"sch\"\"ema $$ %s\""
  static let table = "\(schema).\"\(String(repeating: "ä", count: 31))x\""

  /// PROTOCOL's list of what undo has to keep, under names that break what only wraps them. The last value of each is what the
  /// definition writes.
  static let all: [EveryType] = [
    EveryType("select", "text", "a", "", "it''s \\ \"", "=E'tab\\t\\r\\nline'", "NULL", "{run} $1 %s $$"),
    EveryType(
      "numbers[]", "integer[]", "{}", "{1,NULL,3}", "{{1,2},{3,4}}", "[5:6]={1,2}", "[0:0][-1:0]={{7,8}}", "{9}"),
    EveryType("te\"xts", "text[]", "{NULL}", "{\"\",\"NULL\",\"a,b\",\"{\\\"\"}", "[2:2]={x}", "{{a},{b}}", "{new}"),
    EveryType("$$", "kinds.place", "=ROW('road', 1)", "=ROW(NULL, NULL)", "=ROW('a,\"b\\', 2)", "=ROW('new', 9)"),
    EveryType(
      "%", "kinds.place[]", "=ARRAY[ROW('a', 1), NULL]::kinds.place[]", "{}", "=ARRAY[ROW(NULL, NULL)]::kinds.place[]"),
    EveryType("back\\slash", "kinds.positive", "1", "2147483647", "7"),
    EveryType("{run}", "kinds.words", "{a,b}", "[3:3]={c}", "{}", "{d}"),
    EveryType("\u{e9}", "kinds.code[]", "{ab,cd}", "{NULL,abcd}", "{}", "{x}"),
    EveryType("e\u{301}", "kinds.mood", "sad", "so \"so\"", "happy"),
    EveryType("ranges", "int4range", "[1,5)", "empty", "(,)", "[7,8)"),
    EveryType("Multi", "nummultirange", "{}", "{[1.0,2.00),(3,4]}", "{(,)}", "{[5,6]}"),
    EveryType("no case", "public.citext", "ABC", "abc", "Abc"),
    EveryType("json", "json", "{\"a\":1,\"a\":2}", "{ \"b\" :1.0 }", "null", "[1]"),
    EveryType("jsonb", "jsonb", "{\"a\":1.10}", "null", "\"\\u00e9\"", "[1]"),
    EveryType("xml", "xml", "<a b=\"1\"/>", "text only", "<x>&amp;</x>", "<new/>"),
    EveryType("bytes", "bytea", "\\x", "\\x00ff5c27", "\\x01"),
    EveryType("user", "char(5)", "ab", "     ", "abcde", "é", "x"),
    EveryType("bits", "bit(3)", "=B'101'", "=B'000'", "=B'111'"),
    EveryType("var bits", "varbit(9)", "=B''", "=B'0000'", "=B'1'"),
    EveryType("numeric", "numeric", "1.10", "1.100", "NaN", "Infinity", "-1e-30", "=1e130000::numeric", "2"),
    EveryType("price", "numeric(10,2)", "1.10", "-99999999.99", "2"),
    EveryType("interval", "interval", "1 mon", "30 days", "-1 mon +30 days", "178000000 years", "1 day"),
    EveryType("double", "double precision", "NaN", "-0", "Infinity", "-Infinity", "=0.1::float8 + 0.2", "5e-324", "1"),
    EveryType("real", "real", "NaN", "-0", "1e-45", "0.1", "1"),
    EveryType("date", "date", "4713-01-01 BC", "infinity", "-infinity", "2024-02-29", "2026-01-01"),
    EveryType(
      "at", "timestamptz", "4713-01-01 00:00:00+00 BC", "infinity", "-infinity", "294276-12-31 23:59:59.999999+00",
      "2025-11-02 01:30:00-04", "2026-01-01 00:00:00+00"),
    EveryType("ti me", "timestamp(3)", "2024-05-05 12:00:00.123", "infinity", "2026-01-01"),
    EveryType("time", "time", "24:00", "00:00:00.000001", "12:00"),
    EveryType("timetz", "timetz", "24:00+05:45", "00:00-12", "12:00+00"),
    EveryType("point", "point", "(1,-0)", "(NaN,Infinity)", "(0,0)"),
    EveryType("polygon", "polygon", "((0,0),(1,1),(1,0))", "((-0,0))", "((2,2))"),
    EveryType("box", "box", "((1,1),(0,0))", "((2,2),(3,3))"),
    EveryType("search", "tsvector", "a:1A fat:2,4B", "", "''it''''s'':1", "new:1"),
    EveryType("name", "name", "pg_class", "", "other"),
    EveryType("char", "\"char\"", "a", "=''", "=chr(92)::\"char\"", "b"),
    EveryType("money", "money", "1234.56", "-0.01", "1"),
    EveryType("class", "regclass", "pg_class", "0", "pg_type"),
    EveryType("uuid", "uuid", "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"),
    EveryType("inet", "inet", "10.0.0.1/8", "::1", "10.0.0.2"),
    EveryType("pairs", "public.hstore", "a=>NULL, \"b\"=>\"\\\"\"", "", "n=>1"),
    EveryType(String(repeating: "ö", count: 31) + "z", "boolean", "true", "false"),
  ]

  static let setup = """
    CREATE SCHEMA kinds;
    CREATE EXTENSION citext SCHEMA public;
    CREATE EXTENSION hstore SCHEMA public;
    CREATE TYPE kinds.place AS (street text, number integer);
    CREATE TYPE kinds.mood AS ENUM ('sad', 'so "so"', 'happy');
    CREATE DOMAIN kinds.positive AS integer CHECK (VALUE > 0);
    CREATE DOMAIN kinds.words AS text[];
    CREATE DOMAIN kinds.code AS varchar(4) CHECK (VALUE <> 'no');
    CREATE SCHEMA \(schema);
    """

  /// A row for each of the most values, one of NULLs alone, and a column that was dropped.
  static var creation: String {
    let most = all.map(\.values.count).max() ?? 0
    let rows = (0..<most).map { row in
      "(\(row), " + all.map { "\($0.values[row % $0.values.count])::\($0.type)" }.joined(separator: ", ") + ")"
    }
    let names = all.map(\.quoted).joined(separator: ", ")
    return """
      \(setup)
      CREATE TABLE \(table) (
        gone text, id integer PRIMARY KEY, \(all.map { "\($0.quoted) \($0.type)" }.joined(separator: ",\n  ")));
      ALTER TABLE \(table) DROP COLUMN gone;
      INSERT INTO \(table) (id, \(names)) VALUES
        \(rows.joined(separator: ",\n  "));
      INSERT INTO \(table) (id) VALUES (-1)
      """
  }

  /// The last value, as SQL.
  var written: String { "CAST(\(values[values.count - 1]) AS \(type))" }

  static var definition: String {
    let lines = all.map { column in
      "  '\(column.name.replacing("'", with: "''"))': |\n    \(column.written)"
    }
    return """
      batch: every_type
      source: '\(table)'
      search_path: [kinds]
      set:
      \(lines.joined(separator: "\n"))
      """
  }

  static var update: String {
    "UPDATE \(table) SET " + all.map { "\($0.quoted) = \($0.written)" }.joined(separator: ", ")
  }
}
