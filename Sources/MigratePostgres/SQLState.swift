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
  package static let uniqueViolation = SQLState("23505")
  package static let serializationFailure = SQLState("40001")
  package static let deadlockDetected = SQLState("40P01")
  package static let undefinedFunction = SQLState("42883")
  package static let programLimitExceeded = SQLState("54000")
}

/// The ledger's own, of those that its callers tell apart.
extension SQLState {
  /// Refused before anything is changed.
  package static let refusedByLedger = SQLState("MG002")
  /// What a run finds is not as its definition expects.
  package static let notAsExpected = SQLState("MG004")
  /// Nothing has failed: the canary is done.
  package static let canaryDone = SQLState("MG005")
}
