package import MigrateDefinition
package import MigrateDiagnostics

/// The values that were given for parameters, by a file and by arguments; an argument wins.
package struct GivenParameters: Sendable {
  private var values: [(name: String, value: Constant)] = []

  /// - Throws: what is wrong with the file.
  package init(file: SourceText?, arguments: [(name: String, value: String)]) throws(Diagnostics) {
    for entry in try file.map({ (source) throws(Diagnostics) in try ParameterFile(source) })?.entries ?? [] {
      values.append((entry.name.value, entry.value.value))
    }
    for argument in arguments {
      values.removeAll { $0.name.utf8.elementsEqual(argument.name.utf8) }
      values.append((argument.name, .text(argument.value)))
    }
  }

  /// Those that `definition` is meant by: with several definitions, the ones it declares, and those that none of them does,
  /// which each then refuses.
  package func values(for definition: Definition, among all: [Definition]) -> [(name: String, value: Constant)] {
    values.filter { given in
      definition.declares(given.name) || !all.contains { $0.declares(given.name) }
    }
  }
}

extension Definition {
  fileprivate func declares(_ name: String) -> Bool {
    operation.parameters.contains { $0.name.value.utf8.elementsEqual(name.utf8) }
  }
}
