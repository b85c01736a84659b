/// What the command line says, read and checked; asked by the option itself: `arguments[Options.batchSize]` is an `Int?`.
package struct Arguments: Sendable {
  /// Where a value comes from; the first of them that says something counts.
  package enum Origin: Sendable, Equatable {
    case commandLine
    case environment(variable: String)
    /// The project's `migrate.yaml`.
    case file
  }

  struct Given: Sendable {
    var texts: [String]
    var origin: Origin
    /// Whether it is a flag that `--no-` or a variable says no to.
    var isTakenBack = false
  }

  /// The command by its full name, never by an alias: `revert`, `sandbox start`.
  package let command: String
  var options: [String: Given]
  let positionals: [String: [String]]

  /// The value of `option`: what was said last, or its default.
  package subscript<Value>(_ option: Option<Value>) -> Value {
    option.read(options[option.description.name]?.texts ?? [])
  }

  /// The value of `positional`.
  package subscript<Value>(_ positional: Positional<Value>) -> Value {
    positional.read(positionals[positional.description.name] ?? [])
  }

  /// Where the value of `option` was said; `nil` when it was not.
  package func origin(of option: any DescribedOption) -> Origin? {
    options[option.description.name]?.origin
  }
}

/// What the program is asked to do.
package enum Invocation: Sendable {
  case run(Arguments)
  /// Print this text on standard output.
  case show(String)
}
