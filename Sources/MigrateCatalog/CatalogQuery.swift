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

  /// A column of the source's query, as the database has described it.
  package struct DescribedColumn: Sendable, Hashable {
    package let name: String
    package let type: Int
    package let modifier: Int
    /// Where the type has collations.
    package let collation: String?

    package init(name: String, type: Int, modifier: Int, collation: String?) {
      self.name = name
      self.type = type
      self.modifier = modifier
      self.collation = collation
    }
  }

  package let searchPath: [String]
  package let tables: [Name]
  package let functions: [Name]
  package let types: [String]
  package let rows: [DescribedColumn]

  package init(
    searchPath: [String], tables: [Name], functions: [Name], types: [String], rows: [DescribedColumn] = []
  ) {
    self.searchPath = searchPath
    self.tables = tables
    self.functions = functions
    self.types = types
    self.rows = rows
  }

  /// The query; it takes ``argument`` as `$1` and returns one row with one document.
  package static var text: String { Scripts.catalog }

  /// What the transaction of the query sets. Everything that is not pg_catalog's is then written with its schema. It looks up a
  /// few rows, by index, and takes longer to plan than to run: so ways of joining are not weighed that it has no use for.
  package static let settings = """
    SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL jit = off; SET LOCAL join_collapse_limit = 1;
    SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_memoize = off;
    SET LOCAL enable_material = off; SET LOCAL max_parallel_workers_per_gather = 0
    """

  package var argument: String {
    JSON.object(
      [
        .init("search_path", .strings(searchPath)),
        .init("tables", .array(tables.map(\.document))),
        .init("functions", .array(functions.map(\.document))),
        .init("types", .strings(types)),
      ] + (rows.isEmpty ? [] : [.init("rows", .array(rows.map(\.document)))])
    ).compact
  }
}

extension CatalogQuery.Name {
  fileprivate var document: JSON { .object([.init("schema", .optional(schema)), .init("name", .string(name))]) }
}

extension CatalogQuery.DescribedColumn {
  fileprivate var document: JSON {
    .object([
      .init("name", .string(name)), .init("type", .integer(type)), .init("modifier", .integer(modifier)),
      .init("collation", .optional(collation)),
    ])
  }
}
