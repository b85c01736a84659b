// Whoever imports Migrate holds the values that it hands out: plans, runs, diagnostics. The command line, and everything else
// that users see, imports this module and none below it.
@_exported public import MigrateDefinition
@_exported public import MigrateDiagnostics
@_exported public import MigrateJSON
@_exported public import MigrateLedger
@_exported public import MigratePlan
@_exported public import MigratePostgres
@_exported public import MigrateRunner
@_exported public import MigrateSandbox
@_exported public import MigrateScripts
@_exported public import MigrateCompiler
