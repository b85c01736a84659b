import MigrateLedger
import MigratePostgres
import MigrateTestSupport
import TestRuns
import TestSupport
import Testing

@Suite struct `A worker's session` {
  @Test(arguments: BackEnd.allCases)
  func `is called after its run and its batch, with the user's own name behind, and only for the batch`(
    backEnd: BackEnd
  ) async throws {
    try await withLedger { server in
      try await server.psql(
        Products.table(rows: 40)
          + """
          CREATE TABLE names (name text);
          CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
          BEGIN INSERT INTO names VALUES (current_setting('application_name')); RETURN NULL; END $$;
          CREATE TRIGGER note AFTER UPDATE ON products FOR EACH STATEMENT EXECUTE FUNCTION note();
          """)
      let compiled = try await Compiled(Products.definition, on: server, batchSize: 10)
      // As the user's address says it.
      let named = try Server(server.setting("application_name", "o'clock\\").redacted)
      #expect(try await backEnd.apply(compiled, on: named).isDone)
      #expect(try await backEnd.revert(compiled, on: named).isDone)
      let names = try await server.rows("SELECT name FROM names")
      let (first, last) = ("migrate run 1 batch 1 (o'clock\\)", "migrate run 1 batch 4 (o'clock\\)")
      #expect(names.first == first && names.last == first && names.contains(last), "\(names)")
      #expect(Set(names).count == 4)
    }
  }

  @Test func `names what the user calls it in the address, once, whatever it is called by us`() throws {
    let server = try Server("postgres:///shop?application_name=nightly")
    #expect(server.applicationName("migrate").sessionName("migrate run 1 prices") == "migrate run 1 prices (nightly)")
    #expect(try Server("postgres:///shop").applicationName("migrate").sessionName("other") == "other")
  }
}
