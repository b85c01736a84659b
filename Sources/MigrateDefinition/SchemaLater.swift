extension Schema {
  private static func later(
    _ name: String, at place: Place = .top, _ type: String, default defaultValue: String = "", _ meaning: String,
    meanwhile: String
  ) -> Key {
    Key(
      name: name, place: place, type: type, defaultValue: defaultValue, meaning: meaning,
      availability: .notYet(meanwhile: meanwhile))
  }

  private static let ownTable =
    "write `set:` on the source's own table, and a definition for each table that is changed"
  private static let insertByHand = "insert the rows with INSERT … SELECT, and declare with `batch:` what changes rows"
  private static let copied =
    "load the file with psql's `\\copy` into a table with a primary key, and name that as `source`"
  private static let byCron = "let cron start `migrate apply`"
  private static let cutSource = "leave it out: only tables are read, and their columns have names and types"

  /// What the language has and this version does not read yet.
  static let later = sourceKeys + writeKeys + runKeys

  private static let sourceKeys = [
    later(
      "migration", "name", "a definition with `target` and `mapping`",
      meanwhile: "begin with `batch:` where rows of a table change, and copy rows with INSERT … SELECT"),
    later("csv", at: .source, "path", "the records of a file", meanwhile: copied),
    later("jsonl", at: .source, "path", "one column `doc jsonb` a line", meanwhile: copied),
    later(
      "postgres", at: .source, "environment variable", "a table or query of another database",
      meanwhile: "copy the rows here with `pg_dump --table` or `\\copy`, and name that table as `source`"),
    later("columns", at: .source, "names", "the fields of a CSV file", meanwhile: cutSource),
    later("header", at: .source, "boolean", default: "true", "whether a CSV file names its fields", meanwhile: copied),
    later("delimiter", at: .source, "character", default: ",", "between the fields of a CSV file", meanwhile: copied),
    later("quote", at: .source, "character", default: "\"", "around a field of a CSV file", meanwhile: copied),
    later("escape", at: .source, "character", default: "\"", "before a quote in a field", meanwhile: copied),
    later("null_text", at: .source, "text", default: "unquoted empty", "what is NULL in a CSV file", meanwhile: copied),
    later("encoding", at: .source, "name", default: "UTF8", "of a CSV file", meanwhile: copied),
  ]

  private static let writeKeys = [
    later(
      "duplicates", at: .onConflict, "reject, first or last", default: "reject", "two source rows for one target row",
      meanwhile: insertByHand),
    later("target", "table, or a file", "where a migration's rows go", meanwhile: insertByHand),
    later("mapping", "column: value", "what a migration writes", meanwhile: insertByHand),
    later(
      "replace", "true, or SQL condition", "rows that no source row maps to are deleted",
      meanwhile: "delete what the source no longer has by hand"),
  ]

  private static let runKeys = [
    later("schedule", "cron", "when it runs by itself", meanwhile: byCron),
    later("missed", "latest, all or none", default: "latest", "what a missed slot does", meanwhile: byCron),
    later(
      "catch_up", "boolean", default: "false", "passes until no row is left behind",
      meanwhile: "apply the definition once more for rows that came while it ran"),
    later(
      "delta", at: .undo, "columns", "revert subtracts what was added",
      meanwhile: "leave it out: rows that changed since are left as they are, and counted as conflicts"),
    later(
      "for_each", "map", "one run for each schema", meanwhile: "leave the schema out, and apply it with `--search-path`"
    ),
  ]
}
