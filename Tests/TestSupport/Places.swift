/// How many tests use a server at once. Swift Testing starts all of them together, and hundreds of databases on two cores would
/// make each so slow that a wait for another session ends in vain.
actor Places {
  static let databases = Places(6)
  static let clusters = Places(2)

  /// Where the task has a place already: what it makes within that needs no other, for which it might wait in vain.
  @TaskLocal private static var taken: Set<ObjectIdentifier> = []

  private var free: Int
  private var waiting: [CheckedContinuation<Void, Never>] = []

  init(_ count: Int) { free = count }

  /// Runs `body` when a place is free, in the order of those who asked.
  nonisolated func taking<Value>(_ body: () async throws -> Value) async rethrows -> Value {
    let own = ObjectIdentifier(self)
    if Self.taken.contains(own) { return try await body() }
    await take()
    do {
      let value = try await Self.$taken.withValue(Self.taken.union([own])) { try await body() }
      await give()
      return value
    } catch {
      await give()
      throw error
    }
  }

  private func take() async {
    if free > 0 {
      free -= 1
    } else {
      await withCheckedContinuation { waiting.append($0) }
    }
  }

  private func give() {
    if waiting.isEmpty { free += 1 } else { waiting.removeFirst().resume() }
  }
}
