internal import MigrateCatalog
internal import MigratePlan
internal import MigrateSQL

/// A part of the rows that is done first. Both passes go through all keys: the batches of the first take the rows of the part, those
/// of the second the others, so that each row belongs to one of them whatever happens in between.
extension ResolvedBatch {
  /// Which rows of its stretch a batch takes; none in a plan without a canary.
  var canaryConditions: [SQL] { canary.map { [Self.condition($0, ofKey: keyAsText)] } ?? [] }

  /// By a hash, which spreads them over the whole table, the same ones each time. PostgreSQL places rows in hash partitions by this
  /// function, so that it stays what it is over versions.
  private static func condition(_ canary: PlannedCanary, ofKey key: SQL) -> SQL {
    let (part, whole) = (SQL(pieces: [.text(String(canary.part))]), SQL(pieces: [.text(String(PlannedCanary.whole))]))
    return """
      (\(Role.canary) IS NULL
       OR ((hashtextextended(\(key) COLLATE "C", 0) & 9223372036854775807) % \(whole) < \(part)) = \(Role.canary))
      """
  }

  /// The same for the collected keys, whose stretch has both kinds.
  var canaryOfCollected: SQL {
    guard let canary else { return "" }
    let texts: [SQL] = zip(key, key.indices).map { $0.text(of: "d.\(Name.key($1))") }
    return "\n  AND  \(Self.condition(canary, ofKey: Self.whole(texts)))"
  }

  private var keyAsText: SQL { Self.whole(zip(key, keyColumns).map { $0.text(of: $1) }) }

  /// A key of several columns is hashed as the array that the ledger keeps it as.
  private static func whole(_ texts: [SQL]) -> SQL {
    texts.count == 1 ? texts[0] : "CAST(ARRAY[\(list: texts)] AS text)"
  }

  /// For each of the passes, `true` being the first.
  static let bothPasses: SQL = " CROSS JOIN (VALUES (true), (false)) AS c(canary)"

  /// For one worker, who walks all keys twice.
  static let slicesOfCanary = Statement(
    .slices, why: "the canary goes through all keys, then the rest does",
    """
    INSERT INTO migrate.slices (run, slice, canary, through_key)
    VALUES (\(Role.run), 0, true, \(Role.upperKey)), (\(Role.run), 1, false, \(Role.upperKey))
    """)

  var canaryHold: Statement {
    Statement(
      .holdWhen("canary"), why: "so long somebody can look at it, from its last batch on",
      """
      SELECT format('%s; until %s', c.words, to_char(c.until AT TIME ZONE \(Literal(timezone)), 'YYYY-MM-DD HH24:MI:SS ') || \(Literal(timezone)))
      FROM   migrate.canary_done(\(Role.run)) AS c
      WHERE  c.until > clock_timestamp()
      """)
  }
}
