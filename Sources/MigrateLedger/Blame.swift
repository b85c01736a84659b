package import MigratePlan
package import MigratePostgres

extension Ledger {
  /// What the definition of `run` wrote, or asks of its rows, that an error can have come from, as its plan remembers it: the
  /// column that the database names, those of the constraint that it names, or the expressions that could not be computed.
  ///
  /// - Parameter failure: of a batch that was applied.
  package static func places(
    blamedFor failure: Failure, _ connection: borrowing Connection, _ run: Int64
  ) throws(PostgresError) -> [DefinitionPlace] {
    let rows = try connection.query(
      """
      WITH written AS (
        SELECT c.item, t.oid, c.place AS ordinal
        FROM   migrate.runs AS r,
               jsonb_array_elements(r.outline -> 'steps')  AS s(step),
               jsonb_array_elements(s.step -> 'columns'
                                    || CASE WHEN s.step -> 'where' <> 'null' THEN s.step -> 'where' ELSE '[]' END
                                    || coalesce(s.step -> 'validation', '[]')) WITH ORDINALITY AS c(item, place),
               LATERAL (SELECT CAST(r.outline #>> '{tables,0,oid}' AS oid) AS oid) AS t
        WHERE  r.run = $1::bigint
      ), blamed AS (
        SELECT w.ordinal, w.item,
               a.attname = $2::text
               OR EXISTS (SELECT FROM pg_constraint AS c
                          WHERE  c.conrelid = w.oid AND c.conname = $3::text AND a.attnum = ANY (c.conkey))
               OR EXISTS (SELECT FROM pg_index AS i JOIN pg_class AS n ON n.oid = i.indexrelid
                          WHERE  i.indrelid = w.oid AND n.relname = $3::text AND a.attnum = ANY (i.indkey)) AS named,
               format_type(a.atttypid, a.atttypmod) AS type
        FROM   written AS w
        LEFT   JOIN pg_attribute AS a ON a.attrelid = w.oid AND a.attname = w.item ->> 'name'
      )
      SELECT coalesce(b.named, false) AS named, b.type, b.item ->> 'value' AS value, b.item #>> '{place,file}' AS file,
             b.item #>> '{place,line}' AS line, b.item #>> '{place,column}' AS "column",
             b.item #>> '{place,width}' AS width, b.item #>> '{place,text}' AS text
      FROM   blamed AS b
      WHERE  b.item ? 'place'
      ORDER  BY b.ordinal
      """, [String(run), failure.column, failure.constraint])
    var candidates: [Candidate] = []
    for row in rows { candidates.append(try Candidate(row)) }
    let named = candidates.filter(\.isNamed)
    if !named.isEmpty { return named.map(\.place) }
    guard failure.column == nil, failure.constraint == nil, let state = failure.sqlState,
      state.utf8.starts(with: "22".utf8)
    else { return [] }
    return Candidate.computing(candidates, failure).map(\.place)
  }
}

/// A piece of a definition that an error can have come from.
private struct Candidate {
  let isNamed: Bool
  /// The column's; `nil` for `where` and a rule.
  let type: String?
  let value: String
  let place: DefinitionPlace

  init(_ row: Row) throws(PostgresError) {
    isNamed = try row.bool("named")
    type = try row["type"]
    value = try row.text("value")
    place = DefinitionPlace(
      file: try row.text("file"), line: try row.int("line"), column: try row.int("column"),
      width: try row.int("width"), text: try row.text("text"))
  }

  /// The expressions that can have met a value of class 22. The server does not say which; what it says of the value tells
  /// them apart where it can.
  static func computing(_ all: [Candidate], _ failure: Failure) -> [Candidate] {
    let fitting: [Candidate]
    switch failure.sqlState {
    case "22012": fitting = all.filter { $0.divides }
    // The type's name is the same in every language of the message.
    case "22001": fitting = all.filter { $0.type.map(failure.message.contains) ?? false }
    case "22003":
      // "A field with precision 10, scale 2 must round to an absolute value less than 10^8."
      let digits = (failure.detail ?? "").split { !$0.isNumber }.prefix(2).joined(separator: ",")
      let type = digits.isEmpty ? nil : "numeric(\(digits))"
      fitting = all.filter { $0.type != nil && $0.type == type }
    case .some, nil: fitting = []
    }
    return fitting.isEmpty ? all.filter { !WrittenColumn.isConstant($0.value) } : fitting
  }

  private var divides: Bool {
    value.utf8.contains { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "%") }
      || ["mod", "div"].contains { value.lowercased().contains($0) }
  }
}
