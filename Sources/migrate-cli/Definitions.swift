internal import Migrate
internal import MigrateCommandLine

extension Console {
  /// The definitions that the command names, decoded; all errors of all of them at once.
  func definitions(_ names: [String]) throws(CommandFailure) -> [Definition] {
    let found: [Result<Definition, Diagnostics>]
    do throws(ProjectError) {
      found = try Project(folder: directory, besides: root.file).definitions(names)
    } catch { throw CommandFailure(error) }
    var wrong: [Diagnostics] = []
    var right: [Definition] = []
    for result in found {
      switch result {
      case .success(let definition): right.append(definition)
      case .failure(let diagnostics): wrong.append(diagnostics)
      }
    }
    guard wrong.isEmpty else { throw .definitions(wrong + right.compactMap { Session.problems(of: $0) }) }
    return right
  }

  /// A session; where none can be had, what is wrong with the definitions is told all the same, and first.
  func session(for definitions: [Definition]) throws(CommandFailure) -> Session {
    let server = try server()
    do throws(PostgresError) { return try Session(to: server) } catch {
      let problems = definitions.compactMap { Session.problems(of: $0) }
      guard problems.isEmpty else { throw .definitions(problems) }
      throw .refused(
        "\(arguments.command) needs a connection: \(error.message)",
        remedy: error.hint
          ?? "name the database: `--database URL` or DATABASE_URL; `migrate sandbox start` makes one to try")
    }
  }

  /// Compiles all of them before anything else happens: an error in the last is no reason to stop half-way.
  ///
  /// - Parameter beginning: whether they are to run now, in this order.
  func compile(
    _ definitions: [Definition], _ session: borrowing Session, beginning: Bool
  ) throws(CommandFailure) -> [(definition: Definition, compilation: Compilation)] {
    let given = try givenParameters()
    var compiled: [(definition: Definition, compilation: Compilation)] = []
    var wrong: [Diagnostics] = []
    for (index, definition) in definitions.enumerated() {
      var request = request(for: definition)
      if beginning {
        let behind = definitions[..<index].map(\.name.value)
        request.beginning = Beginning(again: arguments[Options.again], behind: behind)
      }
      request.parameters = given.values(for: definition, among: definitions)
      do throws(CompileFailure) {
        compiled.append((definition, try session.compile(definition, request)))
      } catch {
        guard case .refused(let diagnostics) = error else { throw CommandFailure(error) }
        wrong.append(diagnostics)
      }
    }
    guard wrong.isEmpty else { throw .definitions(wrong) }
    return compiled
  }

  /// What the command line says, parameters and beginning apart.
  private func request(for definition: Definition) -> CompileRequest {
    var request = CompileRequest()
    // What a definition says itself counts for more than a default of the project.
    let (operation, isDefault) = (
      definition.operation, { (option: any DescribedOption) in arguments.origin(of: option) == .file }
    )
    let searchPath = arguments[Options.searchPath]?.split(separator: ",").map { String($0.drop { $0 == " " }) }
    request.searchPath = isDefault(Options.searchPath) && operation.searchPath != nil ? nil : searchPath
    request.batchSize =
      isDefault(Options.batchSize) && operation.batchSize != nil ? nil : arguments[Options.batchSize]
    request.workers = isDefault(Options.workers) && operation.parallel != nil ? nil : arguments[Options.workers]
    return request
  }

  /// The same for one of several whose tests are tried.
  func testRequest(for definition: Definition, among definitions: [Definition]) throws(CommandFailure) -> CompileRequest
  {
    var request = request(for: definition)
    request.batchSize = nil
    request.parameters = try givenParameters().values(for: definition, among: definitions)
    return request
  }

  private func givenParameters() throws(CommandFailure) -> GivenParameters {
    let said = arguments[Options.parameters]
    for (index, parameter) in said.enumerated()
    where said[..<index].contains(where: { $0.name.utf8.elementsEqual(parameter.name.utf8) }) {
      throw .usage(
        UsageError("parameter \(parameter.name) is given twice", remedy: "say `--param \(parameter.name)=…` once"))
    }
    var file: SourceText?
    if let path = arguments[Options.parameterFile] {
      guard let bytes = Files.read(path) else {
        throw .usage(UsageError("the file \(path) cannot be read", remedy: "`--param-file FILE` names a YAML file"))
      }
      file = SourceText(path: path, bytes: bytes)
    }
    do throws(Diagnostics) {
      return try GivenParameters(file: file, arguments: said.map { ($0.name, $0.value) })
    } catch { throw .definitions([error]) }
  }
}
