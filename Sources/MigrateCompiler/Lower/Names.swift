internal import MigrateCatalog
internal import MigrateSQL

/// What a statement binds, by role.
enum Role {
  static let run = Parameter("run", .bigint)
  static let slice = Parameter("slice", .integer)
  static let ordinal = Parameter("ordinal", .integer)
  static let part = Parameter("part", .integer)
  static let epoch = Parameter("epoch", .integer)
  static let worker = Parameter("worker", .integer)
  /// Rows that are eligible in the batch, where the bound has told; NULL where they must be counted.
  static let eligible = Parameter("eligible", .bigint)
  /// Rows that `change as captured` has written; NULL where another change was taken, which has looked itself.
  static let changed = Parameter("changed", .bigint)
  /// Since when rows must have been changed to be done; and true where there is no such moment, a value of its own as `afterNone`.
  static let since = Parameter("since", TypeName(trusted: "timestamptz"))
  static let sinceNone = Parameter("since.none", TypeName(trusted: "boolean"))
  /// Whether the statements of the batch have one snapshot.
  static let snapshot = Parameter("snapshot", TypeName(trusted: "boolean"))
  /// Rows that `change` has written, by the step; NULL where it has not been asked.
  static let written = Parameter("written", TypeName(trusted: "bigint[]"))
  static let size = Parameter("size", .bigint)
  /// Whether the batch does the rows of the canary, or those of the rest; NULL does both.
  static let canary = Parameter("canary", TypeName(trusted: "boolean"))
  static let seq = Parameter("seq", .bigint)
  /// The key behind which the batch begins, as an array of texts; NULL is the beginning.
  static let afterKey = Parameter("after", TypeName(trusted: "text[]"))
  /// True when the batch begins at the beginning, where `after` is NULL. A value of its own: a boolean read from text is folded
  /// when the statement is planned, whereas a NULL that a stable input function has read (of a date, say) is not, and the
  /// range would be no index condition.
  static let afterNone = Parameter("after.none", TypeName(trusted: "boolean"))
  static let throughKey = Parameter("through", TypeName(trusted: "text[]"))
  static let upperKey = Parameter("upper", TypeName(trusted: "text[]"))

  /// Whether anybody but the run has written, anywhere in the cluster, since the upper end was fixed.
  static let others = Parameter("others", TypeName(trusted: "boolean"))
  /// The oldest transaction that was open when the upper end was fixed; NULL when it does not tell versions apart any more.
  static let horizon = Parameter("horizon", .bigint)
  /// The transactions of the run's batches.
  static let transactions = Parameter("transactions", TypeName(trusted: "xid[]"))

  /// What the server has said of a row at fault.
  static let refusalDetail = Parameter("refusal.detail", .text)
  static let refusal = [
    Parameter("refusal.sqlstate", .text), Parameter("refusal.message", .text), refusalDetail,
    Parameter("refusal.column", .text), Parameter("refusal.constraint", .text),
  ]

  /// Column `index` of a bound of the key.
  static func after(_ index: Int, _ column: Column) -> Parameter { Parameter("after.\(index + 1)", column.keyType) }
  static func through(_ index: Int, _ column: Column) -> Parameter { Parameter("through.\(index + 1)", column.keyType) }
  static func upper(_ index: Int, _ column: Column) -> Parameter { Parameter("upper.\(index + 1)", column.keyType) }
}

/// The names of the run's own objects and columns. Made of numbers, never of the user's names, which may already be 63 bytes
/// long (X22).
enum Name {
  static func undo(_ step: Int) -> SQL { SQL(pieces: [.text("migrate.undo_"), .run, .text("_\(step)")]) }

  /// The batches of a run with several steps.
  static let image = SQL(pieces: [.text("migrate.image_"), .run])

  /// The rows of a source that is read once.
  static let source = SQL(pieces: [.text("migrate.source_"), .run])
  /// The constraint that is its key.
  static let sourceKey = SQL(pieces: [.text("source_"), .run, .text("_pkey")])

  static func wrapper(_ step: Int, _ column: Column) -> SQL {
    SQL(pieces: [.text("migrate.w_"), .run, .text("_\(step)_\(column.number)")])
  }

  /// What the statements call their own relations: a source row of such a name gets another one.
  static let ofRelations: Set = [
    "a", "added", "b", "c", "d", "e", "f", "h", "l", "r", "s", "u", "back", "batch", "changed", "chosen", "conflicts",
    "found", "frozen", "gone",
    "heartbeat",
    "held", "image", "joined", "kept", "locked", "migrate locked", "moved", "noted", "own", "passed", "published",
    "rejected", "written",
  ]

  /// What an image has besides its columns, which it stands among by their names. Known to `migrate.violating_rows`.
  static let imageKey: SQL = "\"migrate key\""
  static let imageBefore: SQL = "\"migrate previous\""
  static let imagePlace: SQL = "\"migrate place\""

  /// What a row of a join has besides its columns.
  static let match: SQL = "\"migrate match\""
  /// What tells of a row with its joins whether it is in order.
  static let valid: SQL = "\"migrate valid\""
  static let matches: SQL = "\"migrate matches\""
  static let place: SQL = "\"migrate place\""
  /// The table that a join is read into.
  static func staged(_ join: Int) -> SQL { SQL(pieces: [.text("migrate.join_"), .run, .text("_\(join + 1)")]) }
  /// The rows of a batch that has locked them before it reads what is joined.
  static let locked: SQL = "\"migrate locked\""

  /// A row as JSON, whatever it holds.
  static func image(_ row: SQL) -> SQL { "migrate.row_image(\(row))" }

  static func key(_ index: Int) -> SQL { SQL(pieces: [.text("k_\(index + 1)")]) }
  /// A column that a rule of `validation` names and that is not written.
  static func context(_ column: Column) -> SQL { SQL(pieces: [.text("c_\(column.number)")]) }
  /// A column of the source as it stands.
  static func plain(_ column: Column) -> SQL { SQL(pieces: [.text("b_\(column.number)")]) }
  static func old(_ column: Column) -> SQL { SQL(pieces: [.text("o_\(column.number)")]) }
  static func new(_ column: Column) -> SQL { SQL(pieces: [.text("n_\(column.number)")]) }
  /// The key of a row that a step adds, where it is not that of the batch.
  static func added(_ step: Int, _ index: Int) -> SQL { SQL(pieces: [.text("a_\(step)_\(index + 1)")]) }
  /// The key of a row that was computed, and passed over when that was shown.
  static func passed(_ index: Int) -> SQL { SQL(pieces: [.text("passed_\(index + 1)")]) }
  /// What tells whether a row that a step has added is as it was.
  static func digest(_ step: Int) -> SQL { SQL(pieces: [.text("h_\(step)")]) }
  /// What a later batch has found in the place of a new value.
  static func later(_ column: Column) -> SQL { SQL(pieces: [.text("l_\(column.number)")]) }
}

extension SQL {
  /// `WHERE` and its conditions, a line each.
  static func filtered(by conditions: [SQL]) -> SQL {
    guard let first = conditions.first else { return "" }
    return conditions.dropFirst().reduce("WHERE  \(first)") { clause, condition in
      clause + "\n  AND  \(condition)"
    }
  }

  static func joined(_ items: [SQL], by separator: String) -> SQL {
    guard let first = items.first else { return "" }
    return items.dropFirst().reduce(first) { $0 + SQL(pieces: [.text(separator), .block($1)]) }
  }
}
