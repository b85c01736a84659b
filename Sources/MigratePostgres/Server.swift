internal import CLibpq
internal import Glibc

/// Where the database is and who asks: parameters for libpq. What is not said here libpq takes from `PG*` variables, the
/// service file and `.pgpass`.
package struct Server: Sendable, Equatable {
  struct Parameter: Sendable, Equatable {
    let keyword: String
    let value: String
  }

  private(set) var parameters: [Parameter] = []
  /// What the user calls its sessions, once it is looked for; empty for nothing.
  private var ownName: String?

  /// libpq's own: the environment, the service file, `.pgpass`.
  package init() {}

  /// - Parameter text: a URL (`postgres://user@host/database`) or keywords (`host=/tmp dbname=shop`).
  /// - Throws: origin `parameters`. The text itself is never in the error: it may hold a password.
  package init(_ text: String) throws(PostgresError) {
    guard !text.utf8.contains(0) else { throw .containsNUL }
    try Self.refuseAmbiguousURL(text)
    var reason: UnsafeMutablePointer<CChar>?
    guard let options = PQconninfoParse(text, &reason) else {
      defer { PQfreemem(reason) }
      throw .unreadableParameters(reason.map { String(cString: $0) } ?? "out of memory")
    }
    defer { PQconninfoFree(options) }
    parameters = Self.parameters(of: options)
  }

  /// The same with one parameter of libpq set, replaced when it was there.
  package func setting(_ keyword: String, _ value: String) -> Server {
    var copy = self
    copy.parameters.removeAll { $0.keyword == keyword }
    copy.parameters.append(Parameter(keyword: keyword, value: value))
    return copy
  }

  /// The same under another name in `pg_stat_activity`: see ``sessionName(_:)``.
  package func applicationName(_ name: String) -> Server {
    var copy = setting("application_name", sessionName(name))
    copy.ownName = userName
    return copy
  }

  /// `name`, and behind it what the user calls its own sessions, in the address or PGAPPNAME: `migrate run 42 prices (nightly)`.
  /// PostgreSQL cuts it after 63 bytes.
  package func sessionName(_ name: String) -> String { userName.isEmpty ? name : "\(name) (\(userName))" }

  private var userName: String {
    ownName ?? parameters.last { $0.keyword == "application_name" }?.value
      ?? getenv("PGAPPNAME").map { String(cString: $0) } ?? ""
  }

  /// The same server, another database.
  package func database(_ name: String) -> Server { setting("dbname", name) }

  /// Whether the text that made this holds a password: in a command line, others can read it.
  package var holdsPassword: Bool { parameters.contains(where: \.isSecret) }

  /// - Parameter used: the password that libpq took, which may come from PGPASSWORD or `.pgpass`.
  func redaction(hidingAlso used: String) -> Redaction {
    let secrets = parameters.filter(\.isSecret).map(\.value) + [used]
    return Redaction(secrets: secrets, public: parameters.filter { !$0.isSecret }.map(\.value))
  }

  /// The parameters of libpq's list that have a value.
  static func parameters(of options: UnsafeMutablePointer<PQconninfoOption>) -> [Parameter] {
    var result: [Parameter] = []
    var option = options
    while let keyword = option.pointee.keyword {
      if let value = option.pointee.val {
        result.append(Parameter(keyword: String(cString: keyword), value: String(cString: value)))
      }
      option += 1
    }
    return result
  }
}

extension Server.Parameter {
  var isSecret: Bool { keyword == "password" || keyword == "sslpassword" }
}

extension Server: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
  /// For people: the parameters given, a password as `***`.
  package var redacted: String {
    guard !parameters.isEmpty else { return "libpq's defaults (PG* variables, service file)" }
    return parameters.map { "\($0.keyword)=\($0.isSecret ? "***" : $0.quotedValue)" }.joined(separator: " ")
  }

  package var description: String { redacted }
  package var debugDescription: String { redacted }
  /// Keeps the password out of `dump` and of failed expectations.
  package var customMirror: Mirror { Mirror(self, children: ["parameters": redacted]) }
}

extension Server.Parameter {
  /// As a keyword string needs it. Source: PostgreSQL manual, 34.1.1.1.
  fileprivate var quotedValue: String {
    let special: Set<UInt8> = [UInt8(ascii: " "), UInt8(ascii: "'"), UInt8(ascii: "\\"), 9, 10, 13]
    guard value.isEmpty || value.utf8.contains(where: special.contains) else { return value }
    let escaped = value.utf8.flatMap { byte in
      byte == UInt8(ascii: "'") || byte == UInt8(ascii: "\\") ? [UInt8(ascii: "\\"), byte] : [byte]
    }
    return "'" + String(decoding: escaped, as: UTF8.self) + "'"
  }
}

extension Server {
  /// In a URL libpq ends the password at the first `@`, and knows none when a `/` comes before it. What is left of a
  /// password with such a character becomes the host, and is then printed in "could not translate host name".
  private static func refuseAmbiguousURL(_ text: String) throws(PostgresError) {
    let schemes = ["postgres://", "postgresql://"]
    guard let scheme = schemes.first(where: { text.utf8.starts(with: $0.utf8) }) else { return }
    let rest = text.utf8.dropFirst(scheme.utf8.count)
    let signs = rest.count { $0 == UInt8(ascii: "@") }
    let authority = rest.prefix { $0 != UInt8(ascii: "/") }
    guard signs == 0 || (signs == 1 && authority.contains(UInt8(ascii: "@"))) else {
      throw .invalidParameters(
        "the connection URL cannot be read without doubt: '@' may only stand between password and host",
        hint: "in user and password write %40 for '@', %2F for '/', %3A for ':', %25 for '%'")
    }
  }
}

extension PostgresError {
  /// libpq quotes what it could not read, which can be a part of a password: all from the first quote to the last goes.
  fileprivate static func unreadableParameters(_ reason: String) -> PostgresError {
    let quote = UInt8(ascii: "\"")
    var bytes = Array(reason.utf8)
    if let first = bytes.firstIndex(of: quote), let last = bytes.lastIndex(of: quote) {
      bytes.replaceSubrange(first...last, with: "\"…\"".utf8)
    }
    let shown = String(decoding: bytes, as: UTF8.self).trimmed
    return .invalidParameters(
      "the connection parameters cannot be read: \(shown)",
      hint: "write a URL, `postgres://user@host:5432/database`, or keywords, `host=/run/postgresql dbname=shop`")
  }
}
