/// One write of a plan. There is no step without an answer to how it is taken back.
public struct Step: Sendable, Equatable {
  /// Its number, from 1.
  public let number: Int
  /// The verb: `update`.
  public let verb: String
  /// The table that is written.
  public let table: String
  /// The columns that the definition writes, each with what it becomes.
  public let columns: [WrittenColumn]
  /// What is read besides the rows that are written, in order.
  public let joins: [PlannedJoin]
  /// What is computed once a source row, in order.
  public let lets: [PlannedLet]
  /// Which rows, by an expression that computes something; `nil` when it only compares, or all rows are meant.
  public let filter: PlannedFilter?
  /// What must be true of a row as it would be written; one that breaks a rule goes to quarantine.
  public let validation: [PlannedRule]
  /// The way back.
  public let undo: Undo
  /// Of one of several writes: what it works on; `nil` for an update of the source's own rows that stands by itself.
  public let work: StepWork?

  package init(
    number: Int, verb: String, table: String, work: StepWork? = nil, columns: [WrittenColumn],
    joins: [PlannedJoin] = [],
    lets: [PlannedLet] = [],
    filter: PlannedFilter?,
    validation: [PlannedRule], undo: Undo
  ) {
    self.number = number
    self.verb = verb
    self.table = table
    self.columns = columns
    self.joins = joins
    self.lets = lets
    self.filter = filter
    self.validation = validation
    self.undo = undo
    self.work = work
  }
}

/// What one of several writes works on.
public struct StepWork: Sendable, Equatable {
  /// Schema and name of the table, each in double quotes, as `to_regclass` reads them; `nil` for a channel.
  public let relation: String?
  /// Which rows of the table, as the definition writes it; `nil` is the batch's own, or new ones.
  public let match: String?
  /// The rows that it works from, as the definition writes it; `nil` is the batch's own.
  public let from: String?

  package init(relation: String?, match: String?, from: String?) {
    self.relation = relation
    self.match = match
    self.from = from
  }
}

/// A column that a step writes.
public struct WrittenColumn: Sendable, Equatable {
  /// The column.
  public let name: String
  /// The expression, or the constant, as it will be written.
  public let value: String
  /// Where the definition says so.
  public let place: DefinitionPlace

  package init(name: String, value: String, place: DefinitionPlace) {
    self.name = name
    self.value = value
    self.place = place
  }
}

/// A value that is computed once a source row.
public struct PlannedLet: Sendable, Equatable {
  /// What the other expressions call it.
  public let name: String
  /// The expression, or the constant, as the definition writes it.
  public let value: String

  package init(name: String, value: String) {
    self.name = name
    self.value = value
  }
}

/// What is read for each source row besides it.
public struct PlannedJoin: Sendable, Equatable {
  /// What SQL calls it.
  public let name: String
  /// The table, or the query.
  public let rows: String
  /// Which of its rows belongs to a source row.
  public let match: String
  /// What a source row does that finds none: reject, skip or null.
  public let missing: String
  /// Whether it is certain that none finds two; one that does goes to quarantine.
  public let isSingle: Bool

  package init(name: String, rows: String, match: String, missing: String, isSingle: Bool) {
    self.name = name
    self.rows = rows
    self.match = match
    self.missing = missing
    self.isSingle = isSingle
  }
}

extension WrittenColumn {
  /// One literal and nothing else; quotes inside of it are doubled.
  package static func isConstant(_ value: String) -> Bool {
    if value.utf8.elementsEqual("NULL".utf8) { return true }
    let quote = UInt8(ascii: "'")
    let bytes = Array(value.utf8)
    guard bytes.count >= 2, bytes.first == quote, bytes.last == quote else { return false }
    var index = 1
    while index < bytes.count - 1 {
      if bytes[index] == quote {
        guard index + 1 < bytes.count - 1, bytes[index + 1] == quote else { return false }
        index += 1
      }
      index += 1
    }
    return true
  }
}

/// A condition on the rows of a step.
public struct PlannedFilter: Sendable, Equatable {
  /// The expression, as the definition writes it.
  public let value: String
  /// Where it stands.
  public let place: DefinitionPlace

  package init(value: String, place: DefinitionPlace) {
    self.value = value
    self.place = place
  }
}

/// A rule for the rows that a step writes.
public struct PlannedRule: Sendable, Equatable {
  /// The reason that a row gets which breaks it.
  public let reason: String
  /// The condition, as the definition writes it.
  public let value: String
  /// Where it stands.
  public let place: DefinitionPlace

  package init(reason: String, value: String, place: DefinitionPlace) {
    self.reason = reason
    self.value = value
    self.place = place
  }
}

/// How a step is taken back.
public enum Undo: Sendable, Equatable {
  /// The old and new values of these columns are kept, and the statements of phase `revert` put them back.
  case captured(columns: [String])
  /// What it writes are facts: a revert leaves them.
  case stays
  /// It cannot be taken back, for this reason.
  case unavailable(reason: String)
}
