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

    // What is wrong in a definition, where, and how to mend it.
    module("MigrateDiagnostics"),

    // SQL as text: written (one place quotes, one type binds) and read (PostgreSQL's own parser).
    module("MigrateSQL", ["MigrateDiagnostics", "CLibpgQuery"]),

    // YAML to a model in which everything knows its place in the file.
    module("MigrateDefinition", ["MigrateDiagnostics", "CLibyaml"]),

    // libpq: a connection, its transactions, rows and errors.
    module("MigratePostgres", ["MigrateSQL", "CLibpq"]),

    // The command line: parse, call the library, print.
    .executableTarget(name: "migrate-cli", dependencies: [], swiftSettings: settings),

    tests("MigrateDiagnosticsTests", ["MigrateDiagnostics"]),
    tests("MigrateDefinitionTests", ["MigrateDefinition", "MigrateDiagnostics"]),
    tests("MigrateSQLTests", ["MigrateSQL", "MigrateDiagnostics"]),
  ]
)
