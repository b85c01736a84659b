/// A table that steps write, as the plan saw it: what has come there since is in no undo.
public struct PlannedTarget: Sendable, Equatable {
  /// Schema and name, each in double quotes, as `to_regclass` reads them.
  public let name: String
  /// Its object identifier when the plan was made; another one after a dump and restore.
  public let oid: Int
  /// Those that are written, kept, or tell a row.
  public let columns: [PlannedColumn]
  /// The triggers that are switched on, also those of partitions.
  public let triggers: [String]
  /// The foreign keys by which rows of other tables follow a row that changes, or goes.
  public let followers: [String]

  package init(name: String, oid: Int, columns: [PlannedColumn], triggers: [String], followers: [String]) {
    self.name = name
    self.oid = oid
    self.columns = columns
    self.triggers = triggers
    self.followers = followers
  }
}
