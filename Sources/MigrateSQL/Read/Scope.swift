/// What the names at one place of an SQL text can stand for: the queries around it that have a FROM of their own.
package struct Scope: Sendable, Equatable {
  /// The range names of each query around this place, innermost first. Empty outside of every sub-select.
  package let queries: [[RangeName]]

  package static let top = Scope(queries: [])

  package init(queries: [[RangeName]]) { self.queries = queries }

  /// How many queries stand around this place.
  package var depth: Int { queries.count }

  /// What `qualifier` stands for, searched as SQL does, from the innermost query outwards; `nil` when no query binds it, so
  /// that it belongs to what surrounds the text.
  package func binding(of qualifier: Identifier) -> RangeName? {
    for names in queries {
      if let found = names.first(where: { $0.name == qualifier }) { return found }
    }
    return nil
  }

  func entering(_ names: [RangeName]) -> Scope { Scope(queries: [names] + queries) }
}

/// A name that a FROM gives to a relation: its alias, or its own.
package struct RangeName: Sendable, Equatable {
  package enum Source: Sendable, Equatable {
    case table(schema: Identifier?, name: Identifier)
    case commonTable(Identifier)
    case subquery
    case function
    /// A join that has an alias; the names inside are hidden behind it.
    case join
  }

  package let name: Identifier
  package let source: Source
  /// The columns, where the text itself tells them all; `nil` where only the catalog knows.
  package let columns: [Identifier]?
}
