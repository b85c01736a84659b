/// A kind of key that batches can walk, with rows that make it hard.
struct KeyShape: Sendable, CustomStringConvertible {
  /// With the numbers of the traps that it closes.
  let description: String
  /// What has to be there before the table.
  var setup = ""
  /// The columns of the key as CREATE TABLE has them.
  let columns: String
  let key: [String]
  /// Rows for VALUES or a SELECT, each of the key's columns.
  let rows: String

  init(_ description: String, _ columns: String, key: [String] = ["k"], setup: String = "", rows: String) {
    self.description = description
    self.columns = columns
    self.key = key
    self.setup = setup
    self.rows = rows
  }

  /// `t(key…, n, note)`; about sixty rows, in random order and with gaps (K05), `n` from 0 with NULLs among them (V07).
  var schema: String {
    let list = key.joined(separator: ", ")
    return """
      \(setup);
      CREATE TABLE t (\(columns), n integer, note text, PRIMARY KEY (\(list)));
      INSERT INTO t
      SELECT r.*, nullif(hashtext(r::text) & 15, 7), 'kept'
      FROM  (\(rows)) AS r (\(list))
      ORDER  BY hashtext(r::text || 'order')
      """
  }
}

extension KeyShape {
  static let all: [KeyShape] = [
    KeyShape(
      "int, gapped and negative (K05 K06)", "k integer",
      rows: """
        SELECT n * n * CASE WHEN n % 3 = 0 THEN -1 ELSE 1 END FROM generate_series(1, 54) AS n
        UNION ALL VALUES (-2147483648), (-1), (0), (2147483647), (100000), (99999)
        """),
    KeyShape(
      "bigint beyond 2^53, to both ends (K05 K15)", "k bigint",
      rows: """
        SELECT 9007199254740992 + n FROM generate_series(-20, 20) AS n
        UNION ALL SELECT -9007199254740992 - n FROM generate_series(0, 9) AS n
        UNION ALL VALUES (-9223372036854775808), (-9223372036854775807), (9223372036854775807), (9223372036854775806), (0)
        """),
    KeyShape("uuid (K14)", "k uuid", rows: "SELECT md5(n::text)::uuid FROM generate_series(1, 60) AS n"),
    KeyShape("text in C (K07)", #"k text COLLATE "C""#, rows: words),
    KeyShape("text in ICU's English (K07)", #"k text COLLATE "en-x-icu""#, rows: words),
    KeyShape(
      "text with numbers by value, a9 before a10 (K07)", "k text COLLATE by_number",
      setup: "CREATE COLLATION by_number (provider = icu, locale = 'und-u-kn')",
      rows: words + " UNION ALL SELECT 'a' || n FROM generate_series(1, 30) AS n"),
    KeyShape("varchar(12)", "k varchar(12)", rows: words),
    KeyShape(
      "timestamptz, a microsecond apart, in the fold, at the ends (K11)", "k timestamptz",
      rows: """
        SELECT timestamptz '2024-05-05 12:00:00.123456+00' + n * interval '1 microsecond' FROM generate_series(1, 30) AS n
        UNION ALL SELECT timestamptz '2025-11-02 01:00:00 America/New_York' + n * interval '15 minutes' FROM generate_series(-4, 12) AS n
        UNION ALL VALUES (timestamptz 'infinity'), ('-infinity'), ('4713-01-01 00:00:00+00 BC'), ('0001-01-01 00:00:00+00 BC'),
                         ('294276-12-31 23:59:59.999999+00'), ('0001-01-01 00:00:00+00')
        """),
    KeyShape(
      "timestamp and date (K11)", "k timestamp, d date", key: ["k", "d"],
      rows: """
        SELECT timestamp '2024-02-28 23:59:59.999999' + (n / 4) * interval '1 microsecond',
               (ARRAY[date '2024-02-29', 'infinity', '-infinity', '4713-01-01 BC'])[n % 4 + 1]
        FROM   generate_series(0, 39) AS n
        """),
    KeyShape(
      "numeric, scales and NaN (K13)", "k numeric",
      rows: """
        SELECT n / 10.0 FROM generate_series(-25, 25) AS n WHERE n % 10 <> 0
        UNION ALL VALUES (1.0), (2.00), (3), (1.00000000000000000001), ('NaN'), ('Infinity'), ('-Infinity'),
                         (99999999999999999999999999999999999999), (1e-30), (-1e40)
        """),
    KeyShape(
      "double precision (K12)", "k double precision",
      rows: """
        SELECT 0.1::float8 * n FROM generate_series(1, 40) AS n
        UNION ALL VALUES ('NaN'::float8), ('Infinity'), ('-Infinity'), ('-0'), (5e-324), (1.7976931348623157e308)
        """),
    KeyShape(
      "text without case (K08)", "k text COLLATE no_case",
      setup: "CREATE COLLATION no_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
      rows: "SELECT (ARRAY['a', 'B', 'Cc'])[n % 3 + 1] || n FROM generate_series(1, 40) AS n"),
    KeyShape(
      "citext (K08)", "k citext", setup: "CREATE EXTENSION citext",
      rows: "SELECT (ARRAY['a', 'B', 'c', 'D'])[n % 4 + 1] || n FROM generate_series(1, 40) AS n"),
    KeyShape(
      "enum in a composite key (K16 K01)", "e level, k integer", key: ["e", "k"],
      setup: "CREATE TYPE level AS ENUM ('low', 'high', 'mid')",
      rows: "SELECT (ARRAY['high', 'mid', 'low'])[n % 3 + 1]::level, n / 3 - 5 FROM generate_series(0, 59) AS n"),
    KeyShape(
      "char(3), padded (K10)", "k char(3)",
      rows: "SELECT v FROM unnest(ARRAY['a', 'ab', 'a b', 'a c', 'A', '', ' a', 'abc', 'é', 'b', 'zz', 'Z']) AS v"),
    KeyShape(
      "two columns (K01)", "a integer, b integer", key: ["a", "b"],
      rows: "SELECT n / 8, n % 8 FROM generate_series(0, 63) AS n WHERE n % 5 <> 0"),
    KeyShape(
      "two columns, the index the other way round (K01)", "b integer, a bigint", key: ["a", "b"],
      rows: "SELECT n % 8, n / 8 FROM generate_series(0, 63) AS n WHERE n % 5 <> 0"),
    KeyShape(
      "three columns (K01)", #"a smallint, b text COLLATE "C", c uuid"#, key: ["a", "b", "c"],
      rows: """
        SELECT n % 3, (ARRAY['x', 'y', ''])[n % 2 + 1], md5((n / 6)::text)::uuid FROM generate_series(0, 59) AS n
        """),
    KeyShape(
      "a domain over text", "k code", setup: "CREATE DOMAIN code AS text CHECK (VALUE <> 'x')", rows: words),
    KeyShape(
      "bytea", "k bytea",
      rows: "SELECT decode(md5(n::text), 'hex') FROM generate_series(1, 40) AS n UNION ALL VALUES ('\\x'::bytea)"),
    KeyShape("boolean", "k boolean", rows: "VALUES (true), (false)"),
    KeyShape("name", "k name", rows: "SELECT 'n' || n FROM generate_series(1, 20) AS n"),
    KeyShape(
      "\"char\"", "k \"char\"", rows: "SELECT chr(n)::\"char\" FROM generate_series(33, 126) AS n WHERE n % 5 = 0"),
    KeyShape(
      "interval (V12)", "k interval", rows: "SELECT n * interval '1 mon -29 days' FROM generate_series(-9, 9) AS n"),
    KeyShape(
      "time with time zone", "k timetz",
      rows: "SELECT timetz '12:00+05:45' + n * interval '7 hours' FROM generate_series(1, 12) AS n"),
    KeyShape("inet", "k inet", rows: "SELECT inet '10.0.0.1/24' + n * 77 FROM generate_series(1, 20) AS n"),
    KeyShape(
      "jsonb", "k jsonb",
      rows:
        "SELECT to_jsonb(n * 1.50) FROM generate_series(1, 12) AS n UNION ALL VALUES ('null'::jsonb), ('{\"a\": [1]}')"),
    KeyShape(
      "range", "k int4range",
      rows: "SELECT int4range(n, n + 3) FROM generate_series(1, 12) AS n UNION ALL VALUES ('empty'::int4range), ('(,)')"
    ),
    KeyShape(
      "bit strings", "k bit(4), l varbit(4)", key: ["k", "l"],
      rows: "SELECT n::bit(4), (n / 2)::bit(3)::varbit FROM generate_series(0, 15) AS n"),
    KeyShape("money", "k money", rows: "SELECT (n * 1.11)::money FROM generate_series(-9, 9) AS n"),
    KeyShape(
      "oid and regclass", "k regclass",
      rows: "SELECT oid::regclass FROM pg_class WHERE relkind = 'r' AND relname LIKE 'pg_a%'"),
    KeyShape("no row (P28)", "k integer", rows: "SELECT 1 WHERE false"),
    KeyShape("one row (P28)", "k integer", rows: "SELECT 7"),
  ]

  // An é in one code point and one in two (V16).
  private static let words = """
    SELECT v FROM unnest(ARRAY['a', 'B', 'Z', chr(233), 'e' || chr(769), '_x', 'ab', 'Ab', 'aB', 'b', '', ' ', 'a b', 'ß', 'ss', 'Ä',
                               'zz', '1', '10', '2', '"', '''', '\\', '{x}', 'NULL', ',']) AS v
    """
}
