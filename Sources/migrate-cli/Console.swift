internal import Migrate
internal import MigrateCommandLine

/// What every command has at hand: the arguments, where to talk, and how to reach the database.
struct Console {
  let arguments: Arguments
  let output: Output = .standard
  let talk: Output = .error

  init(_ arguments: Arguments) { self.arguments = arguments }

  var isQuiet: Bool { arguments[Options.quiet] }
  var isJSON: Bool { arguments[Options.json] }

  /// Results: standard output.
  func print(_ text: String) { output.write(text + "\n") }

  /// Talk: standard error, and nothing of it when quiet.
  func say(_ text: String) { if !isQuiet { talk.write(text + "\n") } }

  func event(_ name: String, _ members: [JSON.Member]) {
    output.write(JSON.object([.init("event", .string(name))] + members).compact + "\n")
  }

  func server() throws(CommandFailure) -> Server {
    do throws(PostgresError) {
      let server = try Server.resolve(flag: arguments[Options.database], environment: [:])
      if arguments.origin(of: Options.database) == .commandLine, server.holdsPassword {
        say("migrate: warning: a password in the arguments can be read by everyone on this machine (`ps`)")
        say("  help: put the URL into DATABASE_URL, or the password into ~/.pgpass")
      }
      return server.applicationName("migrate")
    } catch { throw .database(error) }
  }

  func compileRequest() throws(CommandFailure) -> CompileRequest {
    var request = CompileRequest()
    request.parameters = arguments[Options.parameters].map { ($0.name, $0.value) }
    request.searchPath = arguments[Options.searchPath]?.split(separator: ",").map { part in
      String(part.drop { $0 == " " })
    }
    request.batchSize = arguments.command == "apply" ? arguments[Options.batchSize] : nil
    return request
  }

  var renderer: DiagnosticRenderer {
    DiagnosticRenderer(color: Terminal(talk, color: arguments[Options.color], environment: .process).color)
  }

  func explain(_ failure: CommandFailure) {
    switch failure {
    case .definitions(let list):
      talk.write(list.map(renderer.render).joined(separator: "\n"))
    case .refused(let message, let remedy):
      talk.write("migrate: error: \(Printable.block(message))\n  help: \(Printable.block(remedy))\n")
    case .database(let error):
      let detail = error.detail.map { "\n  detail: \($0)" } ?? ""
      let hint = error.hint ?? CommandFailure.remedy(for: error)
      talk.write("migrate: error: \(Printable.block(error.message + detail))\n  help: \(Printable.block(hint))\n")
    case .usage(let error):
      talk.write(error.rendered(program: "migrate"))
    }
  }
}

/// Why a command has not done what it was asked.
enum CommandFailure: Error {
  case definitions([Diagnostics])
  case refused(String, remedy: String)
  case database(PostgresError)
  case usage(UsageError)

  var exitCode: ExitCode {
    switch self {
    case .definitions, .usage: .usage
    case .refused, .database: .failed
    }
  }

  init(_ failure: CompileFailure) {
    switch failure {
    case .refused(let diagnostics): self = .definitions([diagnostics])
    case .database(let error): self = .database(error)
    }
  }

  init(_ refusal: RunRefusal) {
    switch refusal {
    case .compile(let failure): self.init(failure)
    case .database(let error): self = .database(error)
    case .refused(let message, let remedy): self = .refused(message, remedy: remedy)
    case .ledger(let error):
      switch error {
      case .database(let error): self = .database(error)
      case .newer(let ledger, let program):
        self = .refused(
          "the ledger has version \(ledger), this program knows \(program)", remedy: "use the newer program that made it")
      }
    }
  }

  init(_ error: ProjectError) { self = .refused(error.message, remedy: error.remedy) }

  static func remedy(for error: PostgresError) -> String {
    switch error.origin {
    case .connecting: "is the server up, and is the address right? `--database URL` or DATABASE_URL names it"
    case .lost: "nothing is lost: `migrate apply` goes on where the ledger says it stopped"
    case .server: "PostgreSQL refuses with SQLSTATE \(error.sqlState?.code ?? "unknown")"
    case .client, .parameters: "look at what was given to the command"
    }
  }
}

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
}
