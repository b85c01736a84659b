public import MigrateDiagnostics

/// One of `tests:`: rows that are there, and what the definition makes of them.
public struct TestDefinition: Sendable {
  /// What it shows: `gold from fourteen thousand`.
  public let name: Located<String>
  /// Values of parameters, over those that the command gives.
  public let parameters: [TestValue]
  /// Rows that are inserted before, in order.
  public let given: [TestRows]
  /// Of each of these tables the rows that are there then, of those which were given or written.
  public let expected: [TestRows]
  /// The rows that go to quarantine.
  public let rejects: [TestRow]
}

/// Rows of a table.
public struct TestRows: Sendable {
  /// The table, as written.
  public let table: Located<TableReference>
  /// Its rows, in order.
  public let rows: [TestRow]
}

/// Some columns of a row.
public struct TestRow: Sendable {
  /// Where it stands.
  public let span: SourceSpan
  /// The columns, each with its value.
  public let values: [TestValue]
}

/// A name and a constant.
public struct TestValue: Sendable {
  /// The column, or the parameter.
  public let name: Located<String>
  /// What it holds.
  public let value: Constant
}
