/// What YAML cuts off without a word. Numbers are those of "Sixty definitions that must be refused" in the language.
let refusalsOfCuts: [Refusal] = [
  Refusal(
    "1",
    """
    batch: b
    sorce: shop.users
    set: {x: y}
    """,
    """
    a.yaml:2:1: error: unknown key "sorce" [unknown-key]
      2 | sorce: shop.users
        | ^^^^^
      help: did you mean "source"?
    """),
  Refusal(
    "2",
    """
    batch: b
    source: shop.products
    set:
      a: 1
    set:
      b: 2
    """,
    """
    a.yaml:5:1: error: "set" is given twice (first on line 3) [duplicate-key]
      5 | set:
        | ^^^
      help: put both columns under one `set`
    """),
  Refusal(
    "3 in braces",
    """
    batch: b
    source: shop.products
    set: {price: }
    """,
    """
    a.yaml:3:7: error: "price" has no value [no-value]
      3 | set: {price: }
        |       ^^^^^
      help: for NULL write `price: null`, for an empty text `price: ''`
    """),
  Refusal(
    "3 alone",
    """
    batch: b
    source: shop.products
    set:
      price:
      name: x
    """,
    """
    a.yaml:4:3: error: "price" has no value [no-value]
      4 |   price:
        |   ^^^^^
      help: for NULL write `price: null`, for an empty text `price: ''`
    """),
  Refusal(
    "3 a block",
    """
    batch: b
    source: shop.products
    set:
      price: |
    """,
    """
    a.yaml:4:3: error: "price" has no value [no-value]
      4 |   price: |
        |   ^^^^^
      help: for NULL write `price: null`, for an empty text `price: ''`
    """),
  Refusal(
    "3 a condition",
    """
    batch: b
    source: shop.products
    where:
    set: {x: y}
    """,
    """
    a.yaml:3:1: error: "where" has no value [no-value]
      3 | where:
        | ^^^^^
      help: give one SQL condition, or leave the key out
    """),
  Refusal(
    "4",
    """
    batch: b
    source: shop.products
    set: {x: coalesce(a, 0)}
    """,
    """
    a.yaml:3:20: error: the comma ended the value after `coalesce(a` [comma-ends-value]
      3 | set: {x: coalesce(a, 0)}
        |                    ^
      help: in braces SQL with a comma needs lines of its own: `x: coalesce(a, 0)`
    """),
  Refusal(
    "4 with more commas",
    """
    batch: b
    source: shop.products
    set: {x: coalesce(a, ', ', b), y: 2}
    """,
    """
    a.yaml:3:20: error: the comma ended the value after `coalesce(a` [comma-ends-value]
      3 | set: {x: coalesce(a, ', ', b), y: 2}
        |                    ^
      help: in braces SQL with a comma needs lines of its own: `x: coalesce(a, ', ', b)`
    """),
  Refusal(
    "4 in a query",
    """
    batch: b
    source: shop.products
    set: {x: y}
    checks: {after: {none: SELECT a, b FROM t}}
    """,
    """
    a.yaml:4:32: error: the comma ended the value after `SELECT a` [comma-ends-value]
      4 | checks: {after: {none: SELECT a, b FROM t}}
        |                                ^
      help: in braces SQL with a comma needs lines of its own: `none: SELECT a, b FROM t`
    """),
  Refusal(
    "4 in a type",
    """
    batch: b
    source: shop.products
    set: {x: y}
    params: {d: {type: numeric(10,2), default: 1}}
    """,
    """
    a.yaml:4:30: error: the comma ended the value after `numeric(10` [comma-ends-value]
      4 | params: {d: {type: numeric(10,2), default: 1}}
        |                              ^
      help: in braces SQL with a comma needs lines of its own: `type: numeric(10,2)`
    """),
  Refusal(
    "5",
    """
    batch: b
    source: shop.products
    set:
      city: address #>> '{city}'
    """,
    """
    a.yaml:4:17: error: YAML takes `#>> '{city}'` for a comment [comment-in-sql]
      4 |   city: address #>> '{city}'
        |                 ^^^^^^^^^^^^
      help: put the expression under a `|`:
            city: |
              address #>> '{city}'
    """),
  Refusal(
    "5 in braces",
    """
    batch: b
    source: shop.products
    set: {city: address #>> '{city}'}
    """,
    """
    a.yaml:3:21: error: YAML takes `#>> '{city}'}` for a comment [comment-in-sql]
      3 | set: {city: address #>> '{city}'}
        |                     ^^^^^^^^^^^^^
      help: put the expression under a `|`:
            city: |
              address #>> '{city}'
    """),
  Refusal(
    "5 on the next line",
    """
    batch: b
    source: shop.products
    set:
      city: address
        #>> '{city}'
    """,
    """
    a.yaml:5:5: error: YAML takes `#>> '{city}'` for a comment [comment-in-sql]
      5 |     #>> '{city}'
        |     ^^^^^^^^^^^^
      help: put the expression under a `|`:
            city: |
              address
              #>> '{city}'
    """),
  Refusal(
    "6",
    """
    batch: b
    source: shop.products
    where: note <> ' #1'
    set: {x: y}
    """,
    """
    a.yaml:3:18: error: YAML takes `#1'` for a comment, the SQL string never ends [comment-in-string]
      3 | where: note <> ' #1'
        |                  ^^^
      help: put quotes round the whole: `where: "note <> ' #1'"`
    """),
  Refusal(
    "6 in set",
    """
    batch: b
    source: shop.products
    set:
      note: note || ' #1'
    """,
    """
    a.yaml:4:19: error: YAML takes `#1'` for a comment, the SQL string never ends [comment-in-string]
      4 |   note: note || ' #1'
        |                   ^^^
      help: put the expression under a `|`:
            note: |
              note || ' #1'
    """),
  Refusal(
    "6 a comment that cuts nothing",
    """
    batch: b
    source: shop.products
    where: status = 'active'  # only these
    set: {x: y}
    """,
    """
    a.yaml:3:27: error: YAML takes `# only these` for a comment, SQL would take it for an operator [comment-after-sql]
      3 | where: status = 'active'  # only these
        |                           ^^^^^^^^^^^^
      help: put the comment on a line of its own, above the key; if it is SQL, put the expression under a `|`
    """),
  Refusal(
    "7",
    """
    batch: b
    source: shop.products
    where: !deleted
    set: {x: y}
    """,
    """
    a.yaml:3:8: error: `!deleted` is a YAML tag [tag]
      3 | where: !deleted
        |        ^^^^^^^^
      help: SQL says `NOT deleted`
    """),
  Refusal(
    "8",
    """
    batch: b
    source: shop.products
    set: {delta: :amount}
    """,
    """
    a.yaml:3:14: error: YAML cannot start a value with `:` inside braces or brackets [parameter-in-braces]
      3 | set: {delta: :amount}
        |              ^^^^^^^
      help: write `delta: :amount` on a line of its own
    """),
  Refusal(
    "8 in brackets",
    """
    batch: b
    source: {table: t, key: [a, :b]}
    set: {x: y}
    """,
    """
    a.yaml:2:29: error: YAML cannot start a value with `:` inside braces or brackets [parameter-in-braces]
      2 | source: {table: t, key: [a, :b]}
        |                             ^^^
      help: for the text write `':b]'`
    """),
  Refusal(
    "9",
    """
    batch: b
    source: shop.products
    where: "Size" > 3
    set: {x: y}
    """,
    """
    a.yaml:3:15: error: the YAML string ends before `> 3` [text-ends-early]
      3 | where: "Size" > 3
        |               ^^^
      help: put quotes round the whole: `where: '"Size" > 3'`, or name the column by its row: `where: batch."Size" > 3`
    """),
  Refusal(
    "10",
    """
    batch: b
    source: shop.products
    set:
      x: &b y
      z: *b
    """,
    """
    a.yaml:4:6: error: anchors, aliases and merge keys are not read, and `&b` is an anchor [anchor]
      4 |   x: &b y
        |      ^^
      help: write it out where it is used; an SQL expression used twice will belong in `let`, which is not there yet

    a.yaml:5:6: error: anchors, aliases and merge keys are not read, and `*b` is an alias [alias]
      5 |   z: *b
        |      ^^
      help: repeat what it stands for; an SQL expression used twice will belong in `let`, which is not there yet
    """),
  Refusal(
    "10 merged",
    """
    batch: b
    source: shop.products
    set:
      <<: *b
    """,
    """
    a.yaml:4:3: error: anchors, aliases and merge keys are not read, and `<<` is a merge key [merge-key]
      4 |   <<: *b
        |   ^^
      help: repeat the keys here
    """),
  Refusal(
    "11",
    """
    batch: b
    source: shop.products
    set: {x: y}
    ---
    batch: c
    source: x
    set: {x: y}
    """,
    """
    a.yaml:4:1: error: a second document starts on line 4 [second-document]
      4 | ---
        | ^^^
      help: one definition a file: move it to `c.yaml`
    """),
  Refusal(
    "11 behind its end",
    """
    batch: b
    source: shop.products
    set: {x: y}
    ...
    batch: c
    """,
    """
    a.yaml:5:1: error: `...` has ended the document above [second-document]
      5 | batch: c
        | ^
      help: remove the line `...`
    """),
  Refusal(
    "11 with nothing in it",
    """
    batch: b
    source: shop.products
    set: {x: y}
    ---
    """,
    """
    a.yaml:4:1: error: a second document starts on line 4 [second-document]
      4 | ---
        | ^^^
      help: remove the `---`
    """),
]
