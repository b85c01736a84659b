/// A trigger, and what its function does.
package struct Trigger: Sendable {
  /// When it fires; `instead` only on views.
  package enum Timing: String, Sendable { case before, after, instead }

  package let name: String
  package let timing: Timing
  package let isForEachRow: Bool
  package let firesOnUpdate: Bool
  package let firesOnInsert: Bool
  package let firesOnDelete: Bool
  /// ENABLE ALWAYS: also when session_replication_role says otherwise.
  package let firesAlways: Bool
  /// For `UPDATE OF`: the columns; empty means any.
  package let ofColumns: [Int]
  package let function: String
  package let language: String
  package let body: String
  /// INITIALLY DEFERRED: it fires at COMMIT.
  package let isDeferred: Bool
  /// Whether its body seems to call a function that writes, or one that calls such a function.
  package let callsWriters: Bool

  init(_ item: DocumentReader) throws(Malformed) {
    name = try item.text("name")
    timing = try item.word("timing")
    isForEachRow = try item.flag("row")
    firesOnUpdate = try item.flag("update")
    firesOnInsert = try item.flag("insert")
    firesOnDelete = try item.flag("delete")
    firesAlways = try item.flag("always")
    ofColumns = item.integers("of_columns")
    function = try item.text("function")
    language = try item.text("language")
    body = try item.text("body")
    isDeferred = try item.flag("deferred")
    callsWriters = try item.flag("calls_writers")
  }
}
