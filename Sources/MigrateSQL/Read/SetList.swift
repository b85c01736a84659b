package import MigrateDiagnostics

/// `SET a = 1, b = lower(b)`: what an UPDATE sets, given by itself.
package struct SetList: Sendable {
  /// The assignments as written, without the word SET.
  package let text: String
  /// The columns that are set, in order.
  package let columns: [Identifier]

  /// Reads `fragment`, with the word SET or without it.
  /// - Throws: what is wrong with it: no SQL, no assignments, something behind them, a column set in parts.
  package static func parse(_ fragment: SourceFragment) throws(SQLDiagnostics) -> SetList {
    let bytes = Array(fragment.text.utf8)
    let words = try? TokenizedSQL(bytes)
    let hasWord = words?.keyword(0) == "set"
    let reader: SQLReader
    do throws(SQLDiagnostics) {
      reader = try SQLReader(fragment, prefix: hasWord ? "UPDATE t " : "UPDATE t SET ")
    } catch {
      let isStatement = ["update", "insert", "delete", "merge", "select", "with"].contains(words?.keyword(0))
      throw isStatement ? SQLDiagnostics(.notAssignments(in: fragment)) : error
    }
    guard let update = reader.statement.node("UpdateStmt"), reader.parameters.isEmpty,
      ["whereClause", "fromClause", "returningList", "withClause"].allSatisfy({ update[$0] == nil })
    else { throw SQLDiagnostics(.notAssignments(in: fragment)) }
    var columns: [Identifier] = []
    for target in update.list("targetList") {
      guard let item = target.node("ResTarget"), let name = item["name"]?.text, item["indirection"] == nil,
        item["val"]?.node("MultiAssignRef") == nil
      else { throw SQLDiagnostics(.notAssignments(in: fragment)) }
      columns.append(Identifier(trusted: name))
    }
    let start = hasWord ? words?.tokens.first?.range.upperBound ?? 0 : 0
    return SetList(text: String(decoding: bytes[start...], as: UTF8.self), columns: columns)
  }
}

extension Diagnostic {
  fileprivate static func notAssignments(in fragment: SourceFragment) -> Diagnostic {
    Diagnostic(
      "not-assignments", at: fragment.span, "this is no list of columns with what each becomes",
      remedy:
        "it begins with SET, for instance `SET email = lower(email)`; which rows is known: those in quarantine, or "
        + "those of them for which `--where` holds")
  }
}
