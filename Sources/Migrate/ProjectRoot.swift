internal import Glibc
package import MigrateDefinition
package import MigrateDiagnostics
package import MigratePostgres

/// Where a project begins: at `migrate.yaml`, in the current folder or the nearest one above that has it.
package struct ProjectRoot: Sendable {
  /// The current folder, and nothing known about it.
  package static let here = ProjectRoot(prefix: "", file: nil)

  /// Leads from the current folder to the root: `../../`.
  private let prefix: String
  /// `nil` when no folder has one.
  package let file: ProjectFile?

  /// The path of a file that is named from the root on.
  package func path(_ name: String) -> String { name.utf8.first == UInt8(ascii: "/") ? name : prefix + name }

  /// Looks for the file in the current folder and upwards.
  package static func find(settings: [ProjectFile.Setting]) throws(Diagnostics) -> ProjectRoot {
    var prefix = ""
    var last: FileIdentity?
    while let folder = FileIdentity("./" + prefix), folder != last {
      let path = prefix + "migrate.yaml"
      if let file = FileIdentity(path) {
        let owners = [geteuid(), 0, FileIdentity("./")?.owner]
        guard prefix.isEmpty || owners.contains(file.owner) else { throw refused(path, .foreign(owner: file.owner)) }
        guard let bytes = Files.read(path) else { throw refused(path, .unreadable()) }
        let source = SourceText(path: path, bytes: bytes)
        return ProjectRoot(prefix: prefix, file: try ProjectFile(source, settings: settings))
      }
      if FileIdentity(prefix + "migrate.yml") != nil { throw refused(prefix + "migrate.yml", .misnamed()) }
      last = folder
      prefix += "../"
    }
    return .here
  }

  private static func refused(_ path: String, _ diagnostic: Diagnostic) -> Diagnostics {
    Diagnostics(source: SourceText(path: path, bytes: []), [diagnostic])
  }

  /// The database of an environment.
  ///
  /// - Parameter variable: the value of an environment variable; `nil` when it is not set, or is no text.
  package func server(
    of name: String, in file: ProjectFile, variable: (String) -> String?
  ) throws(Diagnostics) -> Server {
    guard let environment = file.environment(name) else {
      throw Diagnostics(source: file.source, [file.unknownEnvironment(name)])
    }
    guard let address = variable(environment.value.value) else {
      throw Diagnostics(source: file.source, [.unset(environment.value)])
    }
    do throws(PostgresError) { return try Server(address) } catch {
      throw Diagnostics(source: file.source, [.unreadable(environment.value, error)])
    }
  }
}

extension Diagnostic {
  fileprivate static func foreign(owner: uid_t) -> Diagnostic {
    Diagnostic(
      "foreign-project-file", at: nil,
      "this file in a folder above belongs to another account (\(owner)) and is not read",
      remedy: "when it may be trusted, take it over with `chown`, or put a migrate.yaml of your own beside `migrations`"
    )
  }

  fileprivate static func unreadable() -> Diagnostic {
    Diagnostic("unreadable-project-file", at: nil, "this file cannot be read", remedy: "look at its permissions")
  }

  fileprivate static func misnamed() -> Diagnostic {
    Diagnostic(
      "misnamed-project-file", at: nil, "the project's file is called migrate.yaml, and this one would be passed over",
      remedy: "`mv migrate.yml migrate.yaml`, or give it a name of its own")
  }

  fileprivate static func unset(_ variable: Located<String>) -> Diagnostic {
    Diagnostic(
      "unset-variable", at: variable.span, "the variable \(variable.value) is not set",
      remedy: "`export \(variable.value)=postgres://user@host/database`; the password is best in ~/.pgpass")
  }

  fileprivate static func unreadable(_ variable: Located<String>, _ error: PostgresError) -> Diagnostic {
    Diagnostic(
      "unreadable-address", at: variable.span,
      "what the variable \(variable.value) has is no address: \(error.message)",
      remedy: error.hint ?? "`export \(variable.value)=postgres://user@host/database`")
  }
}
