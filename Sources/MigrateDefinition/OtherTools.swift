/// Keys that other tools have, with our word for what they do.
enum OtherTools {
  /// What to write for `key`, when it is known from elsewhere.
  static func remedy(for key: String) -> String? {
    words.first { $0.keys.contains { $0.utf8.elementsEqual(key.utf8) } }?.remedy
  }

  private static let words: [(keys: [String], remedy: String)] = [
    (
      ["lookup", "lookups", "joins", "enrich"],
      "a lookup is a `join`: `join: {name: {table: …, match: …}}`"
    ),
    (
      ["on", "using"],
      "the condition of a `join` is `match`"
    ),
    (["filter", "filters", "condition", "conditions", "predicate", "criteria"], "which rows is said by `where`"),
    (
      ["sql", "statement", "script", "query", "execute", "up"],
      "say what to change, not how: `source: shop.users` and `set: {column: expression}`"
    ),
    (["table", "tables", "table_name", "model", "entity", "collection"], "the table is `source: shop.users`"),
    (
      ["columns", "column", "fields", "updates", "transform", "transforms", "changes"],
      "columns and their new values stand under `set`"
    ),
    (["limit"], "`where` says which rows, `batch_size` how many commit together"),
    (
      ["chunk", "chunk_size", "batchsize", "batchSize", "page_size", "size", "batch-size", "rows_per_batch"],
      "rows that commit together are `batch_size: \(BatchOperation.usualBatchSize)`"
    ),
    (["order", "order_by", "orderBy", "sort"], "leave it out: batches walk the key of the source in its order"),
    (["primary_key", "id_column", "pk", "cursor"], "what batches walk is `source: {table: shop.users, key: id}`"),
    (["alias"], "another name for the source row is `source: {table: shop.users, as: u}`"),
    (["name", "id", "job", "task", "title"], "the name is said by `batch: name`"),
    (["depends_on", "dependencies", "requires", "dependsOn"], "what must be complete before is `needs: [name]`"),
    (
      ["rollback", "down", "revert", "backout"],
      "leave it out: what was changed is kept, and `migrate revert` puts it back; `undo` says how much is kept"
    ),
    (["assert", "assertions", "validate", "constraints"], "queries that must find nothing stand under `checks`"),
    (["variables", "vars", "parameters", "args", "inputs"], "parameters are declared by `params: {name: type}`"),
    (["schema", "schemas", "namespace"], "schemas for unqualified names are `search_path: [shop]`"),
    (["tz", "time_zone", "zone"], "the zone is `timezone: Europe/Berlin`"),
    (
      ["cron", "every", "interval"],
      "that is `schedule`, which is not there yet; until then let cron start `migrate apply`"
    ),
    (["threads", "workers", "concurrency"], "how many workers do the batches is `parallel: 4`"),
    (
      ["retries", "retry", "on_failure"],
      "that is `on_error`, which is not there yet; transient errors are retried anyway"
    ),
    (["version", "apiVersion", "kind", "spec", "metadata"], "leave it out: the first key, `batch`, says what it is"),
    (["transaction", "atomic"], "leave it out: each batch is a transaction"),
    (["returning"], "leave it out: the ledger keeps what was written"),
    (["comment", "comments", "notes"], "what a person should know is `description`"),
  ]
}
