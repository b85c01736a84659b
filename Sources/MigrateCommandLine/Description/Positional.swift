/// What the parser and the help know of an argument that has no dashes.
package struct PositionalDescription: Sendable {
  /// How often it may stand.
  package enum Count: Sendable, Equatable { case once, atMostOnce, any, atLeastOnce }

  /// What stands for it in the help, in capitals: `NAME|RUN`.
  package let name: String
  package let count: Count
  package let help: String
  /// What it has to look like.
  package let expectation: String
  package let accepts: @Sendable (String) -> Bool
  /// What it may be, when that is a short list.
  package let choices: [String]

  var isRequired: Bool { count == .once || count == .atLeastOnce }
  var takesMany: Bool { count == .any || count == .atLeastOnce }

  /// As the usage line shows it.
  var usage: String {
    switch count {
    case .once: name
    case .atMostOnce: "[\(name)]"
    case .any: "[\(name)...]"
    case .atLeastOnce: "\(name)..."
    }
  }
}

/// Anything that can stand among a command's positional arguments.
package protocol DescribedPositional: Sendable {
  var description: PositionalDescription { get }
}

/// A positional argument, and the key to its value in ``Arguments``.
package struct Positional<Value: Sendable>: DescribedPositional {
  package let description: PositionalDescription
  let read: @Sendable ([String]) -> Value

  /// One that may be left out.
  package static func optional<Wrapped: Sendable>(
    _ name: String, _ form: ValueForm<Wrapped>, help: String
  ) -> Positional<Wrapped?> where Value == Wrapped? {
    Positional(description: PositionalDescription(name, .atMostOnce, form, help)) { $0.first.flatMap(form.read) }
  }

  /// One that has to stand there. The value is optional all the same, in type: a key may be asked of another command.
  package static func required<Wrapped: Sendable>(
    _ name: String, _ form: ValueForm<Wrapped>, help: String
  ) -> Positional<Wrapped?> where Value == Wrapped? {
    Positional(description: PositionalDescription(name, .once, form, help)) { $0.first.flatMap(form.read) }
  }

  /// All that stand there, in order.
  package static func many<Element: Sendable>(
    _ name: String, _ form: ValueForm<Element>, atLeastOne: Bool = false, help: String
  ) -> Positional<[Element]> where Value == [Element] {
    let count: PositionalDescription.Count = atLeastOne ? .atLeastOnce : .any
    return Positional(description: PositionalDescription(name, count, form, help)) { $0.compactMap(form.read) }
  }
}

extension PositionalDescription {
  fileprivate init<Value>(_ name: String, _ count: Count, _ form: ValueForm<Value>, _ help: String) {
    self.name = name
    self.count = count
    self.help = help
    expectation = form.expectation
    accepts = { form.read($0) != nil }
    choices = form.choices
  }
}
