/// Whether a run heeds its window and the conditions under which it holds.
package enum TunedHolds: String, Sendable, CaseIterable {
  /// Neither, on the way back neither.
  case ignored = "none"
  case planned = "plan"
}
