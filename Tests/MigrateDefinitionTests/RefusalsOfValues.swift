/// Sources, constants and keys that cannot be meant.
let refusalsOfValues: [Refusal] = [
  Refusal(
    "no name",
    """
    source: t
    set: {x: y}
    """,
    """
    a.yaml:1:1: error: a definition needs the key "batch" [missing-key]
      1 | source: t
        | ^^^^^^
      help: add `batch: a`
    """),
  Refusal(
    "a name with capitals",
    """
    batch: My-Prices
    source: t
    set: {x: y}
    """,
    """
    a.yaml:1:8: error: "My-Prices" cannot name a definition: small letters, digits and _ can, beginning with a letter, at most 40 [bad-batch-name]
      1 | batch: My-Prices
        |        ^^^^^^^^^
      help: for instance `my_prices`
    """),
  Refusal(
    "a table in three parts",
    """
    batch: b
    source: a.b.c
    set: {x: y}
    """,
    """
    a.yaml:2:9: error: `a.b.c` has 3 parts [bad-table-name]
      2 | source: a.b.c
        |         ^^^^^
      help: a table is `schema.table`; the database is the one that is connected to
    """),
  Refusal(
    "a table half quoted",
    """
    batch: b
    source: Shop."Odd"
    set: {x: y}
    """,
    """
    a.yaml:2:9: error: beside a quoted name SQL would fold `Shop` to small letters [bad-table-name]
      2 | source: Shop."Odd"
        |         ^^^^^^^^^^
      help: put that part into quotes, too: `"Shop"`
    """),
  Refusal(
    "a query for a source",
    """
    batch: b
    source: SELECT * FROM t
    set: {x: y}
    """,
    """
    a.yaml:2:9: error: `SELECT * FROM t` is a query and no table's name [bad-table-name]
      2 | source: SELECT * FROM t
        |         ^^^^^^^^^^^^^^^
      help: a query stands under a key of its own, and its rows are read once: `source: {query: …, key: …}`
    """),
  Refusal(
    "a list of sources",
    """
    batch: b
    source: [a, b]
    set: {x: y}
    """,
    """
    a.yaml:2:9: error: `source` is one table, not a list [wrong-kind]
      2 | source: [a, b]
        |         ^^^^^^
      help: a definition for each table, ordered by `needs`
    """),
  Refusal(
    "no table",
    """
    batch: b
    source: {key: id}
    set: {x: y}
    """,
    """
    a.yaml:2:1: error: `source` needs the key "table" [missing-key]
      2 | source: {key: id}
        | ^^^^^^
      help: add `table: shop.products`
    """),
  Refusal(
    "an empty set",
    """
    batch: b
    source: shop.products
    set: {}
    """,
    """
    a.yaml:3:6: error: `set` is empty [wrong-kind]
      3 | set: {}
        |      ^^
      help: write it like this: `set: {price: 0}`
    """),
  Refusal(
    "a list in set",
    """
    batch: b
    source: shop.products
    set: {a: [1]}
    """,
    """
    a.yaml:3:10: error: "a" has a list for a value [list-as-value]
      3 | set: {a: [1]}
        |          ^^^
      help: for a constant write `a: {value: [a, b]}`, for SQL `a: ARRAY[a, b]`
    """),
  Refusal(
    "a map in set",
    """
    batch: b
    source: shop.products
    set: {a: {b: 1}}
    """,
    """
    a.yaml:3:10: error: "a" has a map for a value, which is neither `{value: …}` nor `{sql: …}` [map-as-value]
      3 | set: {a: {b: 1}}
        |          ^^^^^^
      help: for a JSON constant write `a: {value: {a: 1}}`, for SQL `a: {sql: "…"}`
    """),
  Refusal(
    "YAML's null",
    """
    batch: b
    source: shop.products
    set: {a: ~}
    """,
    """
    a.yaml:3:10: error: `~` is YAML's null, and no SQL [yaml-null]
      3 | set: {a: ~}
        |          ^
      help: write `a: null`
    """),
  Refusal(
    "a constant with leading zeros",
    """
    batch: b
    source: shop.products
    set: {a: {value: 007}}
    """,
    """
    a.yaml:3:18: error: this is the number 7; leading zeros are lost [leading-zeros-lost]
      3 | set: {a: {value: 007}}
        |                  ^^^
      help: for the text write `'007'`, for the number `7`
    """),
  Refusal(
    "a constant in base 16",
    """
    batch: b
    source: shop.products
    set: {a: {value: 0x1F}}
    """,
    """
    a.yaml:3:18: error: `0x1F` is a number to YAML, and none to PostgreSQL [number-in-other-base]
      3 | set: {a: {value: 0x1F}}
        |                  ^^^^
      help: for the text write `'0x1F'`, for the number `31`
    """),
  Refusal(
    "infinity",
    """
    batch: b
    source: shop.products
    set: {a: {value: -.inf}}
    """,
    """
    a.yaml:3:18: error: `-.inf` is YAML's word, PostgreSQL has another [special-number]
      3 | set: {a: {value: -.inf}}
        |                  ^^^^^
      help: write `'-Infinity'`
    """),
  Refusal(
    "a constant that is missing",
    """
    batch: b
    source: shop.products
    set: {a: {value: }}
    """,
    """
    a.yaml:3:18: error: "value" has no value [no-value]
      3 | set: {a: {value: }}
        |                  ^
      help: for NULL write `null`, for an empty text `''`
    """),
  Refusal(
    "a condition as a map",
    """
    batch: b
    source: shop.products
    where: {status: active}
    set: {x: y}
    """,
    """
    a.yaml:3:8: error: `where` holds one SQL condition [wrong-kind]
      3 | where: {status: active}
        |        ^^^^^^^^^^^^^^^^
      help: write it as SQL: `where: status = 'active'`
    """),
  Refusal(
    "a check without a name",
    """
    batch: b
    source: shop.products
    set: {x: y}
    checks: {after: SELECT 1}
    """,
    """
    a.yaml:4:17: error: `after` is a map of keys and values, not a single value [wrong-kind]
      4 | checks: {after: SELECT 1}
        |                 ^^^^^^^^
      help: write it like this: `after: {no negative price: SELECT 1 FROM shop.products WHERE price < 0}`
    """),
  Refusal(
    "a key at the wrong place",
    """
    batch: b
    source: shop.products
    as: p
    set: {x: y}
    """,
    """
    a.yaml:3:1: error: "as" has no meaning at the top [misplaced-key]
      3 | as: p
        | ^^
      help: it stands under `source`: move it there
    """),
  Refusal(
    "a key not like any other",
    """
    batch: b
    source: shop.products
    set: {x: y}
    frobnicate: 1
    """,
    """
    a.yaml:4:1: error: unknown key "frobnicate" [unknown-key]
      4 | frobnicate: 1
        | ^^^^^^^^^^
      help: the keys that may stand here: batch, description, source, where, join, let, steps, incremental, publish, params, set, validation, checks, batch_size, parallel, throttle, window, expect, canary, hold, on_error, max_rejects, undo, timezone, search_path, tests, needs, update, insert, delete, move, to, emit, from, match, missing, values, on_revert, on_conflict
    """),
  Refusal(
    "a key like one of a later version",
    """
    batch: b
    source: shop.products
    set: {x: y}
    shedule: 1
    """,
    """
    a.yaml:4:1: error: unknown key "shedule" [unknown-key]
      4 | shedule: 1
        | ^^^^^^^
      help: did you mean "schedule"? (which is not there yet)
    """),
  Refusal(
    "a schema apart from its table",
    """
    batch: b
    source: {schema: s, table: t}
    set: {x: y}
    """,
    """
    a.yaml:2:10: error: "schema" is a key of other tools [key-of-other-tools]
      2 | source: {schema: s, table: t}
        |          ^^^^^^
      help: the table's full name stands in one key: `table: shop.users`
    """),
]
