internal import Migrate
internal import MigrateCommandLine

/// `migrate sandbox`: a private PostgreSQL to try things in.
enum SandboxCommand {
  static func run(_ console: Console) throws(CommandFailure) -> ExitCode {
    do throws(SandboxError) {
      let sandbox = try Sandbox(folder: console.arguments[Options.sandboxFolder], environment: environment)
      switch console.arguments.command {
      case "sandbox start":
        console.say("migrate: warning: \(Sandbox.warning)")
        try sandbox.start()
        console.print(sandbox.url)
      case "sandbox stop":
        try sandbox.stop()
        console.print("sandbox stopped")
      case "sandbox url": console.print(sandbox.url)
      case "sandbox status": show(sandbox, console)
      case "sandbox destroy": return try destroy(sandbox, console)
      // What removes data is never what is left over.
      case let other: throw SandboxError("\(other) is not in this version", remedy: "`migrate sandbox --help`")
      }
      return .done
    } catch { throw .refused(error.message, remedy: error.remedy) }
  }

  private static func destroy(_ sandbox: Sandbox, _ console: Console) throws(SandboxError) -> ExitCode {
    if sandbox.status != .absent {
      console.say("everything in \(sandbox.path) is removed")
      do throws(CommandFailure) {
        guard try console.allows("sandbox destroy") else { return .interrupted }
      } catch {
        console.explain(error)
        return error.exitCode
      }
      try sandbox.destroy()
    }
    console.print("sandbox destroyed")
    return .done
  }

  private static func show(_ sandbox: Sandbox, _ console: Console) {
    let (word, pid): (String, Int?) =
      switch sandbox.status {
      case .absent: ("absent", nil)
      case .stopped: ("stopped", nil)
      case .running(let pid): ("running", Int(pid))
      }
    if console.isJSON {
      let members: [JSON.Member] = [
        .init("state", .string(word)), .init("pid", .optional(pid)), .init("folder", .string(sandbox.path)),
        .init("url", .string(sandbox.url)), .init("log", .string(sandbox.logPath)),
      ]
      console.print(JSON.object(members).compact)
    } else {
      console.print("sandbox \(word)" + (pid.map { " (pid \($0))" } ?? "") + " in \(Printable.line(sandbox.path))")
      if pid != nil { console.print(sandbox.url) }
    }
  }

  /// What the sandbox asks the environment for.
  private static var environment: [String: String] {
    var found: [String: String] = [:]
    for name in ["HOME", "XDG_STATE_HOME", "SUDO_UID", "SUDO_GID"] { found[name] = Environment.process.text(name) }
    return found
  }
}
