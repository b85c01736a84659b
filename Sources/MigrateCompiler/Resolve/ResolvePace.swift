internal import MigrateDefinition
internal import MigrateDiagnostics
internal import MigratePlan
internal import MigrateSQL

extension BatchOperation {
  /// How fast its batches go.
  ///
  /// - Parameter batchSize: overrides the definition's.
  func pace(batchSize given: Int?) -> Pace {
    let automatic = BatchSizing.automatic(target: throttle.targetBatchTime?.value ?? BatchSizing.usualTarget)
    let sizing: BatchSizing =
      switch batchSize?.value {
      case .rows(let rows): .rows(rows)
      case .automatic, nil: automatic
      }
    return Pace(
      sizing: given.map(BatchSizing.rows) ?? sizing, pause: throttle.pause?.value,
      niceRatio: throttle.niceRatio.flatMap { Double($0.value) }, maxRate: throttle.maxRate?.value,
      lockTimeout: throttle.lockTimeout?.value, maxBlocking: throttle.maxBlocking?.value, window: window?.value.planned,
      limits: throttle.limits)
  }
}

extension BatchOperation {
  var plannedCanary: PlannedCanary? {
    guard let canary, let percent = Double(canary.value) else { return nil }
    return PlannedCanary(part: Int((percent * Double(PlannedCanary.whole) / 100).rounded()), hold: hold?.value)
  }
}

extension Throttle {
  fileprivate var limits: HoldLimits {
    let slotLag = holdWhen.compactMap { condition -> Int? in
      guard case .slotLag(let bytes) = condition else { return nil }
      return bytes
    }.first
    let freeDisk = holdWhen.compactMap { condition -> Int? in
      guard case .freeDisk(let bytes) = condition else { return nil }
      return bytes
    }.first
    return HoldLimits(
      activeSessions: maxActiveSessions?.value, replicationLag: maxReplicationLag?.value, slotLag: slotLag,
      freeDisk: freeDisk)
  }

  /// The definition's own queries, which are read like its checks.
  var queries: [Check] {
    holdWhen.compactMap { condition in
      guard case .query(let query) = condition else { return nil }
      return query
    }
  }
}

extension Window {
  var planned: PlannedWindow { PlannedWindow(opens: Self.time(opens), closes: Self.time(closes), zone: zone) }

  /// `22:05`
  private static func time(_ minutes: Int) -> String {
    let (hour, minute) = (minutes / 60, minutes % 60)
    return "\(hour < 10 ? "0" : "")\(hour):\(minute < 10 ? "0" : "")\(minute)"
  }
}

/// What makes a run hold.
enum ResolvedHold: Sendable {
  case query(ResolvedCheck)
  case autovacuum, wraparound, walArchive
  case slotLag(bytes: Int)
  case freeDisk(bytes: Int)
  case activeSessions(most: Int)
  case replicationLag(most: Duration)
  case window(PlannedWindow)
  /// Behind its canary.
  case canary
}

extension NamedBatch {
  /// In the order of the definition, what is built in first.
  func holds(_ queries: [ResolvedCheck]) -> [ResolvedHold] {
    let operation = parsed.definition.operation
    let throttle = operation.throttle
    let builtIn: [ResolvedHold?] = [
      operation.canary.flatMap { _ in operation.hold }.map { _ in .canary },
      operation.window.map { .window($0.value.planned) },
      throttle.maxActiveSessions.map { .activeSessions(most: $0.value) },
      throttle.maxReplicationLag.map { .replicationLag(most: $0.value) },
    ]
    var queries = queries[...]
    let said = throttle.holdWhen.compactMap { condition -> ResolvedHold? in
      switch condition {
      case .query: queries.popFirst().map(ResolvedHold.query)
      case .autovacuum: .autovacuum
      case .wraparound: .wraparound
      case .walArchive: .walArchive
      case .slotLag(let bytes): .slotLag(bytes: bytes)
      case .freeDisk(let bytes): .freeDisk(bytes: bytes)
      }
    }
    return builtIn.compactMap(\.self) + said
  }
}
