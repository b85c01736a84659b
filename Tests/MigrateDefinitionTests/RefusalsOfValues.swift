/// Keys that are there, with values that they cannot have.
let refusalsOfValues: [Refusal] = [
  Refusal(
    "batch_size 0",
    """
    batch: b
    source: shop.products
    set: {x: y}
    batch_size: 0

    """,
    """
    a.yaml:4:13: error: a batch has at least one row, not 0 [bad-batch-size]
      4 | batch_size: 0
        |             ^
      help: write `batch_size: 10000`

    """),
  Refusal(
    "batch_size in quotes",
    """
    batch: b
    source: shop.products
    set: {x: y}
    batch_size: '100'

    """,
    """
    a.yaml:4:13: error: quoted, `100` is a text and no number [bad-batch-size]
      4 | batch_size: '100'
        |             ^^^^^
      help: write `batch_size: 100`

    """),
  Refusal(
    "batch_size with an underscore",
    """
    batch: b
    source: shop.products
    set: {x: y}
    batch_size: 10_000

    """,
    """
    a.yaml:4:13: error: `10_000` is not a whole number, in digits alone [bad-batch-size]
      4 | batch_size: 10_000
        |             ^^^^^^
      help: write `batch_size: 10000`

    """),
  Refusal(
    "batch_size with an exponent",
    """
    batch: b
    source: shop.products
    set: {x: y}
    batch_size: 1e9

    """,
    """
    a.yaml:4:13: error: `1e9` is not a whole number, in digits alone [bad-batch-size]
      4 | batch_size: 1e9
        |             ^^^
      help: write `batch_size: 10000`

    """),
  Refusal(
    "batch_size too large",
    """
    batch: b
    source: shop.products
    set: {x: y}
    batch_size: 10000001

    """,
    """
    a.yaml:4:13: error: 10000001 rows are more than 10000000, the most of a batch [bad-batch-size]
      4 | batch_size: 10000001
        |             ^^^^^^^^
      help: write `batch_size: 10000`

    """),
  Refusal(
    "batch_size of itself",
    """
    batch: b
    source: shop.products
    set: {x: y}
    batch_size: auto

    """,
    """
    a.yaml:4:13: error: `batch_size: auto` is not there yet in this version [not-yet]
      4 | batch_size: auto
        |             ^^^^
      help: until then: leave it out for 10000 rows, or give a number: `batch_size: 10000`

    """),
  Refusal(
    "undo misspelt",
    """
    batch: b
    source: shop.products
    set: {x: y}
    undo: ful

    """,
    """
    a.yaml:4:7: error: `undo` cannot be `ful` [bad-undo]
      4 | undo: ful
        |       ^^^
      help: did you mean `undo: full`?

    """),
  Refusal(
    "undo of nothing",
    """
    batch: b
    source: shop.products
    set: {x: y}
    undo: {except: []}

    """,
    """
    a.yaml:4:16: error: `except` names no column [empty-list]
      4 | undo: {except: []}
        |                ^^
      help: leave the key out, or `undo: {except: [last_update]}`

    """),
  Refusal(
    "a list without brackets",
    """
    batch: b
    source: shop.products
    set: {x: y}
    search_path: shop, public

    """,
    """
    a.yaml:4:14: error: without brackets `shop, public` is one name [list-without-brackets]
      4 | search_path: shop, public
        |              ^^^^^^^^^^^^
      help: write `search_path: [shop, public]`

    """),
  Refusal(
    "a name given twice",
    """
    batch: b
    source: shop.products
    set: {x: y}
    search_path: [shop, shop]

    """,
    """
    a.yaml:4:21: error: the schema "shop" is named twice [named-twice]
      4 | search_path: [shop, shop]
        |                     ^^^^
      help: remove one of the two

    """),
  Refusal(
    "a built-in parameter",
    """
    batch: b
    source: shop.products
    set: {x: y}
    params: {run_id: int}

    """,
    """
    a.yaml:4:10: error: `:run_id` is built in [built-in-parameter]
      4 | params: {run_id: int}
        |          ^^^^^^
      help: use it without declaring it, or choose another name

    """),
  Refusal(
    "a parameter with capitals",
    """
    batch: b
    source: shop.products
    set: {x: y}
    params: {Cutoff: date}

    """,
    """
    a.yaml:4:10: error: "Cutoff" cannot name a parameter: small letters, digits and _ can, not beginning with a digit, at most 63 [bad-parameter-name]
      4 | params: {Cutoff: date}
        |          ^^^^^^
      help: for instance `cutoff`

    """),
  Refusal(
    "a parameter without type",
    """
    batch: b
    source: shop.products
    set: {x: y}
    params: {c: {default: 3}}

    """,
    """
    a.yaml:4:14: error: the parameter "c" needs the key "type" [missing-key]
      4 | params: {c: {default: 3}}
        |              ^^^^^^^
      help: add `type: numeric`

    """),
  Refusal(
    "a value for a type",
    """
    batch: b
    source: shop.products
    set: {x: y}
    params: {c: 3}

    """,
    """
    a.yaml:4:13: error: `3` is a value, and a type is expected [value-as-type]
      4 | params: {c: 3}
        |             ^
      help: a value for when none is given is a default: `c: {type: numeric, default: 3}`

    """),
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
    a.yaml:2:9: error: a query as `source` is not there yet in this version [not-yet]
      2 | source: SELECT * FROM t
        |         ^^^^^^^^^^^^^^^
      help: until then: make a table of it, `CREATE TABLE work AS …` with a primary key, and name that as `source`

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
      help: the keys that may stand here: batch, description, source, where, params, set, checks, batch_size, undo, timezone, search_path, needs

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
