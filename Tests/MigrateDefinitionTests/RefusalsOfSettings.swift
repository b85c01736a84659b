/// Keys beside `set`, with values that they cannot have.
let refusalsOfSettings: [Refusal] = [
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
]
