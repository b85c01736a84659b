internal import MigrateCatalog
internal import MigrateDiagnostics
package import MigrateSQL

/// What an assignment may do to a value, told by the two types.
struct Loss {
  enum Kind: Equatable {
    /// PostgreSQL changes the value and says nothing; what becomes of it.
    case silent(String)
    /// PostgreSQL refuses a value that does not fit, and with it the batch. Nearly every expression is wider than its column,
    /// so only a row that shows it is worth a word.
    case refused
  }

  let from: String
  let kind: Kind
  /// Whether the value is another one afterwards, or does not fit. Never an error, whatever the value is.
  let test: SQL
}

extension Column {
  /// What an assignment of `v`, a name of that type, may lose; `nil` when each value of it arrives as it is.
  /// `scale`: the most digits behind the point that the expression can have, where its text tells.
  func loss(of v: SQL, from type: DescribedType, scale: Int?) -> Loss? {
    if let bytes = TypeOID.integers[baseOID] { return lossOfInteger(bytes, of: v, from: type, scale: scale) }
    if baseOID == TypeOID.numeric { return lossOfNumeric(of: v, from: type, scale: scale) }
    if type.oid == TypeOID.timestamptz, baseOID == TypeOID.timestamp {
      return Loss(
        from: "timestamptz", kind: .silent("two moments of the hour that a zone repeats become one"),
        test: "CAST(CAST(\(v) AS timestamp) AS timestamptz) <> \(v)")
    }
    if [TypeOID.timestamptz, TypeOID.timestamp].contains(type.oid), baseOID == TypeOID.date {
      let moment: SQL = type.oid == TypeOID.timestamp ? "timestamp" : "timestamptz"
      return Loss(
        from: "a moment", kind: .silent("the time of day is dropped"),
        test: "CAST(CAST(\(v) AS date) AS \(moment)) <> \(v)")
    }
    if let length, TypeOID.longTexts.contains(type.oid), type.modifier < 4 || type.modifier - 4 > length {
      return Loss(from: "text", kind: .refused, test: "char_length(\(v)) > \(length)")
    }
    return nil
  }

  private func lossOfInteger(_ bytes: Int, of v: SQL, from type: DescribedType, scale: Int?) -> Loss? {
    let limit: SQL = bytes == 2 ? "32767" : bytes == 4 ? "2147483647" : "9223372036854775807"
    let misses: SQL = "\(v) NOT BETWEEN -\(limit) - 1 AND \(limit)"
    if let other = TypeOID.integers[type.oid] {
      return other > bytes ? Loss(from: other == 8 ? "bigint" : "integer", kind: .refused, test: misses) : nil
    }
    let from: String
    if type.oid == TypeOID.numeric {
      from = "numeric"
    } else if TypeOID.floats[type.oid] != nil {
      from = "a float"
    } else {
      return nil
    }
    let isWhole = type.oid == TypeOID.numeric && (scale.map { $0 <= 0 } ?? false)
    return isWhole
      ? Loss(from: from, kind: .refused, test: misses)
      : Loss(from: from, kind: .silent("digits behind the point are rounded"), test: "\(v) <> round(\(v)) OR \(misses)")
  }

  private func lossOfNumeric(of v: SQL, from type: DescribedType, scale: Int?) -> Loss? {
    let exact: SQL = "CAST(\(v) AS numeric)"
    if let float = TypeOID.floats[type.oid] {
      let arrives: SQL = precision.map { "round(\(exact), \($0.scale))" } ?? exact
      return Loss(
        from: "a float", kind: .silent("only its 15 significant digits arrive"),
        test: "CAST(\(arrives) AS \(TypeName(trusted: float))) <> \(v)\(tooLarge(exact).map { " OR \($0)" } ?? "")")
    }
    guard let precision, let tooLarge = tooLarge(exact) else { return nil }
    if TypeOID.integers[type.oid] != nil { return Loss(from: "an integer", kind: .refused, test: tooLarge) }
    guard type.oid == TypeOID.numeric else { return nil }
    guard !keepsWhole(type, scale: scale) else {
      return Loss(from: "numeric", kind: .refused, test: tooLarge)
    }
    return Loss(
      from: "numeric", kind: .silent("digits beyond scale \(precision.scale) are rounded"),
      test: "\(v) <> round(\(v), \(precision.scale)) OR \(tooLarge)")
  }

  /// Whether a numeric column has room for as many digits behind the point as a value of `type` and `scale` can have.
  func keepsWhole(_ type: DescribedType, scale: Int?) -> Bool {
    guard let precision, type.oid == TypeOID.numeric else { return false }
    let declared = type.modifier >= 4 ? (((type.modifier - 4) & 2047) ^ 1024) - 1024 : Int.max
    return min(scale ?? Int.max, declared) <= precision.scale
  }

  /// Whether `value` has more digits before the point than the column; `NaN` has none.
  private func tooLarge(_ value: SQL) -> SQL? {
    precision.map { digits, scale in
      "(abs(round(\(value), \(scale))) >= 1e\(digits - scale) AND \(value) <> 'NaN')"
    }
  }
}

extension NamedAssignment {
  /// What it may lose, its value being called `v`.
  func loss(of v: SQL = "v", from type: DescribedType) -> Loss? {
    isConstant ? nil : column.loss(of: v, from: type, scale: scale)
  }
}

/// How many rows of a sample an assignment would lose something of.
package enum Sampled: Sendable, Equatable {
  case counted(rows: Int, lossy: Int)
  /// The expression could not be computed for all of them.
  case failed(reason: String)
}

/// A count over a sample of the eligible rows: `rows`, and a further column for each assignment.
package struct Sample: Sendable {
  package static let shareRole = "share"

  package let sql: RenderedSQL
  /// How much of the table is read, in per cent.
  package let share: Double
}

extension NamedBatch {
  /// The assignments that may lose something, as far as a sample may tell: a volatile value is never computed in vain.
  package func lossy(_ types: [Int: DescribedType]) -> [Int] {
    assignments.indices.filter { index in
      !assignments[index].isVolatile && types[index].flatMap { assignments[index].loss(from: $0) } != nil
    }
  }

  package func sample(_ chosen: [Int], _ types: [Int: DescribedType]) -> Sample {
    let share = Parameter(Sample.shareRole, TypeName(trusted: "double precision"))
    let values: [SQL] = chosen.map { "(\(assignments[$0].value)) AS \(Self.sampled($0))" }
    let counts: [SQL] = chosen.map { index in
      let test = types[index].flatMap { assignments[index].loss(of: "s.\(Self.sampled(index))", from: $0)?.test }
      return "count(*) FILTER (WHERE \(test ?? "false"))"
    }
    let condition: SQL = filter.map { "WHERE  (\($0))" } ?? ""
    return Sample(
      sql: RenderedSQL(
        """
        SELECT count(*),
               \(lines: counts)
        FROM  (SELECT \(lines: values)
               FROM   \(table.name) AS \(alias) TABLESAMPLE SYSTEM (\(share)) REPEATABLE (1)\(joinsOfSample)
               \(condition)) AS s
        """),
      share: table.sampleShare / 3)
  }

  private var joinsOfSample: SQL {
    let none: SQL = ""
    let joined = joins.reduce(none) { $0 + "\nLEFT   JOIN (\($1.rows)) AS \($1.name) ON (\($1.match))" }
    return lets.reduce(joined) { $0 + "\nCROSS  JOIN LATERAL (SELECT \($1.value) AS \($1.name)) AS \($1.row)" }
  }

  private static func sampled(_ index: Int) -> Identifier { Identifier(trusted: "v_\(index)") }
}

extension Table {
  /// Some hundred pages in per cent, or as many rows as they may hold where the catalog knows no pages: a partitioned table has
  /// none.
  var sampleShare: Double {
    if pages > 0 { return min(100, 30_000 / Double(pages)) }
    if let rows = estimatedRows, rows > 0 { return min(100, 3_000_000 / Double(rows)) }
    return bytes > 0 ? min(100, 30_000 * 8_192 / Double(bytes)) : 100
  }
}

extension Diagnostic {
  /// None when only a row could show a loss, and none of the sample does.
  static func lossy(_ column: Column, _ loss: Loss, _ sampled: Sampled?, at span: SourceSpan) -> Diagnostic? {
    let what: String
    switch (loss.kind, sampled) {
    case (.silent(let change), .counted(0, _)): what = "\(change); no row of a sample is eligible"
    case (.silent(let change), .counted(let rows, let lossy)): what = "\(change), in \(lossy) of \(rows) sampled rows"
    case (.silent(let change), .failed(let reason)): what = "\(change); a sample cannot be counted: \(reason)"
    case (.silent(let change), nil): what = change
    case (.refused, .counted(let rows, let lossy)):
      guard lossy > 0 else { return nil }
      what = "it does not fit in \(lossy) of \(rows) sampled rows, and a batch with such a row fails"
    case (.refused, .failed), (.refused, nil): return nil
    }
    return Diagnostic(
      "lossy-assignment", .warning, at: span,
      "\(loss.from) is assigned to \"\(column.name.name)\" of type \(column.type.spelling): \(what)",
      remedy: "say what you want: `round(…, 2)`, `trunc(…)`, `left(…, 10)`, or widen the column")
  }
}
