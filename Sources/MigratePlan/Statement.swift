package import MigrateSQL

/// One SQL statement of a plan, as it will be sent.
public struct Statement: Sendable, Equatable {
  /// What it is for. Unique in its phase and step.
  public let name: Name
  /// Why it is written as it is, in a line for the reader.
  public let why: String
  /// The number of its step, from 1; `nil` for one that serves all steps.
  public let step: Int?
  /// SQL with `$1 … $n`; `{run}` stands where the run's number belongs, see `runAt`.
  public let text: String
  /// For each `$n` the role of its value: `after.1`, `size`, `:multiplier`.
  public let arguments: [String]
  /// The byte offsets of the `{run}` that stand for the run's number. The same letters in a user's own SQL are not among them.
  public let runAt: [Int]

  /// The statement `sql`.
  package init(_ name: Name, step: Int? = nil, why: String, _ sql: SQL) {
    self.init(name, step: step, why: why, rendered: RenderedSQL(sql))
  }

  package init(_ name: Name, step: Int? = nil, why: String, rendered: RenderedSQL) {
    self.name = name
    self.why = why
    self.step = step
    text = rendered.text
    arguments = rendered.parameters.map(\.role)
    runAt = rendered.runAt
  }
}

extension Statement {
  /// The text with `run` for each token that stands for the run's number, as the ledger's `migrate.numbered` does it.
  package func text(ofRun run: Int64) -> String {
    let bytes = Array(text.utf8)
    var result: [UInt8] = []
    var start = 0
    for place in runAt {
      result += bytes[start..<place] + Array(String(run).utf8)
      start = place + RenderedSQL.runToken.utf8.count
    }
    return String(decoding: result + bytes[start...], as: UTF8.self)
  }
}

/// Statements that run together, in order.
public struct Phase: Sendable, Equatable {
  /// The phases, in the order in which they run; `revert` is the way back.
  public enum Name: String, Sendable, CaseIterable {
    /// Checks that must find nothing before anything starts.
    case before
    /// Objects of the ledger that the run needs, in the transaction that begins it.
    case prepare
    /// Who must end before the upper end of the keys is fixed, and that end.
    case bounds
    /// Once for each batch, in one transaction.
    case batches
    /// Asked between batches, at most once a second: while one finds a row, the run holds.
    case holds
    /// What the batches have computed, in one transaction.
    case publish
    /// After the last batch.
    case finish
    /// Once for each batch, backwards, in one transaction.
    case revert
  }

  /// Which phase.
  public let name: Name
  /// Its statements.
  public let statements: [Statement]

  /// A phase of `statements`.
  package init(_ name: Name, _ statements: [Statement]) {
    self.name = name
    self.statements = statements
  }
}
