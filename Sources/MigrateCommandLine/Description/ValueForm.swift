internal import MigrateUnits

/// What a value looks like on the command line, and what it is read to.
package struct ValueForm<Value: Sendable>: Sendable {
  /// Completes "… is not": `a size such as 5k`.
  package let expectation: String
  /// `nil` when the text is no such value.
  package let read: @Sendable (String) -> Value?
  /// What it may be, when that is a short list.
  package let choices: [String]

  package init(_ expectation: String, choices: [String] = [], read: @escaping @Sendable (String) -> Value?) {
    self.expectation = expectation
    self.choices = choices
    self.read = read
  }
}

extension ValueForm<String> {
  /// Any text, the empty one too.
  package static let text = ValueForm("a text") { $0 }
  /// A text that is not empty.
  package static let name = ValueForm("a name") { $0.utf8.isEmpty ? nil : $0 }
}

extension ValueForm<String> {
  /// Rows, or a part of them, as `max_rejects` has it in a definition.
  package static let portion = ValueForm("a number of rows such as 500 or 5k, or a part of them such as 0.1%") { text in
    guard text.utf8.last == UInt8(ascii: "%") else {
      return text == "0" ? text : ValueForm<Int>.size.read(text).flatMap { $0 < 1_000_000_000 ? String($0) : nil }
    }
    guard let percent = text.wholeMatch(of: /([0-9]{1,2}(?:\.[0-9]{1,6})?|100)%/) else { return nil }
    return String(percent.1) + "%"
  }
}

extension ValueForm<Bool> {
  /// What a variable says of a flag.
  package static let yesOrNo = ValueForm("yes or no") { text in
    switch Array(text.utf8.map { (65...90).contains($0) ? $0 + 32 : $0 }) {
    case Array("1".utf8), Array("true".utf8), Array("yes".utf8), Array("on".utf8): true
    case Array("0".utf8), Array("false".utf8), Array("no".utf8), Array("off".utf8): false
    default: nil
    }
  }
}

extension ValueForm<Int> {
  /// A count of things, at least 1: `5k`, `1M`.
  package static let size = ValueForm("a size such as 500, 5k or 1M") { text in
    SizeText.read(text).flatMap { $0 >= 1 ? $0 : nil }
  }

  /// A count, or 0 for `auto`.
  package static let sizeOrAuto = ValueForm("a size such as 500 or 5k, or auto") { text in
    text.utf8.elementsEqual("auto".utf8) ? 0 : size.read(text)
  }

  /// A count, or 0 for `none`.
  package static let sizeOrNone = ValueForm("a size such as 500 or 5k, or none") { text in
    text.utf8.elementsEqual("none".utf8) ? 0 : size.read(text)
  }

  /// A whole number in `range`.
  package static func integer(in range: ClosedRange<Int>) -> ValueForm<Int> {
    ValueForm("a whole number from \(range.lowerBound) to \(range.upperBound)") { text in
      Int(text).flatMap { range.contains($0) ? $0 : nil }
    }
  }
}

extension ValueForm<Duration> {
  /// A length of time: `500ms`, `2s`, `1h30m`.
  package static let duration = ValueForm("a duration such as 500ms, 2s or 1h30m", read: DurationText.read)
}

extension ValueForm where Value: RawRepresentable & CaseIterable, Value.RawValue == String {
  /// One of the cases of `Value`, by its exact bytes.
  package static func choice(_ type: Value.Type = Value.self) -> ValueForm<Value> {
    let names = type.allCases.map(\.rawValue)
    return ValueForm("one of " + names.joined(separator: ", "), choices: names) { text in
      type.allCases.first { $0.rawValue.utf8.elementsEqual(text.utf8) }
    }
  }
}
