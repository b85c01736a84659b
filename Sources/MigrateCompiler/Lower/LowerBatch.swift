internal import MigrateCatalog
internal import MigratePlan
internal import MigrateSQL

/// The transaction that a batch is, apart from its steps.
extension ResolvedBatch {
  /// Whatever the server, the role or a pooler's last user have set, the same text means the same. Gone at each COMMIT.
  var settings: Statement {
    let schemas = (["pg_catalog"] + searchPath.filter { !$0.utf8.elementsEqual("pg_catalog".utf8) }).map(
      Identifier.init(trusted:))
    let path: [SQL] = schemas.map { "\($0)" } + ["pg_temp"]
    let pinned: [(String, SQL)] =
      [
        ("search_path", "\(list: path)"), ("timezone", "\(Literal(timezone))"), ("datestyle", "'ISO, YMD'"),
        ("intervalstyle", "'postgres'"), ("extra_float_digits", "1"), ("bytea_output", "'hex'"),
        ("xmloption", "'content'"),
        ("lc_numeric", "'C'"), ("lc_monetary", "'C'"), ("row_security", "off"), ("standard_conforming_strings", "on"),
        // A batch is planned anew each time, and compiling it would cost more than it saves.
        ("jit", "off"),
        // A crash can take back the last batches, rows, undo and ledger together; resume does them again. What ends a run is
        // committed as the server has it set, and with it all that was before.
        ("synchronous_commit", "off"),
        ("statement_timeout", "0"), ("lock_timeout", lockWait), ("idle_in_transaction_session_timeout", "'60s'"),
        ("client_connection_check_interval", "'1s'"),
      ]
    let lines: [SQL] = pinned.map { SQL(pieces: [.text("SET LOCAL \($0.0) = "), .block($0.1)]) }
    return Statement(
      .settings, why: "what decides about the meaning of a text is said, in each transaction",
      SQL.joined(lines, by: ";\n"))
  }

  private var lockWait: SQL {
    "\(Literal("\(Int((pace.lockTimeout ?? Pace.usualLockTimeout) / .milliseconds(1)))ms"))"
  }

  /// Sent with `BEGIN`. A trigger, a rule or a column that comes between the snapshot and the first row would be met by the change
  /// and not be seen before it (P21).
  var lock: Statement {
    Statement(
      .lock, why: "before the snapshot, which LOCK does not take: what others do to the table is seen, or has to wait",
      "LOCK TABLE \(walked) IN ROW EXCLUSIVE MODE")
  }

  /// The last statement of a batch. FOR SHARE, since a plain read under REPEATABLE READ does not see that another worker has
  /// taken over; last, so that a takeover waits for nothing but a commit (C10).
  var finish: Statement {
    let kept: SQL =
      switch undo {
      case .captured(let columns, _): "cardinality(u.\(Name.new(columns[0])))"
      case .none: "cardinality(u.k_1)"
      }
    let changed: SQL = changesAsCaptured ? "coalesce(\(Role.changed), \(kept), 0)" : "coalesce(\(kept), 0)"
    // Under one snapshot the same conditions find the same rows, so to compare the numbers is enough.
    let exact: SQL = changesAsCaptured ? "coalesce(u.exact, \(Role.changed) = coalesce(\(kept), 0))" : "u.exact"
    let (column, unchanged, rejected): (SQL, SQL, SQL) =
      rejects
      ? (", rows_rejected", "u.rows_read - c.rows_changed - u.rows_rejected", ", u.rows_rejected")
      : ("", "u.rows_read - c.rows_changed", "")
    return Statement(
      .finish, why: "the ledger's entry; no row: another worker has taken over; not exact: rows came in between",
      heartbeat + """

        INSERT INTO migrate.batches (run, kind, slice, ordinal, part, after_key, through_key,
                                     rows_read, rows_changed, rows_unchanged\(column), epoch, exact)
        SELECT \(Role.run), 'apply', u.slice, u.ordinal, u.part, \(Role.afterKey), \(Role.throughKey),
               u.rows_read, c.rows_changed, \(unchanged)\(rejected), f.epoch,
               \(exact)
        FROM   \(Name.undo(Self.step)) AS u
        CROSS  JOIN LATERAL (SELECT \(changed) AS rows_changed) AS c
        CROSS  JOIN (SELECT epoch FROM migrate.fence WHERE run = \(Role.run) AND epoch = \(Role.epoch) FOR SHARE) AS f
        WHERE  \(Self.place)
        RETURNING exact, rows_read, rows_changed\(column), xid,
                  (SELECT coalesce(cardinality(u.k_1), 0)
                   FROM   \(Name.undo(Self.step)) AS u
                   WHERE  \(Self.place)) AS rows_captured
        """)
  }

  var heartbeat: SQL {
    """
    WITH heartbeat AS (
      UPDATE migrate.workers
      SET    heartbeat_at = clock_timestamp()
      WHERE  run = \(Role.run) AND worker = \(Role.worker) AND epoch = \(Role.epoch)
    )
    """
  }
}

extension ResolvedCheck {
  /// A query that must find nothing; what it finds is shown.
  ///
  /// - Parameter batch: the clause that gives it the source rows of a batch.
  func statement(batch: SQL? = nil) -> Statement {
    Statement(
      .check(name), why: "must return no row",
      """
      \(batch ?? "")SELECT to_jsonb(found)
      FROM  (\(query)) AS found
      LIMIT  5
      """)
  }
}
