internal import CLibpq

/// A column of a result, or of a statement that was only described.
package struct ResultColumn: Sendable, Equatable {
  package let name: String
  /// `pg_type.oid`.
  package let type: UInt32
  /// The type's modifier, such as the length of varchar(n); -1 is none.
  package let modifier: Int32
}

/// What a statement gave: rows of texts, in memory as libpq received them.
package struct Rows: Sendable, RandomAccessCollection {
  private let result: Result
  package let columns: [ResultColumn]

  init(owning handle: OpaquePointer) {
    result = Result(handle: handle)
    columns = (0..<PQnfields(handle)).map { index in
      ResultColumn(
        name: PQfname(handle, index).map { String(cString: $0) } ?? "", type: PQftype(handle, index),
        modifier: PQfmod(handle, index))
    }
  }

  package var startIndex: Int { 0 }
  package var endIndex: Int { Int(PQntuples(result.handle)) }
  package subscript(index: Int) -> Row { Row(rows: self, index: index) }

  /// The statement's own word for what it did: `UPDATE 3`.
  package var commandTag: String { String(cString: PQcmdStatus(result.handle)) }

  /// The number in the command tag: rows changed, or rows selected; `nil` where there is none.
  package var affectedRows: Int? { Int(String(cString: PQcmdTuples(result.handle))) }

  package func hasColumn(_ name: String) -> Bool { columns.contains { $0.name.utf8.elementsEqual(name.utf8) } }

  /// - Throws: unless there is exactly one row.
  package var onlyRow: Row {
    get throws(PostgresError) {
      guard count == 1 else { throw .unreadable("\(count) rows came where one was expected") }
      return self[0]
    }
  }

  /// The bytes of a value; `nil` is NULL.
  func bytes(row: Int, column: Int) throws(PostgresError) -> UnsafeRawBufferPointer? {
    guard indices.contains(row) else { throw .unreadable("there is no row \(row) in a result of \(count)") }
    let (row, column) = (Int32(row), Int32(column))
    guard PQgetisnull(result.handle, row, column) == 0 else { return nil }
    return UnsafeRawBufferPointer(
      start: PQgetvalue(result.handle, row, column), count: Int(PQgetlength(result.handle, row, column)))
  }

  func position(of column: Column) throws(PostgresError) -> Int {
    switch column.reference {
    case .index(let index) where columns.indices.contains(index): return index
    case .index(let index): throw .unreadable("there is no column \(index) in a result of \(columns.count)")
    case .name(let name):
      // By bytes; PQfnumber would fold the name to lower case.
      guard let index = columns.firstIndex(where: { $0.name.utf8.elementsEqual(name.utf8) }) else {
        throw .unreadable("the result has no column \(name)")
      }
      return index
    }
  }

  /// Which column: `row["name"]` or `row[0]`.
  package struct Column: Sendable, ExpressibleByStringLiteral, ExpressibleByIntegerLiteral {
    enum Reference: Sendable { case index(Int), name(String) }
    let reference: Reference

    package init(stringLiteral name: String) { reference = .name(name) }
    package init(integerLiteral index: Int) { reference = .index(index) }
    package static func named(_ name: String) -> Column { Column(stringLiteral: name) }
    package static func at(_ index: Int) -> Column { Column(integerLiteral: index) }
  }

  /// Keeps libpq's result as long as rows of it are in use.
  private final class Result: Sendable {
    /// Only read from here on; PQclear waits for the last reader.
    nonisolated(unsafe) let handle: OpaquePointer

    init(handle: OpaquePointer) { self.handle = handle }
    deinit { PQclear(handle) }
  }
}
