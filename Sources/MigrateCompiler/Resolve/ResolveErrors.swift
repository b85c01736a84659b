internal import MigrateDefinition
internal import MigrateDiagnostics
internal import MigratePlan

extension BatchOperation {
  /// What becomes of rows that the database refuses, with what is usual where nothing is said.
  var policy: OnError {
    switch onError?.value ?? .stop {
    case .stop: .stop
    case .retry: .retry
    case .continue:
      switch maxRejects?.value ?? .rows(1000) {
      case .rows(let rows): .quarantine(maxRejects: String(rows))
      case .percent(let digits): .quarantine(maxRejects: digits + "%")
      }
    }
  }
}
