/// What `--param rate=1.05` says. The value is the user's text; its type is the definition's affair.
package struct ParameterAssignment: Sendable, Equatable {
  package let name: String
  package let value: String

  /// `nil` when there is no `=`, or what stands before it is no name. Split at the first `=` byte: to `Character` a `=` under
  /// a combining accent is no `=`.
  package init?(_ text: String) {
    guard let equals = text.utf8.firstIndex(of: UInt8(ascii: "=")) else { return nil }
    let name = text.utf8[..<equals]
    guard let first = name.first, Self.isLetter(first) else { return nil }
    guard name.allSatisfy({ Self.isLetter($0) || (48...57).contains($0) }) else { return nil }
    self.name = String(decoding: name, as: UTF8.self)
    value = String(decoding: text.utf8[equals...].dropFirst(), as: UTF8.self)
  }

  /// By bytes.
  package static func == (left: ParameterAssignment, right: ParameterAssignment) -> Bool {
    left.name.utf8.elementsEqual(right.name.utf8) && left.value.utf8.elementsEqual(right.value.utf8)
  }

  private static func isLetter(_ byte: UInt8) -> Bool {
    (65...90).contains(byte) || (97...122).contains(byte) || byte == UInt8(ascii: "_")
  }
}

extension ValueForm<ParameterAssignment> {
  /// `name=value`.
  package static let assignment = ValueForm("of the form NAME=VALUE") { ParameterAssignment($0) }
}

/// What `revert`, `pause` and others are told: a run by its number, or a definition by its name.
package enum RunReference: Sendable, Equatable {
  case run(Int)
  case name(String)

  /// Digits alone are a run, when they are the number of one: 1 and up.
  package init(_ text: String) {
    let isNumber = !text.utf8.isEmpty && text.utf8.allSatisfy { (48...57).contains($0) }
    if isNumber, let number = Int(text), number > 0 { self = .run(number) } else { self = .name(text) }
  }

  /// The number, if it is one.
  package var run: Int? {
    guard case .run(let number) = self else { return nil }
    return number
  }
}

extension ValueForm<RunReference> {
  /// A definition's name or a run's number.
  package static let runOrName = ValueForm("the name of a definition or the number of a run") { text in
    let isNumber = text.utf8.allSatisfy { (48...57).contains($0) }
    let reference = RunReference(text)
    return isNumber && reference.run == nil ? nil : reference
  }
}
