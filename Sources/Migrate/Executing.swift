package import MigrateLedger
internal import MigratePostgres
package import MigrateRunner

extension Runs {
  /// Applies what is left of `run`, on this thread.
  package borrowing func apply(
    _ run: Run, control: RunControl, report: @escaping @Sendable (RunEvent) -> Void
  ) throws(RunRefusal) -> RunOutcome {
    do throws(PostgresError) {
      var worker = try Worker(server: named(run), run: run, control: control, report: report)
      return try worker.apply()
    } catch { throw .database(error) }
  }

  /// Takes `run` back, on this thread.
  package borrowing func revert(
    _ run: Run, onConflict policy: ConflictPolicy, control: RunControl, report: @escaping @Sendable (RunEvent) -> Void
  ) throws(RunRefusal) -> RunOutcome {
    do throws(PostgresError) {
      var worker = try Worker(server: named(run), run: run, control: control, report: report)
      return try worker.revert(onConflict: policy)
    } catch { throw .database(error) }
  }

  /// Who looks at `pg_stat_activity` sees which run it is.
  private borrowing func named(_ run: Run) -> Server { server.applicationName("migrate run \(run.id) \(run.name)") }
}
