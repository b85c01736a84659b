package import Foundation
package import MigratePostgres

/// The server's log in JSON, a line an entry. Source: PostgreSQL manual, 20.8.5.
package struct ServerLog: Sendable {
  package let path: String

  /// A place in the log: what is written after it came later.
  package struct Mark: Sendable { fileprivate let offset: Int }

  /// A statement as the server received it, before it ran.
  package struct Statement: Sendable, Equatable {
    /// `application_name` of the session.
    package let application: String
    package let pid: Int
    /// Whole, also when one message holds several statements.
    package let text: String
    /// `parameters: $1 = '7'` of a statement with arguments.
    package let parameters: String?
  }

  /// The place behind all that the server has logged up to now.
  package func mark(_ server: Server) async throws -> Mark {
    Mark(offset: try await complete(server).count)
  }

  /// The statements that sessions named `application` sent since `mark`, in order; from all sessions when it is `nil`. Of a run's
  /// worker, `migrate run 42 prices`, also those that it sent under the names of its batches.
  ///
  /// The sessions must log them: `withDatabase(loggingStatements: true)`.
  package func statements(application: String?, since mark: Mark, _ server: Server) async throws -> [Statement] {
    let decoder = JSONDecoder()
    let database = try await server.psql("SELECT current_database()").first?.first ?? nil
    let lines = try await complete(server).dropFirst(mark.offset).split(separator: UInt8(ascii: "\n"))
    return try lines.compactMap { line in
      let entry = try decoder.decode(Entry.self, from: Data(line))
      guard let text = entry.statement, application.map({ entry.isOf($0, in: database) }) ?? true else {
        return nil
      }
      return Statement(
        application: entry.application_name ?? "", pid: entry.pid, text: text, parameters: entry.detail)
    }
  }

  /// What auto_explain has logged of sessions named `application` since `mark`, in order, each the JSON of one plan.
  package func plans(application: String, since mark: Mark, _ server: Server) async throws -> [Data] {
    let decoder = JSONDecoder()
    let database = try await server.psql("SELECT current_database()").first?.first ?? nil
    let lines = try await complete(server).dropFirst(mark.offset).split(separator: UInt8(ascii: "\n"))
    return try lines.compactMap { line in
      let entry = try decoder.decode(Entry.self, from: Data(line))
      guard let message = entry.message, entry.isOf(application, in: database),
        let start = message.range(of: "plan:\n")
      else { return nil }
      return Data(message[start.upperBound...].utf8)
    }
  }

  /// The log's bytes. The server writes through a process of its own, later but in order: once a text written now is there,
  /// all that came before it is too.
  private func complete(_ server: Server) async throws -> Data {
    let text = "log mark \(UUID().uuidString)"
    // LOG ranks above the usual log_min_messages; the client need not see it.
    try await server.psql("SET client_min_messages = error; DO $$ BEGIN RAISE LOG '\(text)'; END $$")
    let deadline = ContinuousClock.now + .seconds(10)
    while true {
      // Its last line may be half written.
      let data = try Data(contentsOf: URL(fileURLWithPath: path))
      let whole = data.prefix((data.lastIndex(of: UInt8(ascii: "\n")) ?? -1) + 1)
      if whole.range(of: Data(text.utf8), options: .backwards) != nil { return whole }
      guard ContinuousClock.now < deadline else {
        throw TestSupportError("the server's log does not arrive at \(path)")
      }
      try await Task.sleep(for: .milliseconds(2))
    }
  }

  private struct Entry: Decodable {
    let pid: Int
    let dbname: String?
    let application_name: String?
    let message: String?
    let detail: String?

    /// Whether a session of that name has written it. A run's number, by which its batches are called, is one of its database.
    func isOf(_ application: String, in database: String?) -> Bool {
      if application_name == application { return true }
      guard dbname == database, let run = application.prefixMatch(of: #/migrate run [0-9]+ /#) else { return false }
      return application_name?.hasPrefix(run.output + "batch ") == true
    }

    /// What follows `statement: ` or `execute <unnamed>: `.
    var statement: String? {
      guard let message else { return nil }
      for prefix in ["statement: ", "execute <unnamed>: "] where message.utf8.starts(with: prefix.utf8) {
        return String(decoding: message.utf8.dropFirst(prefix.utf8.count), as: UTF8.self)
      }
      return nil
    }
  }
}

/// A test cannot go on.
package struct TestSupportError: Error, CustomStringConvertible {
  package let description: String
  package init(_ description: String) { self.description = description }
}
