internal import MigrateLedger
internal import MigratePostgres
internal import Synchronization

/// The workers that this program has on a run, and the slices that none of them has in hand.
///
/// The first worker leads: it fixes where the run ends, starts the others, waits for them, and does what follows the last batch. All
/// of them walk: each takes a slice, walks it to its end, and takes the next one. Where a slice stands is what the ledger says; here
/// is only who has which.
final class Crew: Sendable {
  private struct State {
    /// Slices that nobody walks, the next one first.
    var open: [Int] = []
    var mates: [RunningThread] = []
    /// Numbers of workers that are at work or could not be, the first left out.
    var numbers: Set<Int> = []
    /// How the run has ended for the first of them for whom it did; then the others end, too.
    var outcome: RunOutcome?
    var isDismissed = false
    /// How many shall be at work; `nil`: as many as there may be.
    var size: CrewSize?
    /// What was told last: that the run stands still, and why; `nil` as long as it goes on.
    var stands: Standstill?
  }

  /// What the server has warned of and nobody was told yet, over all connections.
  let warnings = Warnings()
  private let state = Mutex(State())
  private let isUnwatchedTold = Atomic(false)

  /// Whether this is the first of the workers whose batches nobody watches: one tells it for all.
  func isFirstUnwatched() -> Bool { !isUnwatchedTold.exchange(true, ordering: .relaxed) }

  /// Whether workers besides the first were started, and nobody has waited for their end yet.
  var hasMates: Bool { state.withLock { !$0.mates.isEmpty } }
  /// Whether everyone is to leave at the edge of the batch.
  var isDismissed: Bool { state.withLock { $0.isDismissed } }

  /// Begins a walk over `slices`, by as many workers as `run` may have, or as it needs.
  func begin(_ slices: [Int], of run: Run) {
    state.withLock { state in
      state = State()
      state.open = slices
      switch run.crew {
      case .all: state.size = nil
      case .asNeeded(let time): state.size = CrewSize(most: run.workers, behind: time, at: .now)
      }
    }
  }

  /// How many of the workers that a run may have shall be at work now; `nil`: all.
  var size: Int? { state.withLock { $0.size?.workers } }

  /// A batch of theirs has committed.
  func note(rows: Int) { state.withLock { $0.size?.note(rows: rows, at: .now) } }

  /// The numbers of workers that are not at work though `workers` shall be and there are slices for them; from now on they are.
  func missing(of workers: Int) -> [Int] {
    state.withLock { state in
      let numbers = (2...max(2, workers)).filter { $0 <= workers && !state.numbers.contains($0) }.prefix(
        state.open.count)
      state.numbers.formUnion(numbers)
      return Array(numbers)
    }
  }

  /// Starts worker `number`; `false` when the system gives no thread.
  func start(_ number: Int, _ body: @escaping @Sendable () -> Void) -> Bool {
    guard let thread = RunningThread(body) else { return false }
    state.withLock { $0.mates.append(thread) }
    return true
  }

  /// Worker `number` has done what there was to do, and may be asked for again.
  func leave(_ number: Int) { _ = state.withLock { $0.numbers.remove(number) } }

  /// A slice to walk; `nil` when there is none, or all are to leave.
  func take() -> Int? {
    state.withLock { state in
      state.isDismissed || state.open.isEmpty ? nil : state.open.removeFirst()
    }
  }

  /// A slice that was left before its end; the next one who has time goes on with it.
  func giveBack(_ slice: Int) { state.withLock { $0.open.insert(slice, at: 0) } }

  /// The run has ended for one of them: the others leave.
  func conclude(_ outcome: RunOutcome) {
    state.withLock { state in
      state.outcome = state.outcome ?? outcome
      state.isDismissed = true
    }
  }

  /// Everyone leaves at the edge of the batch.
  func dismiss() { state.withLock { $0.isDismissed = true } }

  /// How the run has ended for one of them; `nil` as long as it has for none.
  var outcome: RunOutcome? { state.withLock { $0.outcome } }

  /// Waits until all mates have left; how the run has ended, if it has.
  func join() -> RunOutcome? {
    while let mate = state.withLock({ $0.mates.popLast() }) { mate.join() }
    return state.withLock { $0.outcome }
  }

  /// Whether this is the first to see that the run stands still, or goes on again: one tells it for all.
  func isFirst(toSee standstill: Standstill?) -> Bool {
    state.withLock { state in
      defer { state.stands = standstill }
      if standstill != state.stands { state.size?.interrupt(at: .now) }
      return state.stands != standstill
    }
  }
}

/// Why no batch begins.
enum Standstill: Equatable {
  /// Somebody has asked for it.
  case paused
  /// A throttle holds the run, for this reason.
  case holding(String)
}

extension Worker {
  /// Walks slice after slice until none is left. Whoever meets the end of the run leaves, and makes the others leave.
  mutating func walk() throws(PostgresError) -> RunOutcome? {
    while !isSuperfluous, let number = crew.take() {
      do throws(PostgresError) {
        guard let outcome = try walk(number) else { continue }
        crew.conclude(outcome)
        return outcome
      } catch {
        crew.giveBack(number)
        throw error
      }
    }
    return nil
  }

  private mutating func walk(_ number: Int) throws(PostgresError) -> RunOutcome? {
    var open = try Ledger.openSlice(connection, run.id, number)
    while let slice = open, !isSameKey(slice.after, slice.through) {
      if let outcome = try edge() { return outcome }
      if isSuperfluous {
        crew.giveBack(number)
        return nil
      }
      if self.number == 1 { startMates() }
      if let outcome = try heedExpectations(isFinal: false) { return outcome }
      try knowSize(slice: number)
      switch try batch(behind: slice) {
      case .done(let left): open = left
      case .lost: open = try Ledger.openSlice(connection, run.id, number)
      case .ended(let outcome): return outcome
      }
    }
    return nil
  }

  /// How many shall work: what was asked for last, or else as many as make it faster.
  private var wantedWorkers: Int { pacing.tunedWorkers ?? crew.size ?? run.workers }

  /// Whether fewer shall work than are there. The first worker stays.
  private var isSuperfluous: Bool { number > max(1, wantedWorkers) }

  /// Starts the workers that are missing, as far as there are slices for them.
  private borrowing func startMates() {
    for number in crew.missing(of: wantedWorkers) {
      let (server, run, control, crew, report, patience) = (server, run, control, crew, report, patience)
      let isStarted = crew.start(number) {
        do throws(PostgresError) {
          var mate = try Worker(
            server: server, run: run, number: number, control: control, patience: patience, crew: crew, report: report)
          try mate.surviving { (worker) throws(PostgresError) in
            if let outcome = try worker.standBehindCrashes() { return crew.conclude(outcome) }
            // What the run is tuned to decides whether it is wanted.
            if try worker.edge() == nil { _ = try worker.walk() }
          }
          crew.leave(number)
          report(.left(worker: number))
        } catch { report(.shorthanded(worker: number, reason: error.message)) }
      }
      if !isStarted { report(.shorthanded(worker: number, reason: "the system gives no further thread")) }
    }
  }
}
