/// The five characters by which PostgreSQL names an error. Source: PostgreSQL manual, appendix A.
public struct SQLState: Sendable, Hashable {
  /// For instance `40001`.
  public let code: String

  /// The state `code`.
  public init(_ code: String) { self.code = code }

  /// The first two characters: the family of errors that this one belongs to.
  package var family: Substring { code.prefix(2) }
}

extension SQLState {
  package static let readOnlyTransaction = SQLState("25006")
  package static let noActiveTransaction = SQLState("25P01")
  package static let insufficientResources = SQLState("53000")
  package static let insufficientPrivilege = SQLState("42501")
  package static let adminShutdown = SQLState("57P01")
  package static let crashShutdown = SQLState("57P02")
  package static let cannotConnectNow = SQLState("57P03")
  package static let lockNotAvailable = SQLState("55P03")
  package static let queryCanceled = SQLState("57014")
  package static let foreignKeyViolation = SQLState("23503")
  package static let undefinedTable = SQLState("42P01")
  package static let invalidParameterValue = SQLState("22023")
  package static let characterNotInRepertoire = SQLState("22021")
}
