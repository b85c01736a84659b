package import MigratePostgres
import TestSupport

/// A table's rows, byte for byte: as `record_send` gives them, so that `1.0` is not `1.00` and no type is left out for having no
/// equality.
package struct Image: Sendable, Equatable, CustomStringConvertible {
  /// Row by row in the order of their bytes: the bytes in hexadecimal, and the row as text for whoever reads a failure.
  let rows: [Row]

  struct Row: Sendable, Equatable {
    let bytes: String
    let text: String

    static func == (left: Row, right: Row) -> Bool { left.bytes == right.bytes }
  }

  package var count: Int { rows.count }

  package var description: String { "\(rows.count) rows" }

  /// What another image has instead: `-` this one alone, `+` the other one alone. Empty when the two are equal.
  package func differences(to other: Image) -> [String] {
    guard self != other else { return [] }
    let mine = Self.counted(rows)
    let theirs = Self.counted(other.rows)
    let gone = rows.filter { (theirs[$0.bytes] ?? 0) < (mine[$0.bytes] ?? 0) }
    let come = other.rows.filter { (mine[$0.bytes] ?? 0) < (theirs[$0.bytes] ?? 0) }
    func lines(_ sign: String, _ rows: [Row]) -> [String] {
      rows.prefix(10).map { "\(sign) \($0.text)   \\x\($0.bytes.prefix(400))" }
        + (rows.count > 10 ? ["\(sign) … \(rows.count - 10) more"] : [])
    }
    return lines("-", gone) + lines("+", come)
  }

  private static func counted(_ rows: [Row]) -> [String: Int] {
    rows.reduce(into: [:]) { $0[$1.bytes, default: 0] += 1 }
  }
}

/// The image of `table`, written as SQL names it. With `script`, the image that the script would leave behind: it is rolled back.
package func image(of table: String, on server: Server, after script: String = "SELECT") async throws -> Image {
  let rows = try await server.psql(
    """
    BEGIN;
    SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL intervalstyle = 'postgres';
    SET LOCAL bytea_output = 'hex'; SET LOCAL extra_float_digits = 1;
    \(script);
    SELECT encode(record_send(image.*), 'hex'), (image.*)::text FROM \(table) AS image ORDER BY record_send(image.*)
    """)
  return Image(rows: rows.map { Image.Row(bytes: $0[0] ?? "", text: $0[1] ?? "") })
}
