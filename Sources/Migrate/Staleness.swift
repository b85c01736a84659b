package import MigratePlan
internal import MigratePostgres

/// Why the statistics that a plan's estimate comes from may lie.
package enum Staleness: Sendable, Equatable {
  /// The table has rows, and was never analyzed.
  case neverAnalyzed(table: String)
  /// So many rows were written since the last ANALYZE, which had counted `of`.
  case changed(table: String, rows: Int, of: Int)
}

extension Session {
  /// What is wrong with the statistics of the plan's table, its partitions included; `nil` when they will do.
  ///
  /// A fifth of the rows, and 50: twice what lets autovacuum analyze a table when nobody has said otherwise, so whoever has it on is
  /// told only while it lags behind.
  package borrowing func staleness(of plan: Plan) throws(CompileFailure) -> Staleness? {
    guard let name = plan.tables.first?.name, !plan.isFrozen else { return nil }
    do throws(PostgresError) {
      let row = try connection.query(
        """
        WITH leaves AS (
          SELECT c.oid, c.reltuples, c.relpages, n.nspname, c.relname,
                 pg_relation_size(c.oid) / current_setting('block_size')::integer AS pages
          FROM  (SELECT to_regclass($1::text)::oid UNION SELECT p.relid::oid FROM pg_partition_tree(to_regclass($1::text)) AS p) AS l(oid)
          JOIN   pg_class AS c ON c.oid = l.oid AND c.relkind = 'r' AND pg_relation_size(c.oid) > 0
          JOIN   pg_namespace AS n ON n.oid = c.relnamespace
        )
        SELECT coalesce(sum(greatest(l.reltuples, 0)), 0)::bigint AS rows,
               -- A load counts behind an ANALYZE in its own transaction, which has seen it: the table is as long as it was then.
               coalesce(sum(pg_stat_get_mod_since_analyze(l.oid))
                        FILTER (WHERE l.pages <> l.relpages
                                      OR pg_stat_get_tuples_updated(l.oid) + pg_stat_get_tuples_deleted(l.oid) > 0), 0)::bigint AS changed,
               -- VACUUM and CREATE INDEX count the rows, too, and look at no values; to whom policies hide rows these are hidden.
               coalesce(bool_or(l.reltuples < 0
                                OR l.reltuples > 0 AND has_table_privilege(l.oid, 'SELECT') AND NOT row_security_active(l.oid)
                                   AND NOT EXISTS (SELECT FROM pg_stats AS s WHERE s.schemaname = l.nspname AND s.tablename = l.relname)),
                        false) AS never,
               (SELECT format('%I.%I', n.nspname, c.relname)
                FROM   pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
                WHERE  c.oid = to_regclass($1::text)) AS name
        FROM   leaves AS l
        """, [name]
      ).onlyRow
      let table = try row["name"] ?? name
      if try row.bool("never") { return .neverAnalyzed(table: table) }
      let (rows, changed) = (try row.int("rows"), try row.int("changed"))
      return changed > 50 + rows / 5 ? .changed(table: table, rows: changed, of: rows) : nil
    } catch { throw .database(error) }
  }
}
