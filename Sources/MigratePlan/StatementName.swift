extension Statement {
  /// What a statement is for. Compiler, runner and the procedure `migrate.drive` know the statements by it.
  ///
  /// Its ``description`` is what a plan shows and the ledger stores; a plan of another version can have names that are none here.
  public enum Name: Sendable, Hashable {
    // Phase `prepare`.
    /// Creates the table that keeps what was there, and by it the way back.
    case undoTable
    /// Creates the table of the batches of a run with several steps.
    case imageTable
    /// Creates the type in which undo keeps the values of an array or composite column, by the column's number.
    case wrapper(column: Int)
    /// Creates the table of a source that is read once.
    case sourceTable
    /// Creates the table of the keys that are collected.
    case keysTable

    // Phase `bounds`.
    /// Who must end before the upper end is fixed.
    case lockers
    /// Reads a source that is read once: several statements, one after another.
    case freeze
    /// The last key of the run.
    case upper
    /// Reads the eligible keys once.
    case collect
    /// Cuts the keys for several workers.
    case slices
    /// Reads a join into a table, by the join's name: several statements, one after another.
    case stage(String)

    // Phase `batches`.
    /// Pins what decides about the meaning of a text; of phase `revert`, too.
    case settings
    /// Keeps the table what it is for as long as the batch lasts.
    case lock
    /// The key of a batch's last row.
    case bound
    /// Keeps the old values.
    case capture
    /// The same with the rows locked, from the second attempt on.
    case captureLocked
    /// The rows that break a rule of `validation` go to quarantine, with every reason; only in a batch that has such rows.
    case validate
    /// Writes, and keeps what the rows became.
    case change
    /// Lets a sequence know of numbers that were given, by the number of the column that it numbers.
    case moveOn(column: Int)
    /// Only writes, the capture having told all that is kept.
    case changeAsCaptured
    /// Reads back what AFTER triggers have made of the rows.
    case image
    /// Adds up what `expect` asks about.
    case measure
    /// Of a part that failed: how many rows it has, and the key in their middle.
    case middle
    /// The keys of a part, each of which is tried by itself.
    case keys
    /// The rows of a part as they would be written, for a query that finds those which break a constraint.
    case images
    /// The row at fault goes to quarantine.
    case reject
    /// The key before that of a row in quarantine, which is tried again by itself.
    case previous
    /// The ledger's entry, which ends the transaction; of phase `revert`, too.
    case finish

    // Phase `publish`.
    /// Shows what one batch has computed.
    case publish
    /// Computes the rows anew that others have changed since, locked.
    case captureLate
    /// Lets go of what was computed and not shown.
    case forget

    // Phase `finish`.
    /// Counts the rows that became eligible behind the batches.
    case leftBehind
    /// Drops the table of the keys.
    case dropKeys

    // Phase `revert`.
    /// Counts the rows that nobody has written since the run.
    case untouched
    /// Counts the rows that were changed since.
    case conflictsAhead
    /// Claims the batch that is to be taken back.
    case mark
    /// Keeps what the columns shall hold that triggers will write again.
    case hold
    /// Which of the rows that a move has taken along could come back, each by itself.
    case choose
    /// Nor does a row whose children stay.
    case heedChildren
    /// Nor does a row whose parent stays.
    case heedParents
    /// Puts the old values back where the run's own still stand.
    case restore
    /// Keeps what `force` will overwrite.
    case seize
    /// Puts the old values back over whatever was kept.
    case restoreForced
    /// What is there instead of the run's values.
    case look
    /// Switches the triggers off for one statement.
    case triggersOff
    /// Takes back what the triggers have written on the way back.
    case restoreRewritten
    /// Switches the triggers on again.
    case triggersOn
    /// Drops what undo has kept.
    case dropUndo

    // Phase `holds`.
    /// What makes the run hold, under the name that `status` shows.
    case holdWhen(String)

    /// A check of the definition under its label, in the phases `before`, `batches` and `finish`: it must find no row.
    case check(String)
  }
}

extension Statement.Name {
  /// Whether it reads what the definition works from into a table of the run's own.
  package var readsIntoTable: Bool {
    if case .stage = self { return true }
    return self == .freeze
  }
}

extension Statement.Name: LosslessStringConvertible {
  private static let checkMark = "check: "
  private static let holdMark = "hold when: "
  private static let wrapperMark = "wrapper for column "
  private static let stageMark = "stage: "
  private static let moveOnMark = "move on the sequence of column "

  /// The name as it is shown and stored.
  public var description: String {
    switch self {
    case .undoTable: "undo table"
    case .imageTable: "image table"
    case .wrapper(let column): "\(Self.wrapperMark)\(column)"
    case .sourceTable: "source table"
    case .keysTable: "keys table"
    case .lockers: "lockers"
    case .freeze: "freeze"
    case .upper: "upper"
    case .collect: "collect"
    case .slices: "slices"
    case .settings: "settings"
    case .lock: "lock"
    case .bound: "bound"
    case .capture: "capture"
    case .captureLocked: "capture locked"
    case .validate: "validate"
    case .change: "change"
    case .changeAsCaptured: "change as captured"
    case .image: "image"
    case .measure: "measure"
    case .middle: "middle"
    case .keys: "keys"
    case .images: "images"
    case .reject: "reject"
    case .previous: "previous"
    case .finish: "finish"
    case .publish: "publish"
    case .captureLate: "capture late"
    case .forget: "forget"
    case .leftBehind: "left behind"
    case .dropKeys: "drop keys"
    case .untouched: "untouched"
    case .conflictsAhead: "conflicts ahead"
    case .mark: "mark"
    case .hold: "hold"
    case .choose: "choose"
    case .heedChildren: "heed children"
    case .heedParents: "heed parents"
    case .restore: "restore"
    case .seize: "seize"
    case .restoreForced: "restore forced"
    case .look: "look"
    case .triggersOff: "triggers off"
    case .restoreRewritten: "restore rewritten"
    case .triggersOn: "triggers on"
    case .dropUndo: "drop undo"
    case .stage(let join): Self.stageMark + join
    case .moveOn(let column): "\(Self.moveOnMark)\(column)"
    case .check(let label): Self.checkMark + label
    case .holdWhen(let name): Self.holdMark + name
    }
  }

  /// The names that are always the same text.
  private static let fixed: [Self] = [
    .undoTable, .imageTable, .sourceTable, .keysTable, .lockers, .freeze, .upper, .collect, .slices, .settings, .lock,
    .bound, .capture,
    .captureLocked,
    .validate,
    .change,
    .changeAsCaptured, .image, .measure, .middle, .keys, .images, .reject, .previous, .finish, .publish,
    .captureLate, .forget, .leftBehind, .dropKeys,
    .untouched,
    .conflictsAhead, .mark,
    .hold, .choose, .heedChildren, .heedParents, .restore,
    .seize, .restoreForced, .look, .triggersOff, .restoreRewritten, .triggersOn, .dropUndo,
  ]

  private static let ofText = Dictionary(uniqueKeysWithValues: fixed.map { ($0.description, $0) })

  /// The name of that ``description``; `nil` when this version has none.
  public init?(_ description: String) {
    if let name = Self.ofText[description] {
      self = name
    } else if let label = Self.rest(of: description, behind: Self.checkMark) {
      self = .check(label)
    } else if let name = Self.rest(of: description, behind: Self.holdMark) {
      self = .holdWhen(name)
    } else if let join = Self.rest(of: description, behind: Self.stageMark) {
      self = .stage(join)
    } else if let number = Self.rest(of: description, behind: Self.moveOnMark), let column = Int(number) {
      self = .moveOn(column: column)
    } else if let number = Self.rest(of: description, behind: Self.wrapperMark), let column = Int(number) {
      self = .wrapper(column: column)
    } else {
      return nil
    }
  }

  /// By bytes: a label can begin with an accent, which would be one character with the blank before it.
  private static func rest(of text: String, behind mark: String) -> String? {
    guard text.utf8.starts(with: mark.utf8) else { return nil }
    return String(decoding: text.utf8.dropFirst(mark.utf8.count), as: UTF8.self)
  }
}
