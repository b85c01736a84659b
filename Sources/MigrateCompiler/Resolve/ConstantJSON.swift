internal import MigrateDefinition
internal import MigrateJSON

/// A constant of YAML as JSON.
enum ConstantJSON {
  static func spelled(_ constant: Constant) -> String { document(constant).compact }

  static func string(_ text: String) -> String { JSON.string(text).compact }

  private static func document(_ constant: Constant) -> JSON {
    switch constant {
    case .null: .null
    case .bool(let value): .bool(value)
    case .number(let digits): .number(digits)
    case .text(let text): .string(text)
    case .list(let items): .array(items.map(document))
    case .map(let members): .object(members.map { JSON.Member($0.key, document($0.value)) })
    }
  }
}
