public import MigrateDiagnostics

/// One write of `steps`, in the order of the file; all of them are one transaction a batch.
public struct StepDefinition: Sendable {
  /// What is done with which rows.
  public enum Verb: Sendable {
    /// Changes rows of a table: those that `match`, or the batch's own.
    case update(Located<TableReference>, match: SourceFragment?, set: [Assignment])
    /// Adds rows to a table. Without `values` the columns of the same name.
    case insert(Located<TableReference>, values: [Assignment]?, onConflict: OnConflict?)
    /// Gives the rows that the ``insert`` before it has found there these values, but for the conflict's key.
    case overwrite(Located<TableReference>, values: [Assignment]?, onConflict: OnConflict)
    /// Adds the rows that a ``delete`` behind it removes, those of one `move`; `values` overrides the columns of the same name.
    case add(Located<TableReference>, rowsOf: Located<TableReference>, match: SourceFragment?, values: [Assignment])
    /// Removes rows of a table: those that `match`, or the batch's own.
    case delete(Located<TableReference>, match: SourceFragment?)
    /// Adds events to a table; a revert leaves them there.
    case emit(Located<TableReference>, values: [Assignment])
    /// Sends an event to those who listen on a channel.
    case notify(Located<String>, payload: Assignment)

    /// The word that the definition says.
    public var word: String {
      switch self {
      case .update, .overwrite: "update"
      case .insert, .add: "insert"
      case .delete: "delete"
      case .emit, .notify: "emit"
      }
    }

    /// The table that is written; `nil` for a channel.
    public var table: Located<TableReference>? {
      switch self {
      case .update(let table, _, _), .insert(let table, _, _), .overwrite(let table, _, _), .add(let table, _, _, _),
        .delete(let table, _), .emit(let table, _):
        table
      case .notify: nil
      }
    }

    /// The values that it writes, in order.
    public var values: [Assignment] {
      switch self {
      case .update(_, _, let set): set
      case .insert(_, let values, _), .overwrite(_, let values, _): values ?? []
      case .add(_, _, _, let values): values
      case .delete: []
      case .emit(_, let values): values
      case .notify(_, let payload): [payload]
      }
    }
  }

  /// What is done with which rows.
  public let verb: Verb
  /// The rows it works from, if not the batch's own.
  public let from: DerivedRows?
  /// `missing: reject`: a row of the batch that finds no row of the table goes to quarantine. `nil` leaves it at that.
  public var rejectsMissing: SourceSpan?
  /// Of an event: what a revert repeats it with; empty where it says nothing.
  public var onRevert: [Assignment] = []
  /// The place of its verb.
  public let span: SourceSpan
}

/// `lost: SELECT user_id, sum(points) AS points FROM batch GROUP BY user_id`
public struct DerivedRows: Sendable {
  /// What SQL calls such a row.
  public let name: Located<String>
  /// A query that may read `batch`.
  public let query: SourceFragment
}

/// `on_conflict:` what an insert does where the table has a row with these values already.
public struct OnConflict: Sendable {
  /// `do:`
  public enum Resolution: String, Sendable {
    /// It leaves that row as it is.
    case skip
    /// It gives that row the new one's values.
    case update
    /// The row of the batch goes to quarantine.
    case reject
  }

  /// What is done.
  public let resolution: Resolution
  /// The columns of a unique index, exact.
  public let key: [Located<String>]
  /// `set:` what the row that is there becomes in some columns, in place of the new one's values.
  public let set: [Assignment]
  /// The place of `on_conflict`.
  public let span: SourceSpan
}
