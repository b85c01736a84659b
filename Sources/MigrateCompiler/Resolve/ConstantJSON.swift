package import MigrateDefinition
package import MigrateJSON

/// A constant of YAML as JSON.
package enum ConstantJSON {
  package static func spelled(_ constant: Constant) -> String { document(constant).compact }

  static func string(_ text: String) -> String { JSON.string(text).compact }

  /// As an element of an array's text: in quotes, a backslash before quotes and backslashes, and no other escape, since there
  /// `\n` is the letter n. Source: PostgreSQL manual, 8.15.2.
  static func arrayElement(_ text: String) -> String {
    let escaped = text.utf8.flatMap { byte in
      byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") ? [UInt8(ascii: "\\"), byte] : [byte]
    }
    return "\"" + String(decoding: escaped, as: UTF8.self) + "\""
  }

  package static func document(_ constant: Constant) -> JSON {
    switch constant {
    case .null: .null
    case .bool(let value): .bool(value)
    case .number(let digits): .number(number(digits))
    case .text(let text): .string(text)
    case .list(let items): .array(items.map(document))
    case .map(let members): .object(members.map { JSON.Member($0.key, document($0.value)) })
    }
  }

  /// YAML's `+1`, `.5`, `1.` and `01.5` as JSON spells them.
  private static func number(_ digits: String) -> String {
    var rest = Array(digits.utf8)[...]
    var spelled: [UInt8] = []
    if let sign = rest.first, sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+") {
      if sign == UInt8(ascii: "-") { spelled.append(sign) }
      rest = rest.dropFirst()
    }
    let zero = UInt8(ascii: "0")
    let whole = rest.prefix { (48...57).contains($0) }
    rest = rest.dropFirst(whole.count)
    let significant = whole.drop { $0 == zero }
    spelled += significant.isEmpty ? [zero] : Array(significant)
    if rest.first == UInt8(ascii: ".") {
      let fraction = rest.dropFirst().prefix { (48...57).contains($0) }
      if !fraction.isEmpty { spelled += [UInt8(ascii: ".")] + fraction }
      rest = rest.dropFirst(1 + fraction.count)
    }
    return String(decoding: spelled + rest, as: UTF8.self)
  }
}
