internal import MigrateCatalog
internal import MigrateDefinition
internal import MigrateDiagnostics
internal import MigratePlan
internal import MigrateSQL

extension BatchOperation {
  /// What becomes of rows that the database refuses, with what is usual where nothing is said.
  var policy: OnError {
    switch onError?.value ?? .stop {
    case .stop: .stop
    case .retry: .retry
    case .continue: .quarantine
    }
  }

  /// More rows in quarantine end the run.
  var mostRejects: String {
    switch maxRejects?.value ?? .rows(1000) {
    case .rows(let rows): String(rows)
    case .percent(let digits): digits + "%"
    }
  }
}

extension Resolver {
  /// A row that takes its neighbour's value for a moment is refused alone, and nothing is wrong with it: of a thousand rows that
  /// move by one, halving leaves one. A function that has nothing left to do at the second time, `lower` for one, meets real
  /// duplicates alone.
  mutating func refuseShift(of column: Column, _ shape: SQLShape, at span: SourceSpan) {
    guard operation.onError?.value == .continue, shape.moves(column.name) else { return }
    let index = table.indexes.first { $0.isUnique && $0.columns.contains(column.number) }
    if let index { problems.append(.shift(of: column.name.name, in: index.name, at: span)) }
  }
}

extension SQLShape {
  /// Whether it adds something to the column called `name`, or takes something away.
  fileprivate func moves(_ name: Identifier) -> Bool {
    switch self {
    case .infix(let sign, let left, let right):
      ["+", "-"].contains(sign) && (left.reads(name) || right.reads(name))
    case .cast(let inner, _): inner.moves(name)
    case .column, .parameter, .constant, .prefix, .and, .or, .not, .call, .other: false
    }
  }

  private func reads(_ name: Identifier) -> Bool {
    switch self {
    case .column(let use): use.column?.name == name
    case .infix(_, let left, let right): left.reads(name) || right.reads(name)
    case .prefix(_, let inner), .not(let inner), .cast(let inner, _): inner.reads(name)
    case .and(let terms), .or(let terms), .call(_, let terms): terms.contains { $0.reads(name) }
    case .parameter, .constant, .other: false
    }
  }
}

extension Diagnostic {
  fileprivate static func shift(of column: String, in index: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "unique-shift", at: span,
      "\(column) is unique (\(index)) and moves: under `on_error: continue` each row would be refused for the next one's old value",
      remedy:
        "leave `on_error` out, and move the values in two steps: first to where no value is, then to where they belong")
  }
}
