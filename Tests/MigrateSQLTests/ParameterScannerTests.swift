import MigrateDiagnostics
import MigrateSQL
import Testing

@Suite struct `A parameter` {
  static let found: [(sql: String, names: [String])] = [
    (":name", ["name"]), ("a = :select", ["select"]), (":_x1 + :é", ["_x1", "é"]), ("- :a", ["a"]),
    ("x::int", []), (":a::int", ["a"]), ("x :: int", []),
    ("'a:b'", []), ("$$ :no $$", []), ("$t$ :no $$ :no $t$", []), ("E'\\':e'", []), ("U&'\\0061:b'", []),
    ("a -- :no", []), ("a /* :no /* :no */ :no */", []), ("\"a:b\"", []),
    ("f(a := 1)", []), ("f(a := :b)", ["b"]), ("f(a => :b)", ["b"]), ("a @> :j", ["j"]), ("a<:m", ["m"]),
    ("a>-:n", ["n"]), ("a ->> :k", ["k"]), ("a=:b", ["b"]), ("a#>:p", ["p"]),
    ("a[1:2]", []), ("a[1:(n)]", []), ("a[1:(:n)]", ["n"]), ("a[(:n)]", ["n"]), ("a[:(hi)]", []), ("a[:2]", []),
    ("a[1: n]", []), ("a[i + :n]", ["n"]), ("a[1:]", []), ("a[:]", []), ("a[f(:n)]", ["n"]),
    ("ARRAY[:a, :b]", ["a", "b"]), ("ARRAY[[:a],[:b]]", ["a", "b"]), ("ARRAY[1, :b]", ["b"]),
    ("x IN (:a, :A)", ["a", "A"]), ("CASE WHEN :a THEN :b ELSE :c END", ["a", "b", "c"]),
    ("x = ANY(:ids)", ["ids"]), ("interval '1 day' * :n", ["n"]), ("a ? :k", ["k"]),
  ]

  @Test(arguments: found) func `is a colon that touches a name, outside of strings, comments and slices`(
    _ example: (sql: String, names: [String])
  ) throws {
    let expression = try SQLExpression.parse(fragment(example.sql))
    #expect(expression.parameters.map(\.name.name) == example.names)
    let bytes = Array(example.sql.utf8)
    for use in expression.parameters {
      #expect(Array(bytes[use.range]) == Array(":\(use.name.name)".utf8))
    }
  }

  static let refused = [
    // 48
    Refusal(
      "tags[1:n]", "parameter-or-slice", ":n", at: 6, "`:n` could be a parameter or the slice's end",
      "write `tags[1:(n)]` for the slice, `tags[1:(:n)]` for the parameter"),
    Refusal(
      "'é' || tags[i:j]", "parameter-or-slice", ":j", at: 14, "`:j` could be a parameter or the slice's end",
      "write `tags[i:(j)]` for the slice, `tags[i:(:j)]` for the parameter"),
    Refusal(
      "a[:hi]", "parameter-or-slice", ":hi", at: 2, "`:hi` could be a parameter or the slice's end",
      "write `a[:(hi)]` for the slice, `a[(:hi)]` for the parameter"),
    Refusal(
      "b.array[:hi]", "parameter-or-slice", ":hi", at: 8, "`:hi` could be a parameter or the slice's end",
      "write `b.array[:(hi)]` for the slice, `b.array[(:hi)]` for the parameter"),
    Refusal(
      "a = :'x'", "parameter-name", ":'x'", at: 4, "a parameter's name stands without quotes",
      "write `:x`; its value is bound, never pasted, so it needs no quotes"),
    Refusal(
      "a = :\"x\"", "parameter-name", ":\"x\"", at: 4, "a parameter's name stands without quotes",
      "write `:x`; its value is bound, never pasted, so it needs no quotes"),
    Refusal(
      "a = : name", "parameter-name", ": name", at: 4, "there is a gap between `:` and name",
      "a parameter is written in one: `:name`"),
    Refusal(
      "a = :1", "parameter-name", ":1", at: 4, "`:1` is no parameter: parameters have names here",
      "declare it, `params: {name: numeric}`, and write `:name`"),
    Refusal(
      "a = $1", "parameter-name", "$1", at: 4, "`$1` is no parameter: parameters have names here",
      "declare it, `params: {name: numeric}`, and write `:name`"),
    Refusal(
      "a = :", "syntax-error", ":", at: 4, "syntax error at or near \":\"",
      "a parameter is written `:name`, a cast `x::type`"),
  ]

  @Test(arguments: refused) func `is refused where it could be something else`(_ refusal: Refusal) {
    refusal.expect(problems(refusal.sql).first)
  }

  @Test func `is refused at every place at once`() {
    #expect(problems("a[1:n] + :'x' + $1").map(\.code) == ["parameter-or-slice", "parameter-name", "parameter-name"])
  }
}
