import Glibc

/// Where PostgreSQL's server programs are. Debian does not put them on the PATH.
struct PostgresBinaries: Sendable, Equatable {
  let folder: String

  var initdb: String { "\(folder)/initdb" }
  var pgCtl: String { "\(folder)/pg_ctl" }

  /// - Parameter version: the major version that a data folder was made by; the newest when `nil`.
  static func find(version: String?, account: Account) throws(SandboxError) -> PostgresBinaries {
    let root = "/usr/lib/postgresql"
    let versions = FileSystem.names(in: root).compactMap { Int($0) }.sorted(by: >).map(String.init)
    let wanted = version.map { [$0] } ?? versions
    var folders = wanted.map { "\(root)/\($0)/bin" }
    if let bindir = configured(account), !folders.contains(bindir) { folders.append(bindir) }
    for folder in folders {
      let found = PostgresBinaries(folder: folder)
      if ["initdb", "pg_ctl", "postgres"].allSatisfy({ FileSystem.isExecutable("\(folder)/\($0)") }) { return found }
    }
    throw SandboxError(
      "the server programs of PostgreSQL\(version.map { " \($0)" } ?? "") are not installed",
      remedy: "apt-get install postgresql\(version.map { "-\($0)" } ?? "")")
  }

  private static func configured(_ account: Account) -> String? {
    let program = "/usr/bin/pg_config"
    guard FileSystem.isExecutable(program) else { return nil }
    let outcome = try? Command(program: program, arguments: ["--bindir"], account: account).run()
    guard let outcome, outcome.status == 0 else { return nil }
    return outcome.output.split(separator: "\n").first.map(String.init)
  }
}
