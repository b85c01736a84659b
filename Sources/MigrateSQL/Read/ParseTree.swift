/// A tree of PostgreSQL's parser, as libpg_query writes it in JSON.
///
/// Members are an array of pairs in the order of the text. Two things that the JSON does not tell: a field that is 0, false
/// or negative is left out (`-1` arrives as `"ival":{}`), so a number's value is read from the text, not from here.
enum ParseTree: Sendable {
  case object([Member])
  case array([ParseTree])
  case string(String)
  case number(Int)
  case bool(Bool)

  struct Member: Sendable {
    let name: String
    let value: ParseTree
  }

  /// The value of member `name` of an object.
  subscript(name: String) -> ParseTree? {
    guard case .object(let members) = self else { return nil }
    return members.first { $0.name == name }?.value
  }

  /// The only member of an object that wraps a node: `{"ColumnRef": {…}}`.
  var node: Member? {
    guard case .object(let members) = self, members.count == 1 else { return nil }
    return members.first
  }

  static func wrapped(_ name: String, _ value: ParseTree) -> ParseTree { .object([Member(name: name, value: value)]) }

  /// The node, if it is a `name`.
  func node(_ name: String) -> ParseTree? {
    guard let node, node.name == name else { return nil }
    return node.value
  }

  var items: [ParseTree] {
    guard case .array(let items) = self else { return [] }
    return items
  }

  var text: String? {
    guard case .string(let text) = self else { return nil }
    return text
  }

  var integer: Int? {
    guard case .number(let number) = self else { return nil }
    return number
  }

  /// Whether member `name` is there and true.
  func flag(_ name: String) -> Bool {
    if case .bool(true)? = self[name] { true } else { false }
  }

  /// The members called `name`, as a list; empty when there is none.
  func list(_ name: String) -> [ParseTree] { self[name]?.items ?? [] }

  /// The names in a list of `String` nodes; what is no name (a star) is left out.
  func names(_ name: String) -> [Identifier] { list(name).compactMap(\.name) }

  /// The name in a `String` node.
  var name: Identifier? { (node("String")?["sval"]?.text).map(Identifier.init(trusted:)) }
}
