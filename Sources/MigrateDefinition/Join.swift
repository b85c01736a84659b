public import MigrateDiagnostics

/// At most one row of something else for each source row: `spent: {query: SELECT …, match: spent.user_id = users.id}`
public struct Join: Sendable {
  /// What is joined.
  public enum Rows: Sendable {
    case table(Located<TableReference>)
    /// A whole table: it does not see the source row.
    case query(SourceFragment)
  }

  /// What a source row does that finds nothing.
  public enum Missing: String, Sendable, CaseIterable {
    /// It goes to quarantine.
    case reject
    /// It is left as it is.
    case skip
    /// The columns of the join are NULL for it.
    case null
  }

  /// What SQL calls the joined row.
  public let name: Located<String>
  /// What is joined.
  public let rows: Rows
  /// Which of them belongs to a source row.
  public let match: SourceFragment
  /// What a source row does that finds nothing.
  public let missing: Missing
}
