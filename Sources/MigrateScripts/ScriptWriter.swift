package import MigratePlan
internal import MigrateSQL

/// Back end 2: a plan as three scripts that psql runs where this program is not.
///
/// `apply.sql` brings the ledger along, begins the run by the plan's JSON and leaves the rest to the procedure
/// `migrate.drive`, which runs the very statements that a client would send.
package struct ScriptWriter: Sendable {
  /// How many values a statement can bind in `migrate.drive`, which has to name each of them.
  package static let mostValues = 32

  private let plan: Plan
  private let definition: String
  private let version: String

  /// - Parameters:
  ///   - definition: the file's text, byte for byte; the ledger keeps it.
  ///   - version: of the program that has compiled the plan.
  package init(_ plan: Plan, definition: String, version: String) {
    self.plan = plan
    self.definition = definition
    self.version = version
  }

  /// Runs the plan, or goes on with it where it stopped; does nothing when it is complete.
  package var apply: String {
    """
    \(header("apply", does: "Runs it, or goes on where it stopped. Run again after it is complete, it says so and changes nothing.", more: [
      "-v reason='why'     kept in the ledger",
      "-v again=true       runs it once more although it is complete",
      "-v concurrent=true  beside an unfinished run that writes the same columns",
    ]))
    --
    -- What it runs, as `migrate plan` prints it:
    --
    \(ScriptText.comment(Preview(plan).sql))

    \(settings)
    \(Self.fallback("reason", ""))
    \(Self.fallback("again", "false"))
    \(Self.fallback("concurrent", "false"))

    -- The ledger, when there is none or an older one.
    \(LedgerScript.install)

    -- The plan and its definition. A run that is unfinished goes on with what it has stored.
    BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
    SELECT run, epoch
    FROM   migrate.enter(
    \(ScriptText.quoted(plan.json, tag: "plan"))::jsonb,
    \(ScriptText.quoted(definition, tag: "definition")),
    \(ScriptText.quoted(version, tag: "version")),
    nullif(:'reason', ''), :'again'::boolean, :'concurrent'::boolean) \\gset
    COMMIT;

    \\if :{?run}
    CALL migrate.drive(:run, :epoch);
    \(conclude(expecting: "completed"))
    \\else
    SELECT migrate.summary(migrate.meant(\(identity))) AS summary \\gset
    \\echo :summary
    \\endif
    """ + "\n"
  }

  /// Takes the newest run of the plan back.
  package var revert: String {
    """
    \(header("revert", does: "Takes back the newest run that is not taken back yet, the last batch first.", more: [
      "-v on_conflict=stop   rows that were changed since: write nothing (the default)",
      "-v on_conflict=skip   leave them as they are and list them in migrate.conflicts",
      "-v on_conflict=force  put the old values over them, and keep what is overwritten",
    ]))

    \(settings)
    \(Self.fallback("on_conflict", "stop"))
    \(LedgerScript.require)

    SELECT run, state = 'reverted' AS is_back FROM migrate.runs WHERE run = migrate.meant(\(identity)) \\gset
    \\if :is_back
    \\echo run :run is reverted already
    \\else
    BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
    SELECT run, epoch FROM migrate.enter_revert(:run, :'on_conflict') \\gset
    COMMIT;

    CALL migrate.drive(:run, :epoch);
    \\endif
    \(conclude(expecting: "reverted"))
    """ + "\n"
  }

  /// Checks the newest run of the plan once more.
  package var verify: String {
    """
    \(header("verify", does: "Checks coverage, counts and checks of its newest run once more; it only reads.", more: []))

    \(settings)
    \(LedgerScript.require)

    BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
    SELECT migrate.meant(\(identity)) AS run \\gset
    -- Asked once: it reads the whole table.
    SELECT json_agg(v) AS found, bool_and(verdict <> 'not ok') AS holds FROM migrate.verify(:run) AS v \\gset
    \\pset tuples_only off
    SELECT name AS "check", verdict, detail FROM json_to_recordset(:'found') AS f(name text, verdict text, detail text);
    COMMIT;
    \\if :holds
    \\echo run :run verified
    \\else
    DO $$ BEGIN
      RAISE EXCEPTION 'the run does not hold what it promised' USING ERRCODE = 'MG003', HINT = 'the lines that say: not ok';
    END $$;
    \\endif
    """ + "\n"
  }

  private var identity: String { ScriptText.quoted(plan.identity, tag: "identity") }

  private func header(_ file: String, does what: String, more: [String]) -> String {
    ScriptText.comment(
      ([
        "\(plan.definition): \(file). Written by migrate \(version).",
        "",
        what,
        "",
        "  psql -v ON_ERROR_STOP=1 -f \(file).sql",
      ] + more.map { "       \($0)" } + [
        "",
        "Outside of a transaction: not with psql -1 and not after BEGIN. psql ends with 0 when all is done, whether rows are in",
        "quarantine or not, which migrate.require tells; else with 3.",
      ]).joined(separator: "\n"))
  }

  /// Whatever `.psqlrc`, the role or the database have set.
  private var settings: String {
    """
    \\set ON_ERROR_STOP on
    \\set ON_ERROR_ROLLBACK off
    \\set AUTOCOMMIT on
    \\set QUIET on
    \\set SHOW_CONTEXT never
    \\pset tuples_only on
    \\encoding UTF8
    SET client_min_messages = notice;
    -- It would count the whole of a CALL.
    SET statement_timeout = 0;
    DO $$ BEGIN
      IF now() <> statement_timestamp() THEN
        RAISE EXCEPTION 'this script commits after each batch, so run it outside of a transaction'
        USING ERRCODE = '2D000', HINT = 'run it by psql -f, without -1 and without BEGIN';
      END IF;
    END $$;
    """
  }

  private static func fallback(_ name: String, _ value: String) -> String {
    """
    \\if :{?\(name)}
    \\else
    \\set \(name) '\(value)'
    \\endif
    """
  }

  private var wayBack: String {
    plan.steps.contains { if case .unavailable = $0.undo { true } else { false } }
      ? "nothing takes it back: its undo was not kept" : "revert.sql takes it back"
  }

  /// The last line greps; a run that is not through makes psql end with an error.
  private func conclude(expecting state: String) -> String {
    """
    SELECT migrate.summary(:run) AS summary, state = '\(state)' AS is_done, state = 'cancelled' AS is_cancelled
    FROM   migrate.runs
    WHERE  run = :run \\gset
    \\echo :summary
    \\if :is_done
    \\elif :is_cancelled
    DO $$ BEGIN
      RAISE EXCEPTION 'the run was cancelled' USING ERRCODE = 'MG003', HINT = 'what it has done stays, and \(wayBack)';
    END $$;
    \\else
    DO $$ BEGIN
      RAISE EXCEPTION 'the run stands still before its end' USING ERRCODE = 'MG003', HINT = 'run this file again: it goes on';
    END $$;
    \\endif
    """
  }
}
