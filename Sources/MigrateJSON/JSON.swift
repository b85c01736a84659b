/// A JSON document as a value. Members keep their order and numbers their spelling, so that what is read can be written back
/// byte for byte, and a bigint never passes through a `Double` (K15).
package enum JSON: Sendable, Equatable {
  case null
  case bool(Bool)
  /// The digits as they stand; what JSON has no number for, `NaN` for instance, is written as a text.
  case number(String)
  case string(String)
  case array([JSON])
  case object([Member])

  package struct Member: Sendable, Equatable {
    package let name: String
    package let value: JSON

    package init(_ name: String, _ value: JSON) {
      self.name = name
      self.value = value
    }
  }

  /// The value of the member `name`; `nil` when there is none, or this is no object.
  package subscript(_ name: String) -> JSON? {
    guard case .object(let members) = self else { return nil }
    return members.first { $0.name.utf8.elementsEqual(name.utf8) }?.value
  }

  package var text: String? {
    guard case .string(let text) = self else { return nil }
    return text
  }

  package var integer: Int? {
    guard case .number(let digits) = self else { return nil }
    return Int(digits)
  }

  package var double: Double? {
    guard case .number(let digits) = self else { return nil }
    return Double(digits)
  }

  /// The elements; empty when this is no array.
  package var elements: [JSON] {
    guard case .array(let elements) = self else { return [] }
    return elements
  }

  /// The members; empty when this is no object.
  package var members: [Member] {
    guard case .object(let members) = self else { return [] }
    return members
  }

  package static func integer(_ value: Int) -> JSON { .number(String(value)) }

  package static func strings(_ values: [String]) -> JSON { .array(values.map(JSON.string)) }

  package static func optional(_ text: String?) -> JSON { text.map(JSON.string) ?? .null }

  package static func optional(_ number: Int?) -> JSON { number.map(JSON.integer) ?? .null }

  package static func integer(_ value: Int64) -> JSON { .number(String(value)) }
}

extension JSON: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral,
  ExpressibleByNilLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
  package init(stringLiteral value: String) { self = .string(value) }
  package init(integerLiteral value: Int) { self = .integer(value) }
  package init(booleanLiteral value: Bool) { self = .bool(value) }
  package init(nilLiteral: ()) { self = .null }
  package init(arrayLiteral elements: JSON...) { self = .array(elements) }
  package init(dictionaryLiteral elements: (String, JSON)...) { self = .object(elements.map { Member($0.0, $0.1) }) }
}
