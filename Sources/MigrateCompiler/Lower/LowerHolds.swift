internal import MigrateCatalog
internal import MigratePlan
internal import MigrateSQL

/// What makes a run hold: queries that are asked between batches. A row is a reason, in words; no row lets the run go on.
extension ResolvedBatch {
  func statement(_ hold: ResolvedHold) -> Statement {
    switch hold {
    case .query(let check):
      Statement(
        .holdWhen(check.name), why: "while it finds a row",
        """
        SELECT 'its query finds a row'
        FROM  (\(check.query)) AS found
        LIMIT  1
        """)
    case .autovacuum: autovacuum
    case .wraparound: wraparound
    case .walArchive: Self.walArchive
    case .slotLag(let bytes): Self.slotLag(bytes)
    case .freeDisk(let bytes): Self.freeDisk(bytes)
    case .activeSessions(let most): Self.activeSessions(most)
    case .replicationLag(let most): Self.replicationLag(most)
    case .window(let window): Self.window(window)
    case .canary: canaryHold
    }
  }

  /// The table, and what it is made of. Of a source that is read once it is those that steps write.
  private var parts: SQL {
    let tables = sourceRows.isFrozen ? steps.compactMap { $0.written?.table.name } : [table.name]
    let found: [SQL] = tables.map { name in
      let name: SQL = "to_regclass(\(Literal("\(name.schema.quoted).\(name.name.quoted)")))"
      return """
        SELECT \(name)
        UNION
        SELECT d.relid FROM pg_partition_tree(\(name)) AS d
        """
    }
    return found.isEmpty ? "SELECT CAST(NULL AS oid)" : .joined(found, by: "\nUNION\n")
  }

  /// By its lock, which every role sees: what autovacuum does is hidden from those without pg_read_all_stats.
  private var autovacuum: Statement {
    Statement(
      .holdWhen("autovacuum"), why: "VACUUM, ANALYZE and CREATE INDEX CONCURRENTLY hold this lock while they work",
      """
      SELECT format('pid %s vacuums, analyzes or indexes %s', l.pid, l.relation::regclass)
      FROM   pg_locks AS l
      WHERE  l.locktype = 'relation'
        AND  l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND  l.mode = 'ShareUpdateExclusiveLock' AND l.granted
        AND  l.relation IN (\(parts))
      LIMIT  1
      """)
  }

  private var wraparound: Statement {
    Statement(
      .holdWhen("wraparound"), why: "a vacuum is due that must come before the transaction numbers run out",
      """
      SELECT format('%s is %s transactions old', c.oid::regclass, age(c.relfrozenxid))
      FROM   pg_class AS c
      WHERE  c.relkind IN ('r', 't')
        AND  age(c.relfrozenxid) > current_setting('autovacuum_freeze_max_age')::integer
        AND  (c.oid IN (\(parts))
              OR c.oid IN (SELECT r.reltoastrelid FROM pg_class AS r WHERE r.oid IN (\(parts))))
      ORDER  BY age(c.relfrozenxid) DESC
      LIMIT  1
      """)
  }

  private static let walArchive = Statement(
    .holdWhen("wal_archive"), why: "what cannot be archived piles up on the server's disk",
    """
    SELECT format('%s could not be archived', a.last_failed_wal)
    FROM   pg_stat_archiver AS a
    WHERE  a.last_failed_time > coalesce(a.last_archived_time, '-infinity')
    """)

  private static func slotLag(_ bytes: Int) -> Statement {
    Statement(
      .holdWhen("slot_lag"), why: "a replication slot keeps all WAL that its reader has not got yet",
      """
      SELECT format('slot %s keeps %s of WAL', s.slot_name, pg_size_pretty(l.kept))
      FROM   pg_replication_slots AS s
      CROSS  JOIN LATERAL (SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn) AS kept) AS l
      WHERE  l.kept > \(bytes)
      ORDER  BY l.kept DESC
      LIMIT  1
      """)
  }

  private static func freeDisk(_ bytes: Int) -> Statement {
    Statement(
      .holdWhen("free_disk"), why: "a disk that is full stops the whole server; df is asked, on the server",
      """
      SELECT s.reason
      FROM   migrate.short_of_disk(\(bytes)) AS s(reason)
      WHERE  s.reason IS NOT NULL
      """)
  }

  /// To a role that may not see what others do, all of them seem idle: a condition that would never hold.
  private static let blind: SQL = """
    SELECT 'this role does not see other sessions: GRANT pg_read_all_stats TO ' || quote_ident(current_user)
    WHERE  NOT pg_has_role('pg_read_all_stats', 'USAGE')
    """

  private static func activeSessions(_ most: Int) -> Statement {
    Statement(
      .holdWhen("max_active_sessions"), why: "clients' sessions that do something now, without the run's own",
      """
      \(blind)
      UNION  ALL
      SELECT format('%s sessions are active', count(*))
      FROM   pg_stat_activity AS a
      WHERE  a.state = 'active' AND a.backend_type = 'client backend' AND a.pid <> pg_backend_pid()
        AND  NOT EXISTS (SELECT FROM migrate.workers AS h WHERE h.run = \(Role.run) AND h.pid = a.pid)
        AND  a.application_name !~ ('^migrate watch ' || \(Role.run) || '( |$)')
      HAVING count(*) > \(most)
      """)
  }

  private static func replicationLag(_ most: Duration) -> Statement {
    let limit: SQL = "interval \(Literal("\(Int(most / .milliseconds(1)))ms"))"
    return Statement(
      .holdWhen("max_replication_lag"),
      why:
        "replay_lag stands still when a standby does; then the time counts for which it has not come past a mark in the WAL",
      """
      \(blind)
      UNION  ALL
      SELECT format('standby %s is %s behind', l.application_name, date_trunc('milliseconds', l.lag))
      FROM  (SELECT s.application_name,
                    greatest(s.replay_lag,
                             CASE WHEN s.replay_lsn < h.marked_lsn THEN clock_timestamp() - h.marked_at END) AS lag
             FROM   pg_stat_replication AS s
             LEFT   JOIN migrate.asking AS h ON h.run = \(Role.run)) AS l
      WHERE  l.lag > \(limit)
      LIMIT  1
      """)
  }

  private static func window(_ window: PlannedWindow) -> Statement {
    Statement(
      .holdWhen("window"), why: "a batch begins only when it will have ended before the window closes",
      """
      SELECT 'opens at ' || to_char(f.opens_at AT TIME ZONE \(Literal(window.zone)), 'YYYY-MM-DD HH24:MI ') || \(Literal(window.zone))
      FROM   migrate.next_window(time \(Literal(window.opens)), time \(Literal(window.closes)), \(Literal(window.zone)),
                                 clock_timestamp(), migrate.batch_time(\(Role.run)) + interval '1s') AS f
      WHERE  f.opens_at > clock_timestamp()
      """)
  }
}
