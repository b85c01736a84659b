import MigrateDefinition
import MigrateDiagnostics
import MigrateSQL
import MigrateTestSupport
import Testing

@Suite struct `Whatever is written` {
  private static let tokens = [
    "\n", "\n  ", "\r\n", "\t", " #", ": ", "- ", "? ", "|", ">-", "'", "\"", "{", "}", "[", "]", ",", "&a ", "*a",
    "!!str ", "---\n",
    "...", "%YAML", "<<: ", "\\u", "\\", "\u{85}", "\u{2028}", "\u{FEFF}", "é", "𝄞", "~", "null", "0x1F", "set: ",
    "value: ",
  ]

  /// Y13
  @Test func `Y13: a file is a definition or a reason with a place inside of it`() throws {
    let corpus = try (GoldenCase.all(under: "Compiler") + GoldenCase.all(under: "Diagnostics")).map { golden in
      Array(try golden.bytes("definition.yaml").prefix(4_000))
    }
    var fuzz = Fuzz("YAML", rounds: 4_000)
    var read = 0
    while fuzz.goesOn() {
      let bytes = fuzz.random.mutated(
        fuzz.random.pick(corpus), with: fuzz.random.pick(corpus), tokens: Self.tokens)
      do throws(Diagnostics) {
        _ = try Definition(SourceText(path: "a.yaml", bytes: bytes))
        read += 1
      } catch {
        #expect(!error.all.isEmpty, "\(String(decoding: bytes, as: UTF8.self))")
        let isInside = error.all.allSatisfy {
          $0.span.map { 0 <= $0.start && $0.start <= $0.end && $0.end <= bytes.count } ?? true
        }
        #expect(isInside, "\(String(decoding: bytes, as: UTF8.self))")
        #expect(!DiagnosticRenderer(color: false).render(error).isEmpty)
      }
    }
    #expect(read > 0)
  }

  private static let sql = [
    "price", "\"Unit Price\"", "t.x", "f(", "count(*)", "(", ")", ",", " + ", " || ", "::", "numeric(10,2)", " AND ",
    " IS NOT NULL",
    "CASE WHEN ", " THEN ", " END", ":p", ":'p'", ":naïve", "$1", "'it''s'", "E'\\n'", "U&'\\0061'", "$$a$$",
    "$q$:p$q$", "1.5e3", "0x1F",
    "SELECT ", " FROM t", " WHERE ", "EXISTS (", "ARRAY[", "]", " OVER (ORDER BY id)", "--x\n", "/* /* */ */", ";", "{",
    "é", "𝄞", "\u{0}", "@>", "?",
    " AT TIME ZONE 'UTC'", "interval '1 day'", " COLLATE \"C\"", "ROW(", "*", ".*", "::text[]", " BETWEEN ", " IN (",
    " LIMIT 1", "WITH x AS (",
  ]

  /// The whole reader: tokens, parameters, PostgreSQL's parser, facts; each range lies inside of the text.
  @Test func `Y13: a piece of SQL is an expression or a query with ranges inside of it, or a reason`() {
    var fuzz = Fuzz("SQL", rounds: 6_000)
    var read = 0
    while fuzz.goesOn() {
      var bytes: [UInt8] = []
      for _ in 0...fuzz.random.below(14) { bytes += Array(fuzz.random.pick(Self.sql).utf8) }
      if fuzz.random.below(4) == 0 { bytes = fuzz.random.mutated(bytes, with: bytes, tokens: Self.sql) }
      // As a file has been held to before.
      let text = String(decoding: bytes, as: UTF8.self)
      let fragment = SourceFragment(verbatim: text, at: 7)
      let found = [Self.expression(fragment), Self.query(fragment)]
      read += found.count { $0.isRead }
      let end = text.utf8.count
      for reading in found {
        #expect(reading.ranges.allSatisfy { 0 <= $0.lowerBound && $0.upperBound <= end }, "\(text.debugDescription)")
        #expect(
          reading.spans.allSatisfy { 7 <= $0.start && $0.start <= $0.end && $0.end <= 7 + end },
          "\(text.debugDescription)")
      }
    }
    #expect(read > 0)
  }

  private struct Reading {
    let isRead: Bool
    var ranges: [Range<Int>] = []
    var spans: [SourceSpan] = []
  }

  private static func expression(_ fragment: SourceFragment) -> Reading {
    do throws(SQLDiagnostics) { return reading(of: try SQLExpression.parse(fragment)) } catch {
      return Reading(isRead: false, spans: error.all.compactMap(\.span))
    }
  }

  private static func query(_ fragment: SourceFragment) -> Reading {
    do throws(SQLDiagnostics) {
      return reading(of: try SQLQuery.parse(fragment))
    } catch {
      return Reading(isRead: false, spans: error.all.compactMap(\.span))
    }
  }

  private static func reading(of text: any SQLText) -> Reading {
    let ranges =
      text.columns.map(\.range) + text.functions.map(\.range) + text.relations.map(\.range)
      + text.parameters.map(\.range)
    return Reading(isRead: true, ranges: ranges, spans: ranges.map { text.span(of: $0) })
  }
}
