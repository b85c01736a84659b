internal import Migrate
internal import MigrateCommandLine

/// Why a command has not done what it was asked.
enum CommandFailure: Error {
  case definitions([Diagnostics])
  case refused(String, remedy: String)
  /// A run stands still until somebody resumes it; nothing is wrong with what was asked.
  case paused(Int64, String, remedy: String)
  /// A batch that cannot be done, at the places of its definition that it can have come from.
  case batch([Diagnostics], Failure)
  case database(PostgresError)
  case usage(UsageError)

  var exitCode: ExitCode {
    switch self {
    case .definitions, .usage: .usage
    case .refused, .batch, .database: .failed
    case .paused: .interrupted
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
    case .database(let error): self = .database(error)
    case .refused(let message, let remedy): self = .refused(message, remedy: remedy)
    case .usage(let message, let remedy): self = .usage(UsageError(message, remedy: remedy))
    case .paused(let run, let message, let remedy): self = .paused(run, message, remedy: remedy)
    case .ledger(let error):
      switch error {
      case .database(let error): self = .database(error)
      case .newer(let ledger, let program):
        self = .refused(
          "the ledger has version \(ledger), this program knows \(program)",
          remedy: "use the newer program that made it")
      }
    }
  }

  init(_ error: ProjectError) { self = .refused(error.message, remedy: error.remedy) }

  /// As standard error shows it.
  func text(_ renderer: DiagnosticRenderer) -> String {
    switch self {
    case .definitions(let list): list.map(renderer.render).joined(separator: "\n")
    case .batch(let list, let failure):
      list.map(renderer.render).joined(separator: "\n") + Printable.block(RunEnd.circumstances(of: failure)) + "\n"
    case .refused(let message, let remedy): Self.text(message, remedy)
    case .paused(_, let message, let remedy): "\(Printable.block(message))\n  help: \(Printable.block(remedy))\n"
    case .database(let error):
      Self.text(error.message + (error.detail.map { "\n  detail: \($0)" } ?? ""), error.hint ?? Self.remedy(for: error))
    case .usage(let error): error.rendered(program: "migrate")
    }
  }

  private static func text(_ message: String, _ remedy: String) -> String {
    "migrate: error: \(Printable.block(message))\n  help: \(Printable.block(remedy))\n"
  }

  /// The same for programs, one for each thing that is wrong.
  ///
  /// - Parameter code: what the program ends with, where the failure by itself does not decide that.
  func events(endingWith code: ExitCode? = nil) -> [JSON] {
    facts.map { .object($0 + [.init("exit_code", .integer(Int((code ?? exitCode).rawValue)))]) }
  }

  private var facts: [[JSON.Member]] {
    switch self {
    case .definitions(let list): list.flatMap { source in source.all.map { event($0, in: source.source) } }
    case .batch(let list, let failure):
      list.flatMap { source in
        source.all.map { diagnostic in
          event(
            diagnostic, in: source.source,
            [
              .init("sqlstate", .optional(failure.sqlState)), .init("detail", .optional(failure.detail)),
              .init("after", KeyRangeText.document(failure.after)),
              .init("through", KeyRangeText.document(failure.through)),
              .init("rows", KeyRangeText.document(failure.culprits)),
              .init("rows_are_all", failure.culprits.map { .bool($0.areAll) } ?? .null),
            ])
        }
      }
    case .refused(let message, let remedy): [event("refused", message, remedy)]
    case .paused(let run, let message, let remedy):
      [
        [
          .init("event", "paused"), .init("run", .integer(run)), .init("reason", .string(message)),
          .init("remedy", .string(remedy)),
        ]
      ]
    case .usage(let error): [event("usage", error.message, error.remedy)]
    case .database(let error):
      [
        event(
          "database", error.message, error.hint ?? Self.remedy(for: error),
          [.init("sqlstate", .optional(error.sqlState?.code)), .init("detail", .optional(error.detail))])
      ]
    }
  }

  private func event(
    _ code: String, _ message: String, _ remedy: String, _ more: [JSON.Member] = []
  ) -> [JSON.Member] {
    let head: [JSON.Member] = [
      .init("event", "error"), .init("code", .string(code)), .init("message", .string(message)),
      .init("remedy", .string(remedy)),
    ]
    return head + more
  }

  private func event(_ diagnostic: Diagnostic, in source: SourceText, _ more: [JSON.Member] = []) -> [JSON.Member] {
    let place = diagnostic.span.map { source.position(of: $0.start) }
    return event(
      diagnostic.code, diagnostic.message, diagnostic.remedy,
      [
        .init("path", .string(source.path)), .init("line", .optional(place?.line)),
        .init("column", .optional(place?.column)),
      ] + more)
  }

  private static func remedy(for error: PostgresError) -> String {
    switch error.origin {
    case .connecting: "is the server up, and is the address right? `--database URL` or DATABASE_URL names it"
    case .lost: "nothing is lost: the same command goes on where the ledger says that it stopped"
    case .server: "PostgreSQL refuses with SQLSTATE \(error.sqlState?.code ?? "unknown")"
    case .client, .parameters: "look at what was given to the command"
    }
  }
}
