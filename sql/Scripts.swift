/// The SQL that this program brings along, as files that are read as files.
package enum Scripts {
  /// The catalog query; `$1` is what is asked for.
  package static var catalog: String { text(PackageResources.catalog_sql) }

  /// The scripts of the ledger, oldest first; script `n` makes version `n` out of version `n - 1`.
  package static var ledger: [String] {
    [
      PackageResources.ledger_0001_sql, PackageResources.ledger_0002_sql, PackageResources.ledger_0003_sql,
      PackageResources.ledger_0004_sql, PackageResources.ledger_0005_sql, PackageResources.ledger_0006_sql,
      PackageResources.ledger_0007_sql, PackageResources.ledger_0008_sql, PackageResources.ledger_0009_sql,
      PackageResources.ledger_0010_sql, PackageResources.ledger_0011_sql, PackageResources.ledger_0012_sql,
      PackageResources.ledger_0013_sql, PackageResources.ledger_0014_sql, PackageResources.ledger_0015_sql,
      PackageResources.ledger_0016_sql, PackageResources.ledger_0017_sql,
      PackageResources.ledger_0018_sql, PackageResources.ledger_0019_sql,
      PackageResources.ledger_0020_sql, PackageResources.ledger_0021_sql,
    ].map(text)
  }

  /// The advisory lock under which the ledger is installed, by the program and by scripts alike, so that the two never meet
  /// half-way: "migr" in ASCII.
  package static let ledgerLock = 1_835_624_306

  private static func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
}
