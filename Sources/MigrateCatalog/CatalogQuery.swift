internal import MigrateJSON
internal import MigrateSQLFiles

/// What the compiler asks of the database about one definition.
package struct CatalogQuery: Sendable {
  package struct Name: Sendable, Hashable {
    package let schema: String?
    package let name: String

    package init(schema: String?, name: String) {
      self.schema = schema
      self.name = name
    }
  }

  package let searchPath: [String]
  package let tables: [Name]
  package let functions: [Name]
  package let types: [String]

  package init(searchPath: [String], tables: [Name], functions: [Name], types: [String]) {
    self.searchPath = searchPath
    self.tables = tables
    self.functions = functions
    self.types = types
  }

  /// The query; it takes ``argument`` as `$1` and returns one row with one document.
  package static var text: String { Scripts.catalog }

  package var argument: String {
    JSON.object([
      .init("search_path", .strings(searchPath)),
      .init("tables", .array(tables.map(\.document))),
      .init("functions", .array(functions.map(\.document))),
      .init("types", .strings(types)),
    ]).compact
  }
}

extension CatalogQuery.Name {
  fileprivate var document: JSON { .object([.init("schema", .optional(schema)), .init("name", .string(name))]) }
}
