/// What SQL, YAML or other tools would read in another way, by the same numbers, and what libyaml says in its own words.
let refusalsOfReadings: [Refusal] = [
  Refusal(
    "17",
    """
    batch: b
    source: shop.products
    set:
      until: 2026-01-01
    """,
    """
    a.yaml:4:10: error: unquoted, this is 2026 minus 1 minus 1 = 2024 [date-is-arithmetic]
      4 |   until: 2026-01-01
        |          ^^^^^^^^^^
      help: write `'2026-01-01'`
    """),
  Refusal(
    "18",
    """
    batch: b
    source: shop.products
    set:
      zip: 00740
    """,
    """
    a.yaml:4:8: error: this is the number 740; leading zeros are lost [leading-zeros-lost]
      4 |   zip: 00740
        |        ^^^^^
      help: for the text write `'00740'`, for the number `740`
    """),
  Refusal(
    "24",
    """
    batch: b
    source: shop.products
    set:
      x: >
        a -- net
        + b
    """,
    """
    a.yaml:5:7: error: folded onto one line, `--` comments out the rest [folded-comment]
      5 |     a -- net
        |       ^^
      help: put the expression under a `|`, which keeps lines; `/* … */` is safe everywhere
    """),
  Refusal(
    "24 on plain lines",
    """
    batch: b
    source: shop.products
    set:
      x: a -- net
        + b
    """,
    """
    a.yaml:4:8: error: folded onto one line, `--` comments out the rest [folded-comment]
      4 |   x: a -- net
        |        ^^
      help: put the expression under a `|`, which keeps lines; `/* … */` is safe everywhere
    """),
  Refusal(
    "24 in double quotes",
    """
    batch: b
    source: shop.products
    where: "a -- b
      > c"
    set: {x: y}
    """,
    """
    a.yaml:3:11: error: folded onto one line, `--` comments out the rest [folded-comment]
      3 | where: "a -- b
        |           ^^
      help: put the expression under a `|`, which keeps lines; `/* … */` is safe everywhere
    """),
  Refusal(
    "44",
    """
    batch: b
    source: shop.products
    set: {x: y}
    lookup: x
    on: y
    """,
    """
    a.yaml:4:1: error: "lookup" is a key of other tools [key-of-other-tools]
      4 | lookup: x
        | ^^^^^^
      help: a lookup is a `join`: `join: {name: {table: …, match: …}}`

    a.yaml:5:1: error: "on" is a key of other tools [key-of-other-tools]
      5 | on: y
        | ^^
      help: the condition of a `join` is `match`
    """),
  Refusal(
    "49",
    """
    batch: b
    source: :tenant.users
    set: {x: y}
    """,
    """
    a.yaml:2:9: error: a name cannot be a parameter, and `:tenant` is one [name-is-parameter]
      2 | source: :tenant.users
        |         ^^^^^^^^^^^^^
      help: write `source: users`, and choose the schema by `--search-path tenant_17`
    """),
  Refusal(
    "61",
    """
    batch: b
    source: shop.products
    set:
      name: 'Mr ' || name
    """,
    """
    a.yaml:4:15: error: the YAML string ends before `|| name` [text-ends-early]
      4 |   name: 'Mr ' || name
        |               ^^^^^^^
      help: write `name: {sql: "'Mr ' || name"}`, or put the expression under a `|`:
            name: |
              'Mr ' || name
    """),
  Refusal(
    "61 in braces",
    """
    batch: b
    source: shop.products
    set: {name: 'Mr ' || name}
    """,
    """
    a.yaml:3:19: error: the YAML string ends before `|| name` [text-ends-early]
      3 | set: {name: 'Mr ' || name}
        |                   ^^^^^^^
      help: write `name: {sql: "'Mr ' || name"}`, or put the expression under a `|`:
            name: |
              'Mr ' || name
    """),
  Refusal(
    "62",
    """
    batch: b
    source: shop.products
    where: note = 'a: b'
    set: {x: y}
    """,
    """
    a.yaml:3:17: error: a colon with a blank behind it ends a YAML value, in SQL too [colon-in-sql]
      3 | where: note = 'a: b'
        |                 ^
      help: put quotes round the whole: `where: "note = 'a: b'"`
    """),
  Refusal(
    "62 in set",
    """
    batch: b
    source: shop.products
    set:
      x: note || 'a: b'
    """,
    """
    a.yaml:4:16: error: a colon with a blank behind it ends a YAML value, in SQL too [colon-in-sql]
      4 |   x: note || 'a: b'
        |                ^
      help: put the expression under a `|`:
            x: |
              note || 'a: b'
    """),
  Refusal(
    "libyaml: a blank behind the sign",
    """
    batch: b
    source: shop.products
    set:
      x: - 1
    """,
    """
    a.yaml:4:6: error: YAML cannot start a value with `-` here [value-start]
      4 |   x: - 1
        |      ^^^
      help: a negative number has no blank behind the sign: `x: -1`
    """),
  Refusal(
    "libyaml: a backtick",
    """
    batch: b
    source: shop.products
    set:
      x: `order`
    """,
    """
    a.yaml:4:6: error: YAML cannot start a value with a backtick here [value-start]
      4 |   x: `order`
        |      ^^^^^^^
      help: SQL quotes names with `"`, and after `batch.` even a reserved word needs none: `x: batch.order`
    """),
  Refusal(
    "libyaml: an at sign",
    """
    batch: b
    source: shop.products
    set:
      x: @ -5
    """,
    """
    a.yaml:4:6: error: YAML cannot start a value with `@` here [value-start]
      4 |   x: @ -5
        |      ^^^^
      help: the absolute value is `x: abs(-5)`
    """),
  Refusal(
    "libyaml: a bracket in braces",
    """
    batch: b
    source: shop.products
    set: {tags: ARRAY[1, 2]}
    """,
    """
    a.yaml:3:18: error: inside braces a bracket or brace ends the value [bracket-in-braces]
      3 | set: {tags: ARRAY[1, 2]}
        |                  ^
      help: SQL with brackets needs a line of its own: `tags: ARRAY[1, 2]`
    """),
  Refusal(
    "libyaml: an operator first",
    """
    batch: b
    source: shop.products
    set:
      x: * 2
    """,
    """
    a.yaml:4:6: error: YAML cannot start a value with `*` here [value-start]
      4 |   x: * 2
        |      ^^^
      help: an expression needs something in front of an operator; for a text write `x: '* 2'`
    """),
]
