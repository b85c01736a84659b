package import Migrate
import MigratePostgres
import MigrateTestSupport
import TestSupport

/// A shop's products, a twin of them that only the writers touch, and an oracle: a trigger that logs what a run overwrote,
/// as the server saw it.
///
/// The oracle comes after the plan is made, so the plan does not know that there is a trigger.
package struct Shop: Sendable {
  package let trial: Trial
  package let rows: Int

  package var server: Server { trial.server }

  /// `price * 2` of all active products, ten in a batch.
  package static let definition = """
    batch: prices
    source: {table: shop.products, as: p}
    where: status = 'active'
    set: {price: p.price * 2}
    batch_size: 10
    """

  /// The same by a factor that is joined, and a value that is computed once a row.
  package static let joined = """
    batch: prices
    source: {table: shop.products, as: p}
    where: status = 'active'
    join:
      rate:
        query: SELECT id AS product, max(length(status)) / 3 AS factor FROM shop.twin GROUP BY id
        match: rate.product = p.id
    let: {dearer: p.price * rate.factor}
    set: {price: dearer}
    batch_size: 10
    """

  /// The same, done by so many workers.
  package static func definition(workers: Int) -> String { "\(definition)\nparallel: \(workers)" }

  /// Products 10, 20, 30, … at prices 1, 2, 3, …; 60 is idle. A shop that was there is replaced.
  package init(_ server: Server, rows: Int = 20) async throws {
    trial = Trial(server)
    self.rows = rows
    try await server.psql(
      """
      SET client_min_messages = error;
      DROP SCHEMA IF EXISTS shop, oracle CASCADE;
      CREATE SCHEMA shop;
      CREATE TABLE shop.products (id bigint PRIMARY KEY, price numeric NOT NULL, status text NOT NULL, note text);
      INSERT INTO shop.products SELECT n * 10, n, CASE WHEN n = 6 THEN 'idle' ELSE 'active' END, 'old'
      FROM generate_series(1, \(rows)) AS n;
      CREATE TABLE shop.items (product bigint REFERENCES shop.products);
      CREATE TABLE shop.twin (LIKE shop.products INCLUDING ALL);
      INSERT INTO shop.twin TABLE shop.products;
      """)
  }

  /// Logs old and new price of each row that a worker writes. Named so that it fires before other triggers.
  package func watch() async throws {
    try await server.psql(
      """
      CREATE SCHEMA oracle;
      CREATE TABLE oracle.overwritten (seq bigint GENERATED ALWAYS AS IDENTITY, xid xid8, id bigint, old numeric, new numeric);
      CREATE FUNCTION oracle.log() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        INSERT INTO oracle.overwritten (xid, id, old, new) VALUES (pg_current_xact_id(), OLD.id, OLD.price, NEW.price);
        RETURN NULL;
      END $$;
      CREATE TRIGGER a_oracle AFTER UPDATE OF price ON shop.products
      FOR EACH ROW WHEN (current_setting('application_name') LIKE 'migrate run%') EXECUTE FUNCTION oracle.log();
      """)
  }

  /// Compiles the definition, lets the oracle watch, and begins a run of the plan after `edit`.
  package func begin(
    _ definition: String = Self.definition, knowing isKnown: Bool = false, edit: (Plan) throws -> Plan = { $0 }
  ) async throws -> Int64 {
    if isKnown { try await watch() }
    let plan = try edit(try await trial.plan(definition)).overlooking("a_oracle")
    if !isKnown { try await watch() }
    return try await trial.begin(plan)
  }

  /// Rows changed without an undo of the very value, and undo of rows that were not overwritten. A change that no entry of the
  /// ledger covers counts too.
  package func wrong(_ run: Int64) async throws -> Wrong {
    let rows = try await server.psql(
      """
      WITH seen AS (
        SELECT xid, id, (array_agg(old ORDER BY seq))[1] AS old, (array_agg(new ORDER BY seq DESC))[1] AS new
        FROM   oracle.overwritten
        WHERE  xid NOT IN (SELECT xid FROM migrate.batches WHERE kind = 'revert' OR run <> \(run))
        GROUP  BY xid, id
      ), kept AS (
        SELECT b.xid, d.k AS id, d.o AS old, d.n AS new
        FROM   migrate.batches AS b
        JOIN   migrate.undo_\(run)_1 AS u USING (slice, ordinal, part), unnest(u.k_1, u.o_2, u.n_2) AS d(k, o, n)
        WHERE  b.run = \(run) AND b.kind = 'apply'
      )
      SELECT (SELECT count(*) FROM (TABLE seen EXCEPT ALL TABLE kept) AS x), (SELECT count(*) FROM (TABLE kept EXCEPT ALL TABLE seen) AS x),
             (SELECT count(*) FROM seen)
      """)
    guard let row = rows.first, let unkept = row[0].flatMap({ Int($0) }), let unseen = row[1].flatMap({ Int($0) })
    else {
      throw TestSupportError("the oracle does not answer")
    }
    return Wrong(unkept: unkept, unseen: unseen)
  }

  /// What is not as it should be; see ``wrong(_:)``.
  package struct Wrong: Sendable, Equatable, CustomStringConvertible {
    /// Changed by a worker, and undo does not hold that old value.
    package let unkept: Int
    /// In undo, and not what was overwritten.
    package let unseen: Int

    package init(unkept: Int = 0, unseen: Int = 0) {
      self.unkept = unkept
      self.unseen = unseen
    }

    package var total: Int { unkept + unseen }
    package var description: String { "\(unkept) changed without undo, \(unseen) in undo but not overwritten" }
  }

  /// Products that are not what their twins are, either way.
  package var strangers: [[String?]] {
    get async throws {
      try await server.psql(
        """
        (SELECT 'product' AS which, p::text FROM shop.products AS p WHERE NOT EXISTS (SELECT FROM shop.twin AS t WHERE record_image_eq(t, p)))
        UNION ALL
        (SELECT 'twin', t::text FROM shop.twin AS t WHERE NOT EXISTS (SELECT FROM shop.products AS p WHERE record_image_eq(t, p)))
        ORDER BY 1, 2
        """)
    }
  }

  /// The counts of the ledger, summed: read, changed, unchanged.
  package func counts(_ run: Int64, kind: String = "apply") async throws -> [String?] {
    try await server.psql(
      """
      SELECT coalesce(sum(rows_read), 0), coalesce(sum(rows_changed), 0), coalesce(sum(rows_unchanged), 0)
      FROM   migrate.batches WHERE run = \(run) AND kind = '\(kind)'
      """
    ).first ?? []
  }
}

/// Runs `body` with a shop in a database of its own.
@discardableResult
package func withShop<Value: Sendable>(rows: Int = 20, _ body: (Shop) async throws -> Value) async throws -> Value {
  try await withLedger { server in try await body(Shop(server, rows: rows)) }
}
