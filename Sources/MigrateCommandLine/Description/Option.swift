/// What the parser and the help know of an option, whatever its value is read to.
package struct OptionDescription: Sendable {
  /// How many values it takes.
  package enum Kind: Sendable, Equatable {
    /// None; `--no-NAME` takes it back.
    case flag
    /// One; said again, the last one counts.
    case single
    /// One each time it is said; all count.
    case repeated
  }

  /// The long name without its dashes.
  package let name: String
  /// Other long names, shown in the help as such.
  package let aliases: [String]
  /// The letter behind a single dash.
  package let short: Unicode.Scalar?
  package let kind: Kind
  /// What stands for the value in the help: `URL`.
  package let valueName: String
  package let help: String
  /// What counts when nobody says anything, as the help shows it.
  package let defaultText: String?
  /// Variables that give the value when the command line does not, the first one that is set: `MIGRATE_DATABASE`, then others.
  package let environment: [String]
  /// The value may be long: `@FILE` reads it from a file, `-` from standard input, `@@` begins a value with one `@`.
  package let mayBeLong: Bool
  /// What a value has to look like: `a size such as 5k`.
  package let expectation: String
  package let accepts: @Sendable (String) -> Bool
  /// What it may be, when that is a short list.
  package let choices: [String]

  package var longNames: [String] { [name] + aliases }
}

/// Anything that can stand among a command's options.
package protocol DescribedOption: Sendable {
  var description: OptionDescription { get }
}

/// An option, and the key to its value in ``Arguments``: the type of the value follows from the option, so that no command
/// asks for a number where a text was declared.
package struct Option<Value: Sendable>: DescribedOption {
  package let description: OptionDescription
  let read: @Sendable ([String]) -> Value
}

extension Option {
  /// An option that takes one value, `initial` when it is not said.
  package static func value(
    _ name: String, aliases: [String] = [], short: Unicode.Scalar? = nil, _ form: ValueForm<Value>,
    named valueName: String,
    default initial: Value, environment: [String] = [], mayBeLong: Bool = false, help: String
  ) -> Option<Value> {
    let description = OptionDescription(
      name, aliases, short, .single, form, valueName, help, "\(initial)", environment, mayBeLong)
    return Option(description: description) { $0.last.flatMap(form.read) ?? initial }
  }

  /// An option that takes one value, and has none when it is not said.
  package static func optional<Wrapped: Sendable>(
    _ name: String, aliases: [String] = [], short: Unicode.Scalar? = nil, _ form: ValueForm<Wrapped>,
    named valueName: String, environment: [String] = [], mayBeLong: Bool = false, help: String
  ) -> Option<Wrapped?> where Value == Wrapped? {
    let description = OptionDescription(
      name, aliases, short, .single, form, valueName, help, nil, environment, mayBeLong)
    return Option(description: description) { $0.last.flatMap(form.read) }
  }

  /// An option that takes one value each time, in order.
  package static func repeated<Element: Sendable>(
    _ name: String, aliases: [String] = [], short: Unicode.Scalar? = nil, _ form: ValueForm<Element>,
    named valueName: String, mayBeLong: Bool = false, help: String
  ) -> Option<[Element]> where Value == [Element] {
    let description = OptionDescription(name, aliases, short, .repeated, form, valueName, help, nil, [], mayBeLong)
    return Option(description: description) { $0.compactMap(form.read) }
  }
}

extension Option<Bool> {
  /// An option without a value. `fromEnvironment` is false where a variable would surprise: `MIGRATE_VERSION`.
  package static func flag(
    _ name: String, aliases: [String] = [], short: Unicode.Scalar? = nil, fromEnvironment: Bool = true, help: String
  ) -> Option<Bool> {
    let description = OptionDescription(
      name, aliases, short, .flag, ValueForm.yesOrNo, "", help, nil, [], false, fromEnvironment: fromEnvironment)
    return Option(description: description) { $0.last.flatMap(ValueForm.yesOrNo.read) ?? false }
  }
}

extension OptionDescription {
  fileprivate init<Value>(
    _ name: String, _ aliases: [String], _ short: Unicode.Scalar?, _ kind: Kind, _ form: ValueForm<Value>,
    _ valueName: String, _ help: String, _ defaultText: String?, _ environment: [String], _ mayBeLong: Bool,
    fromEnvironment: Bool = true
  ) {
    self.name = name
    self.aliases = aliases
    self.short = short
    self.kind = kind
    self.valueName = valueName
    self.help = help
    self.defaultText = defaultText
    self.environment = fromEnvironment ? [Self.variable(for: name)] + environment : []
    self.mayBeLong = mayBeLong
    expectation = form.expectation
    accepts = { form.read($0) != nil }
    choices = form.choices
  }

  /// `batch-size` is set by `MIGRATE_BATCH_SIZE`.
  private static func variable(for name: String) -> String {
    let upper = name.utf8.map { byte -> UInt8 in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"): byte - 32
      case UInt8(ascii: "-"): UInt8(ascii: "_")
      default: byte
      }
    }
    return "MIGRATE_" + String(decoding: upper, as: UTF8.self)
  }
}
