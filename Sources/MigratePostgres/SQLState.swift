/// The five characters by which PostgreSQL names an error. Source: PostgreSQL manual, appendix A.
public struct SQLState: Sendable, Hashable {
  /// For instance `40001`.
  public let code: String

  /// The state `code`.
  public init(_ code: String) { self.code = code }
}
