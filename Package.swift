// swift-tools-version: 6.2
// The manifest is the architecture: data flows down this list and never up.
// A target may import only what stands above it; `swift build` refuses a wrong arrow.

import PackageDescription

let settings: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .treatAllWarnings(as: .error),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("ExistentialAny"),
]

/// A target of this package, with the settings that all of them share.
func module(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
  .target(name: name, dependencies: dependencies, swiftSettings: settings)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .testTarget(name: name, dependencies: dependencies, swiftSettings: settings)
}

let package = Package(
  name: "migrate",
  products: [
    .executable(name: "migrate", targets: ["migrate-cli"])
  ],
  targets: [
    // The C libraries: a module map and a shim each, nothing else.
    .systemLibrary(name: "CLibpq", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
    .systemLibrary(name: "CLibpgQuery", providers: [.apt(["libpg-query-dev"])]),
    .systemLibrary(name: "CLibyaml", providers: [.apt(["libyaml-dev"])]),

    // JSON as an ordered value: the catalog's document, the plan, the parser's tree, the events.
    module("MigrateJSON"),

    // What is wrong in a definition, where, and how to mend it.
    module("MigrateDiagnostics"),

    // Durations, counts and sizes as people write them, in a definition and on a command line.
    module("MigrateUnits"),

    // SQL as text: written (one place quotes, one type binds) and read (PostgreSQL's own parser).
    module("MigrateSQL", ["MigrateDiagnostics", "CLibpgQuery"]),

    // YAML to a model in which everything knows its place in the file.
    module("MigrateDefinition", ["MigrateDiagnostics", "MigrateUnits", "CLibyaml"]),

    // The SQL that comes along as files: the ledger's numbered scripts, the catalog query.
    .target(
      name: "MigrateSQLFiles", path: "sql",
      resources: [
        .embedInCode("catalog.sql"),
        .embedInCode("ledger/ledger_0001.sql"),
        .embedInCode("ledger/ledger_0002.sql"),
        .embedInCode("ledger/ledger_0003.sql"),
        .embedInCode("ledger/ledger_0004.sql"),
        .embedInCode("ledger/ledger_0005.sql"),
        .embedInCode("ledger/ledger_0006.sql"),
        .embedInCode("ledger/ledger_0007.sql"),
        .embedInCode("ledger/ledger_0008.sql"),
        .embedInCode("ledger/ledger_0009.sql"),
        .embedInCode("ledger/ledger_0010.sql"),
        .embedInCode("ledger/ledger_0011.sql"),
        .embedInCode("ledger/ledger_0012.sql"),
        .embedInCode("ledger/ledger_0013.sql"),
        .embedInCode("ledger/ledger_0014.sql"),
        .embedInCode("ledger/ledger_0015.sql"),
        .embedInCode("ledger/ledger_0016.sql"),
        .embedInCode("ledger/ledger_0017.sql"),
        .embedInCode("ledger/ledger_0018.sql"),
        .embedInCode("ledger/ledger_0019.sql"),
        .embedInCode("ledger/ledger_0020.sql"),
        .embedInCode("ledger/ledger_0021.sql"),
      ],
      swiftSettings: settings),

    // The database as a value, read by one query: the compiler does no I/O because it cannot.
    module("MigrateCatalog", ["MigrateSQL", "MigrateJSON", "MigrateSQLFiles"]),

    // What will run, and its way back: an inert value.
    module("MigratePlan", ["MigrateSQL", "MigrateJSON"]),

    // Resolve: names meet the catalog, every error of the user arises. Lower: operation becomes statements.
    module(
      "MigrateCompiler",
      ["MigrateDiagnostics", "MigrateDefinition", "MigrateCatalog", "MigrateSQL", "MigratePlan", "MigrateJSON"]),

    // Back end 2, a plan as scripts for psql: the ledger, the plan, and a CALL of the procedure that runs it.
    module("MigrateScripts", ["MigratePlan", "MigrateSQL", "MigrateSQLFiles"]),

    // libpq: a connection, its transactions, rows and errors.
    module("MigratePostgres", ["CLibpq"]),

    // A private PostgreSQL cluster: for trying things, for the demo and for the tests.
    module("MigrateSandbox", ["MigratePostgres"]),

    // The schema `migrate` from Swift: runs, their states, batches, upgrades.
    module("MigrateLedger", ["MigratePlan", "MigratePostgres", "MigrateSQL", "MigrateSQLFiles"]),

    // Back end 1, a plan run from the client: batch loop, attempts, settlement, revert.
    module("MigrateRunner", ["MigrateLedger", "MigratePlan", "MigratePostgres"]),

    // The library that others import, and the only place that knows all.
    module(
      "Migrate",
      [
        "MigrateDiagnostics", "MigrateJSON", "MigrateSQL", "MigrateDefinition", "MigrateCatalog", "MigratePlan",
        "MigrateCompiler", "MigrateScripts", "MigratePostgres", "MigrateLedger", "MigrateRunner", "MigrateSandbox",
      ]),

    // What any command line needs, knowing no command's work: arguments, help, terminal, progress, signals, tables. Of the plan
    // it knows what can be chosen about it.
    module("MigrateCommandLine", ["MigrateDiagnostics", "MigratePlan", "MigrateUnits"]),

    // The command line: parse, call the library, print.
    .executableTarget(name: "migrate-cli", dependencies: ["Migrate", "MigrateCommandLine"], swiftSettings: settings),

    // What tests share: a cluster of their own, sessions that wait for each other, the server's log.
    .target(
      name: "TestSupport", dependencies: ["MigratePostgres", "MigrateSandbox"], path: "Tests/TestSupport",
      swiftSettings: settings),

    // What tests of the whole share: a definition applied and taken back, a table's bytes, golden folders, recorded catalogs,
    // databases with the ledger in them.
    .target(
      name: "MigrateTestSupport",
      dependencies: [
        "Migrate", "MigrateCatalog", "MigrateCompiler", "MigrateDefinition", "MigrateDiagnostics", "MigrateJSON",
        "MigrateLedger", "MigratePlan", "MigratePostgres", "MigrateRunner", "MigrateSQL", "TestSupport",
      ],
      path: "Tests/MigrateTestSupport", swiftSettings: settings),

    // Runs from a definition's text, by the library and by psql.
    .target(
      name: "TestRuns", dependencies: ["Migrate"], path: "Tests/TestRuns", swiftSettings: settings),

    // What tests of whole runs share: a shop with an oracle, runs in a line, plans with edits.
    .target(
      name: "RunTestSupport",
      dependencies: ["Migrate", "MigratePlan", "MigrateSQL", "MigrateTestSupport", "TestSupport"],
      path: "Tests/IntegrationTests/Support", swiftSettings: settings),

    // Every interleaving of batches, reverts and other sessions, step by step.
    .testTarget(
      name: "InterleavingTests",
      dependencies: [
        "RunTestSupport", "Migrate", "MigrateLedger", "MigratePlan", "MigrateRunner", "MigratePostgres", "TestSupport",
      ],
      path: "Tests/IntegrationTests/Interleavings", swiftSettings: settings),

    // Killed clients, terminated backends, stopped servers, cut connections.
    tests(
      "FaultTests",
      ["RunTestSupport", "Migrate", "MigrateLedger", "MigrateRunner", "MigratePostgres", "TestSupport", "migrate-cli"]),

    tests("MigrateJSONTests", ["MigrateJSON"]),
    tests("MigrateDiagnosticsTests", ["MigrateDiagnostics"]),
    tests("MigrateCommandLineTests", ["MigrateCommandLine", "MigratePlan", "MigrateUnits"]),
    tests("MigrateDefinitionTests", ["MigrateDefinition", "MigrateDiagnostics"]),
    tests("MigrateSQLTests", ["MigrateSQL", "MigrateDiagnostics"]),
    tests("MigratePostgresTests", ["MigratePostgres", "TestSupport"]),
    tests("MigrateSandboxTests", ["MigrateSandbox", "MigratePostgres", "TestSupport"]),
    tests("TestSupportTests", ["TestSupport", "MigratePostgres"]),
    tests(
      "CompilerTests",
      [
        "Migrate", "MigrateCatalog", "MigrateCompiler", "MigrateJSON", "MigratePlan", "MigratePostgres", "MigrateSQL",
        "MigrateTestSupport", "TestSupport",
      ]),
    .testTarget(
      name: "IntegrationTests",
      dependencies: [
        "Migrate", "MigrateLedger", "MigratePlan", "MigratePostgres", "MigrateRunner", "MigrateTestSupport",
        "TestSupport",
      ],
      path: "Tests/IntegrationTests", exclude: ["Interleavings", "Support"], swiftSettings: settings),

    // Random definitions, expressions and runs: a sample with all tests, for as long as one likes by `make fuzz`.
    tests(
      "FuzzTests",
      ["Migrate", "MigrateDefinition", "MigrateDiagnostics", "MigrateSQL", "MigrateTestSupport", "TestSupport"]),

    // What the documents and the demo say, held against the program.
    tests(
      "DemoTests", ["Migrate", "MigrateCommandLine", "MigrateDefinition", "MigrateDiagnostics", "TestSupport"]),
    tests(
      "BackEndTests",
      [
        "TestRuns", "TestSupport", "MigrateTestSupport", "MigrateSQLFiles", "MigratePostgres", "MigrateScripts",
        "MigrateLedger", "MigratePlan", "MigrateRunner", "Migrate",
      ]),
    // The built binary, as a person or a script runs it.
    tests(
      "CommandTests",
      ["migrate-cli", "MigrateCommandLine", "MigrateJSON", "MigratePostgres", "MigrateTestSupport", "TestSupport"]),
  ]
)

// A module's values are laid out in all that stands below it, and what is compiled again is decided by direct dependencies: so
// each target depends on all that it is made of. Otherwise a value that grows would be read as what it was.
for target in package.targets {
  var reached: [String] = []
  var ahead = target.dependencies
  while !ahead.isEmpty {
    guard case .byNameItem(let name, _) = ahead.removeFirst(), !reached.contains(name) else { continue }
    reached.append(name)
    ahead += package.targets.first { $0.name == name }?.dependencies ?? []
  }
  target.dependencies = reached.map { .byName(name: $0) }
}
