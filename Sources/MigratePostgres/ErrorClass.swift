/// What an error asks of the one who meets it.
///
/// There is no class *ambiguous*: whether a COMMIT without an answer took effect is a question to the ledger, and only the
/// caller knows that it was a COMMIT. It asks ``PostgresError/endsConnection``.
package enum ErrorClass: Sendable, Equatable, CaseIterable {
  /// Try again, with backoff: the same statement can succeed without anybody mending anything.
  case transient
  /// A row is at fault: the batch fails there.
  case rowBad
  /// The server, its disk or its memory: pause; no row is to blame.
  case environment
  /// The statement is wrong and stays so: stop.
  case definition
}

extension SQLState {
  /// Source: PostgreSQL manual, appendix A, and src/backend/utils/errcodes.txt.
  package var errorClass: ErrorClass {
    switch code {
    // Cancelled, or out of time: one code for both. A caller that asked for the cancel knows it by a flag of its own.
    case "57014": return .transient
    case "55P03": return .transient
    // Starting up; an idle session or transaction ended by its timeout.
    case "57P03", "57P05", "25P03": return .transient
    case "72000": return .transient
    case "25006": return .environment
    // No such database: of the classes that follow, 3D stands for a place and not for a statement.
    case "3D000": return .environment
    // A row or an index entry too large; the rest of the family is about the statement.
    case "54000": return .rowBad
    default: break
    }
    switch family {
    // The ledger's own.
    case "MG": return .definition
    case "08", "40": return .transient
    // 20: a CASE of PL/pgSQL without a branch for the value. 21: a subquery gave two rows. 27: a trigger has written the row that it
    // was called for. 2F, 38, 39: a function failed. 44: a view's CHECK OPTION. P0: RAISE in PL/pgSQL.
    case "20", "21", "22", "23", "27", "2F", "38", "39", "44", "P0": return .rowBad
    case "28", "53", "57", "58", "F0", "HV", "XX": return .environment
    default: return isReservedForServer ? .definition : .rowBad
    }
  }

  /// Codes that begin with 0 to 4 or A to H belong to the SQL standard and 54, 55 to PostgreSQL; all others were chosen by
  /// whoever wrote RAISE … USING ERRCODE, usually in a trigger that refuses a row.
  private var isReservedForServer: Bool {
    guard let first = code.utf8.first else { return true }
    if family == "54" || family == "55" { return true }
    let reserved = [UInt8(ascii: "0")...UInt8(ascii: "4"), UInt8(ascii: "A")...UInt8(ascii: "H")]
    return reserved.contains { $0.contains(first) }
  }
}
