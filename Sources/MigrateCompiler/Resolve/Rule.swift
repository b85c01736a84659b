internal import MigrateCatalog
internal import MigratePlan
internal import MigrateSQL

/// A rule of `validation` whose names are resolved.
struct Rule: Sendable {
  let reason: String
  let condition: RowCondition
  /// As the definition writes it, for people.
  let text: String
  let place: DefinitionPlace
}

/// A condition on the row as it would be written, with the places of the columns left open: each statement has the new values
/// somewhere else.
struct RowCondition: Sendable {
  enum Part: Sendable {
    case sql(SQL)
    /// What the column of this number becomes, or what it holds when nothing is assigned to it.
    case written(Int)
    /// What the column of this number holds.
    case held(Int)
  }

  let parts: [Part]
  /// Whether it holds a query of its own, or names the row as a whole. Names inside of a query can be the query's, which only the
  /// database knows, so that it is told of the row's columns by a query around all.
  let hasScope: Bool

  func sql(written: (Int) -> SQL, held: (Int) -> SQL) -> SQL {
    parts.reduce("") { sql, part in
      switch part {
      case .sql(let text): sql + text
      case .written(let number): sql + written(number)
      case .held(let number): sql + held(number)
      }
    }
  }

  /// The columns that it names, each once.
  var columns: [Int] {
    let named = parts.compactMap { part -> Int? in
      switch part {
      case .sql: nil
      case .written(let number), .held(let number): number
      }
    }
    return Array(Set(named)).sorted()
  }
}
