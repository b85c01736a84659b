/// What YAML itself makes of a slip.
let refusalsOfYAML: [Refusal] = [
  Refusal(
    "a tab as indentation",
    """
    batch: b
    source: shop.products
    set:
    	x: y
    	z: 1
    """,
    """
    a.yaml:4:1: error: a tab cannot indent YAML [tab-indentation]
      4 | 	x: y
        | ^
      help: indent with spaces: `expand -t 2` turns all tabs of a file into them
    """),
  Refusal(
    "a key deeper than its neighbour",
    """
    batch: b
    source: shop.products
    set:
      x: y
       z: 1
    """,
    """
    a.yaml:5:4: error: `z:` is indented deeper than the key above, so it goes on with that key's value [indentation]
      5 |    z: 1
        |    ^
      help: begin both keys in the same column
    """),
  Refusal(
    "a key less deep",
    """
    batch: b
    source: shop.products
    set:
      x: y
     z: 1
    """,
    """
    a.yaml:5:2: error: this line begins in a column in which nothing above begins [indentation]
      5 |  z: 1
        |  ^
      help: begin all keys of one map in the same column, and every `-` of one list
    """),
  Refusal(
    "a quote never closed",
    """
    batch: b
    source: shop.products
    set:
      x: "abc
    """,
    """
    a.yaml:4:6: error: the quote that opens here is never closed [unclosed-quote]
      4 |   x: "abc
        |      ^
      help: close it; a single quote inside of single quotes is written twice: `'it''s'`
    """),
  Refusal(
    "a quote closed by the next one",
    """
    batch: b
    source: shop.products
    set:
      x: 'it
    where: b = 'x'
    """,
    """
    a.yaml:4:6: error: the quote that opens here is not closed on line 4 [unclosed-quote]
      4 |   x: 'it
        |      ^
      help: close it; a single quote inside of single quotes is written twice: `'it''s'`
    """),
  Refusal(
    "a brace never closed",
    """
    batch: b
    source: shop.products
    set: {x: y
    where: b
    """,
    """
    a.yaml:3:6: error: the `{` that opens here is not closed, or something stands behind a value [unclosed-brace]
      3 | set: {x: y
        |      ^
      help: close it, or leave the braces out and give each key a line of its own
    """),
  Refusal(
    "a brace too many",
    """
    batch: b
    source: shop.products
    set: {x: y}}
    """,
    """
    a.yaml:3:12: error: this closes nothing [unclosed-brace]
      3 | set: {x: y}}
        |            ^
      help: remove it, or open the brace or bracket that it belongs to
    """),
  Refusal(
    "something behind braces",
    """
    batch: b
    source: shop.products
    set: {x: y} z
    """,
    """
    a.yaml:3:13: error: the value has ended before `z` [text-behind-value]
      3 | set: {x: y} z
        |             ^
      help: remove it, or put the whole under a `|`, indented, on a line of its own
    """),
  Refusal(
    "no colon",
    """
    batch: b
    source: shop.products
    where status = 1
    set: {x: y}
    """,
    """
    a.yaml:3:1: error: `where status = 1` is no `key: value` [no-colon]
      3 | where status = 1
        | ^^^^^^^^^^^^^^^^
      help: put a colon and a blank behind the key; to go on with the value above, indent the line deeper than its key
    """),
  Refusal(
    "a comment inside a value",
    """
    batch: b
    source: shop.products
    set:
      x: a
      # note
        + b
    """,
    """
    a.yaml:6:5: error: the comment above has ended the value that this line was to go on with [comment-in-value]
      6 |     + b
        |     ^
      help: put the expression under a `|`, where a comment is written as in SQL: `-- …`
    """),
  Refusal(
    "an escape",
    #"""
    batch: b
    source: shop.products
    set:
      x: "a\qb"
    """#,
    #"""
    a.yaml:4:8: error: in double quotes a backslash begins an escape, and YAML does not know this one [bad-escape]
      4 |   x: "a\qb"
        |        ^
      help: write `\\` for a backslash, or put the text into single quotes, where it means itself
    """#),
  Refusal(
    "a directive",
    """
    %YAML 1.2
    ---
    batch: b
    source: shop.products
    set: {x: y}
    """,
    """
    a.yaml:1:1: error: directives such as `%YAML` and `%TAG` are not read [directive]
      1 | %YAML 1.2
        | ^^^^^^^^^
      help: remove the line; a definition is YAML 1.2 as it stands
    """),
  Refusal(
    "keys that are no texts",
    """
    batch: b
    source: shop.products
    set: {1: a, true: b, ? [x] : c}
    """,
    """
    a.yaml:3:7: error: `1` is a number in YAML, a key is a text [key-not-text]
      3 | set: {1: a, true: b, ? [x] : c}
        |       ^
      help: if that is the name, quote it: `'1':`

    a.yaml:3:13: error: `true` is a boolean in YAML, a key is a text [key-not-text]
      3 | set: {1: a, true: b, ? [x] : c}
        |             ^^^^
      help: if that is the name, quote it: `'true':`

    a.yaml:3:24: error: a key is a text, not a list or a map [key-not-text]
      3 | set: {1: a, true: b, ? [x] : c}
        |                        ^
      help: write `key: value`; SQL that begins with a brace or bracket goes under a `|`
    """),
  Refusal(
    "a key that is missing",
    """
    batch: b
    source: shop.products
    set:
      : a
    """,
    """
    a.yaml:4:3: error: there is no key before the colon [key-not-text]
      4 |   : a
        |   ^
      help: write `key: value`; SQL that begins with `:` needs a key in front of it
    """),
  Refusal(
    "a string over two lines",
    """
    batch: b
    source: shop.products
    where: a = 'x
      y'
    set: {x: y}
    """,
    #"""
    a.yaml:3:12: error: folded onto one line, this SQL string loses its line break [folded-string]
      3 | where: a = 'x
        |            ^
      help: put the expression under a `|`, which keeps lines, or write the break as `E'\n'`
    """#),
  Refusal(
    "a tag of another tool",
    """
    batch: b
    source: shop.products
    set:
      x: !!python/object:os.system y
    """,
    """
    a.yaml:4:6: error: `!!python/object:os.system` is a YAML tag [tag]
      4 |   x: !!python/object:os.system y
        |      ^^^^^^^^^^^^^^^^^^^^^^^^^
      help: leave it out: quotes make a text, and unquoted is SQL
    """),
  Refusal(
    "U+0000",
    #"""
    batch: b
    source: shop.products
    set:
      x: "a\0b"
    """#,
    #"""
    a.yaml:4:8: error: no text in PostgreSQL can hold the character U+0000 [nul-character]
      4 |   x: "a\0b"
        |        ^
      help: remove it; a `bytea` constant is written as `'\x00'`
    """#),
  Refusal(
    "a list at the top",
    """
    - a
    """,
    """
    a.yaml:1:1: error: a definition is a map of keys and values, not a list [wrong-kind]
      1 | - a
        | ^^^
      help: write it like this: `batch: name`
    """),
  Refusal(
    "a text at the top",
    """
    just text
    """,
    """
    a.yaml:1:1: error: a definition is a map of keys and values, not a single value [wrong-kind]
      1 | just text
        | ^^^^^^^^^
      help: write it like this: `batch: name`
    """),
]
