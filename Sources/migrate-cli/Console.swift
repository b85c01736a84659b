internal import Migrate
internal import MigrateCommandLine

/// What every command has at hand: the arguments, where to talk, and how to reach the database.
struct Console {
  let arguments: Arguments
  let output: Output = .standard
  let talk: Output = .error
  /// Where the project begins.
  let root: ProjectRoot

  init(_ arguments: Arguments, root: ProjectRoot = .here) {
    self.arguments = arguments
    self.root = root
  }

  var isQuiet: Bool { arguments[Options.quiet] }
  var isJSON: Bool { arguments[Options.json] }

  /// Results: standard output.
  func print(_ text: String) { output.write(text + "\n") }

  /// Talk: standard error, and nothing of it when quiet.
  func say(_ text: String) { if !isQuiet { talk.write(text + "\n") } }

  /// What is no error and should be known: standard error, in the form for people.
  func warn(_ warnings: Diagnostics) {
    if !isQuiet, !warnings.all.isEmpty { talk.write(renderer.render(warnings) + "\n") }
  }

  /// One event of a stream, written in one piece, so that a reader sees whole lines whenever the program ends (P26).
  func event(_ name: String, _ members: [JSON.Member]) {
    output.write(JSON.object([.init("event", .string(name))] + members).compact + "\n")
  }

  /// The line that ends a command and greps, or the event of that name with `--json`.
  func conclude(_ run: Int64, _ state: String, _ text: String = "", _ members: [JSON.Member] = []) {
    if isJSON {
      event("state", [.init("run", .integer(run)), .init("state", .string(state))] + members)
    } else {
      print("run \(run) \(state)" + (text.isEmpty ? "" : " " + text))
    }
  }

  /// What standard output can show, where a table or a bar goes.
  var page: Terminal { Terminal(output, color: arguments[Options.color], environment: .process) }
  var pageWidth: Int { Terminal.width(of: output.descriptor, environment: .process) }

  /// What standard error can show.
  var talkTerminal: Terminal { Terminal(talk, color: arguments[Options.color], environment: .process) }

  /// A bar, or lines of a log, on standard error; none where programs read along, or nobody wants to.
  var progressDisplay: ProgressDisplay? {
    isJSON || isQuiet ? nil : ProgressDisplay(on: talk, terminal: talkTerminal, environment: .process)
  }

  var renderer: DiagnosticRenderer {
    DiagnosticRenderer(color: Terminal(talk, color: arguments[Options.color], environment: .process).color)
  }

  /// Says what went wrong: to people on standard error, and with `--json` to programs on standard output besides.
  ///
  /// - Parameter code: what the program ends with, where the failure by itself does not decide that.
  func explain(_ failure: CommandFailure, endingWith code: ExitCode? = nil) {
    talk.write(failure.text(renderer))
    if isJSON { failure.events(endingWith: code).forEach { output.write($0.compact + "\n") } }
  }

  /// Asks on a terminal before something changes.
  ///
  /// - Parameter command: as it was given, for who is not there to be asked.
  func allows(_ command: String) throws(CommandFailure) -> Bool {
    do throws(UsageError) {
      return try Question().allows(command, yes: arguments[Options.yes], environment: .process)
    } catch { throw .usage(error) }
  }
}

extension Console {
  /// `--database` or `--env`; of what the command line, the variables and the file say, the first counts.
  func server() throws(CommandFailure) -> Server {
    if let environment = arguments[Options.environment] {
      return try server(of: environment).applicationName("migrate")
    }
    let said = arguments[Options.database] ?? ""
    do throws(PostgresError) {
      return try (said.isEmpty ? Server() : Server(said)).applicationName("migrate")
    } catch { throw .database(error) }
  }

  /// A password that was given in the arguments works all the same (S04).
  func warnOfPassword() {
    guard arguments.origin(of: Options.database) == .commandLine, (try? server().holdsPassword) == true else { return }
    say("migrate: warning: a password in the arguments can be read by everyone on this machine (`ps`)")
    say("  help: put the URL into DATABASE_URL, or the password into ~/.pgpass")
  }

  func runs() throws(CommandFailure) -> Runs {
    let server = try server()
    do throws(RunRefusal) { return try Runs(on: server) } catch { throw CommandFailure(error) }
  }

  /// What the library refuses is why the command fails.
  func ask<Value>(_ body: () throws(RunRefusal) -> Value) throws(CommandFailure) -> Value {
    do throws(RunRefusal) { return try body() } catch { throw CommandFailure(error) }
  }

  /// The number of the run that the command names.
  func run(_ runs: borrowing Runs) throws(CommandFailure) -> Int64 {
    let reference = arguments[Positionals.steered]?.text ?? ""
    return try ask { () throws(RunRefusal) in try runs.steered(reference).id }
  }
}
