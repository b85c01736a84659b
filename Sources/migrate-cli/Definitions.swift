internal import Migrate
internal import MigrateCommandLine

extension Console {
  /// The definitions that the command names, decoded; all errors of all of them at once.
  func definitions(_ names: [String]) throws(CommandFailure) -> [Definition] {
    let found: [Result<Definition, Diagnostics>]
    do throws(ProjectError) {
      found = try Project(folder: arguments[Options.directory]).definitions(names)
    } catch { throw CommandFailure(error) }
    var wrong: [Diagnostics] = []
    var right: [Definition] = []
    for result in found {
      switch result {
      case .success(let definition): right.append(definition)
      case .failure(let diagnostics): wrong.append(diagnostics)
      }
    }
    guard wrong.isEmpty else { throw .definitions(wrong + right.compactMap(Session.problems(of:))) }
    return right
  }

  func compileRequest() throws(CommandFailure) -> CompileRequest {
    var request = CompileRequest()
    request.parameters = arguments[Options.parameters].map { ($0.name, $0.value) }
    request.searchPath = arguments[Options.searchPath]?.split(separator: ",").map { part in
      String(part.drop { $0 == " " })
    }
    request.batchSize = arguments[Options.batchSize]
    return request
  }
}
