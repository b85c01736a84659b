package import MigrateJSON
package import MigrateSQL

/// The database as a value: what the compiler may know, read by one query.
package struct Catalog: Sendable {
  package let server: Server
  package let searchPath: [Namespace]
  /// The tables asked for, in the order in which they were; `nil` where there is none of that name.
  package let asked: [Table?]
  /// Tables that exist, for hints; only filled when one was not found.
  package let nearby: [(schema: String, name: String)]
  package let schemas: [String]
  package let functions: [Function]
  /// Operators by whose name a function of somebody's own can be called that is not immutable.
  package let unsettledOperators: [String]
  /// Whether some cast calls such a function.
  package let hasUnsettledCasts: Bool
  /// Spelling in the definition to the type's own; `nil` when there is no such type.
  package let types: [String: ResolvedType?]
  /// The columns of the source's query; `nil` where none was described.
  package let sourceColumns: [Column]?
  /// What steps read of joins and of `let`; `nil` where none was described.
  package let carriedColumns: [Column]?

  package struct Server: Sendable {
    package let user: String
    /// May switch triggers off for itself (session_replication_role).
    package let mayReplicate: Bool
    package let mayCreate: Bool
    package let hasLedger: Bool
    /// Whether it can compress with lz4.
    package let hasLZ4: Bool
  }

  package struct Namespace: Sendable {
    package let name: String
    package let exists: Bool
    /// Whether every role may create objects in it, and so get between a definition and its functions.
    package let isOpenToOthers: Bool
  }

  package struct ResolvedType: Sendable {
    package let name: TypeName
    package let oid: Int
  }

  package struct Function: Sendable {
    package enum Volatility: String, Sendable { case immutable = "i", stable = "s", volatile = "v" }
    package enum Kind: String, Sendable { case function = "f", procedure = "p", aggregate = "a", window = "w" }

    package let schema: String
    package let name: String
    package let argumentCount: Int
    package let defaultCount: Int
    package let isVariadic: Bool
    package let volatility: Volatility
    package let kind: Kind
    package let returnsSet: Bool
    package let isReplaceable: Bool

    /// Whether it can be meant by a call with `count` arguments.
    package func accepts(_ count: Int) -> Bool {
      isVariadic ? count >= argumentCount - 1 : (argumentCount - defaultCount...argumentCount).contains(count)
    }
  }

  /// A document of `sql/catalog.sql`.
  ///
  /// - Throws: ``Malformed`` naming the member that is missing or unknown; the query and this type are of one version, so it is
  ///   a fault here, or a server newer than this program.
  package init(_ document: JSON) throws(Malformed) {
    let reader = DocumentReader(document)
    let server = try reader.object("server")
    self.server = Server(
      user: try server.text("user"), mayReplicate: try server.flag("may_replicate"),
      mayCreate: try server.flag("may_create"), hasLedger: try server.flag("ledger"), hasLZ4: try server.flag("lz4"))
    searchPath = try reader.objects("search_path").map { (item) throws(Malformed) in
      Namespace(
        name: try item.text("name"), exists: try item.flag("exists"),
        isOpenToOthers: try item.flag("open_to_others"))
    }
    let tables = try reader.objects("tables").map { (item) throws(Malformed) in try Table(item) }
    asked = try reader.objects("asked").map { (item) throws(Malformed) in
      let oid = item.document["oid"]?.integer
      return tables.first { $0.oid == oid }
    }
    nearby = try reader.objects("nearby").map { (item) throws(Malformed) in
      (try item.text("schema"), try item.text("name"))
    }
    schemas = reader.document["schemas"]?.elements.compactMap(\.text) ?? []
    functions = try reader.objects("functions").map { (item) throws(Malformed) in try Function(item) }
    unsettledOperators = reader.document["unsettled"]?["operators"]?.elements.compactMap(\.text) ?? []
    hasUnsettledCasts = reader.document["unsettled"]?["casts"] == .bool(true)
    var types: [String: ResolvedType?] = [:]
    for member in try reader.object("types").document.members {
      types[member.name] = .some(try ResolvedType(member.value))
    }
    self.types = types
    sourceColumns = try Self.columns(reader.document["rows"])
    carriedColumns = try Self.columns(reader.document["carried"])
  }
}

extension Catalog {
  private static func columns(_ document: JSON?) throws(Malformed) -> [Column]? {
    try document.flatMap { $0 == .null ? nil : $0.elements }?.map {
      (item) throws(Malformed) in try Column(DocumentReader(item))
    }
  }
}

extension Catalog.ResolvedType {
  /// `nil` for a spelling that names no type.
  fileprivate init?(_ value: JSON) throws(Malformed) {
    guard value != .null else { return nil }
    let type = DocumentReader(value)
    name = TypeName(trusted: try type.text("name"))
    oid = try type.integer("oid")
  }
}

extension Catalog.Function {
  fileprivate init(_ item: DocumentReader) throws(Malformed) {
    schema = try item.text("schema")
    name = try item.text("name")
    argumentCount = try item.integer("arguments")
    defaultCount = try item.integer("defaults")
    isVariadic = try item.flag("variadic")
    volatility = try item.word("volatile")
    kind = try item.word("kind")
    returnsSet = try item.flag("returns_set")
    isReplaceable = try item.flag("replaceable")
  }
}
