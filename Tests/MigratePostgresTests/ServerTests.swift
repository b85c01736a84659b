import Glibc
import MigratePostgres
import TestSupport
import Testing

@Suite struct `A server's parameters` {
  /// S04
  @Test(arguments: [
    "postgres://u:canary@localhost/d", "postgresql://u@localhost/d?password=canary", "user=u password=canary host=h",
    "postgres://u:%63anary@localhost", "password='canary' sslpassword=canary",
  ]) func `S04: are shown without the password`(text: String) throws {
    let server = try Server(text)
    #expect(server.holdsPassword)
    for shown in [server.redacted, "\(server)", String(reflecting: server), String(describing: [server])] {
      #expect(!shown.contains("canary") && shown.contains("password=***"))
    }
    var dumped = ""
    dump(server, to: &dumped)
    #expect(!dumped.contains("canary"))
  }

  /// S04: each text is one that libpq reads wrongly or not at all, and quotes a part of in its error.
  @Test(arguments: [
    "postgres://u:ca@nary@localhost/d", "postgres://u:can/canary@localhost/d", "postgres://u:canary%zz@localhost/d",
    "postgres://u:canary@[localhost/d", "password=x canary", "canary", "host=h canary=1", "password='canary",
    "postgres://u@h/d?canary", "postgres://u@h/d?canary=canary&x", "postgres://u:can?x=/canary@h/d", "a=\0canary",
  ]) func `S04: that cannot be read are refused without being repeated`(text: String) throws {
    let error = #expect(throws: PostgresError.self) { try Server(text) }
    #expect(error.map { "\($0) \($0.report)".contains("nary") } == false)
    #expect(error?.class == .definition || error?.sqlState == .characterNotInRepertoire)
  }

  @Test func `are shown so that libpq reads them again`() throws {
    let server = try Server(#"dbname='it\'s a \\ name' host=/tmp port=''"#)
    #expect(server.redacted.contains(#"dbname='it\'s a \\ name'"#) && server.redacted.contains("port=''"))
    #expect(try Server(server.redacted) == server)
    #expect(Server().redacted.contains("libpq"))
    #expect(Server().setting("dbname", "a").database("b").redacted == "dbname=b")
  }
}

@Suite struct `A password` {
  /// S04
  @Test func `S04: is in no text of an error, wherever the server puts it`() async throws {
    let canary = "k4n@r\"ie'\\ü"
    try await withDatabase { server in
      let told = server.setting("password", canary)
      try await withConnection(to: told) { connection in
        let literal = "'" + "k4n@r\"ie''\\ü" + "'"
        let scripts = [
          "SELECT \(literal)::int",
          "DO $$ BEGIN RAISE EXCEPTION USING MESSAGE = \(literal), DETAIL = \(literal), HINT = \(literal); END $$",
          "DO $$ BEGIN EXECUTE format('SELECT %L::int', \(literal)); END $$",
          "CREATE TABLE t (n text UNIQUE); INSERT INTO t VALUES (\(literal)), (\(literal))",
        ]
        for script in scripts {
          let error = #expect(throws: PostgresError.self) { try connection.execute(script) }
          let shown = error.map { "\($0) \($0.report)" } ?? ""
          #expect(!shown.contains(canary) && shown.contains("***"))
        }
      }
      let refused = await #expect(throws: PostgresError.self) {
        try await told.database("no " + canary).psql("SELECT 1")
      }
      #expect(refused.map { "\($0)".contains(canary) } == false)
    }
  }

  /// S04
  @Test func `S04: out of a password file is hidden as well`() async throws {
    try await withFolder { folder in
      let file = open(folder + "/pgpass", O_CREAT | O_WRONLY | O_CLOEXEC, 0o600)
      defer { close(file) }
      let line = "*:*:*:*:canary\n"
      try #require(write(file, line, line.utf8.count) == line.utf8.count)
      try await withDatabase { server in
        let told = server.setting("passfile", folder + "/pgpass")
        let error = await #expect(throws: PostgresError.self) { try await told.psql("SELECT 'a canary'::int") }
        #expect(error?.message == "invalid input syntax for type integer: \"a ***\"")
      }
    }
  }

  @Test func `that is also the user's name is not hidden, since the gap would tell it`() async throws {
    try await withDatabase { server in
      let told = server.setting("password", "nobody").setting("user", "nobody")
      let error = await #expect(throws: PostgresError.self) { try await told.psql("SELECT 1") }
      #expect(error?.message.contains("role \"nobody\" does not exist") == true)
    }
  }
}
