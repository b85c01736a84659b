/// What may follow in the life of a run, and what a request may be answered. Said by hand once more: nothing here is taken from
/// the program that is held against it.
enum RequestModel {
  /// A run that never holds and never fails.
  enum State: String, Sendable {
    case running, pausing, paused, cancelling, cancelled, completed
    case reverting, revertPausing, revertPaused, reverted

    init?(state: String, direction: String) {
      switch (state, direction) {
      case ("pausing", "revert"): self = .revertPausing
      case ("paused", "revert"): self = .revertPaused
      default: self.init(rawValue: state)
      }
    }

    var mayFollow: Set<State> {
      switch self {
      case .running: [.pausing, .cancelling, .completed]
      case .pausing: [.paused, .running, .cancelling, .completed]
      case .paused: [.running, .cancelled, .reverting]
      case .cancelling: [.cancelled, .completed]
      case .cancelled, .completed: [.reverting]
      case .reverting: [.revertPausing, .reverted]
      case .revertPausing: [.revertPaused, .reverting, .reverted]
      case .revertPaused: [.reverting]
      case .reverted: []
      }
    }

    var isEnd: Bool { self == .cancelled || self == .completed || self == .reverted }
    var goesBack: Bool { [.reverting, .revertPausing, .revertPaused, .reverted].contains(self) }
  }

  enum Request: String, Sendable, CaseIterable {
    case apply, pause, resume, cancel, tune, revert
  }

  /// What whoever has asked was told.
  enum Answer: Sendable, Equatable {
    /// The run is in this state, or was when the work that was asked for had ended.
    case state(State)
    /// What was asked for is on its way, elsewhere or as a setting.
    case heard
    /// It is another's now, or was in that moment.
    case beaten
    case refused(String)
  }

  /// Whether the answer fits a run that was in each of `states` while it was waited for.
  static func allows(_ answer: Answer, to request: Request, in states: Set<State>) -> Bool {
    switch (request, answer) {
    case (_, .beaten): request == .apply || request == .resume || request == .revert
    // Whoever asks for a pause or an end is not told which way the run goes, and may see what somebody else has asked for since.
    case (.pause, .state(.paused)), (.cancel, .state(.paused)): !states.isDisjoint(with: [.paused, .revertPaused])
    case (.cancel, .state(.pausing)): !states.isDisjoint(with: [.pausing, .revertPausing])
    case (_, .state(let state)): states.contains(state)
    case (.resume, .heard): !states.isDisjoint(with: [.running, .reverting])
    case (.tune, .heard): states.contains { !$0.isEnd }
    case (.apply, .heard), (.pause, .heard), (.cancel, .heard), (.revert, .heard): false
    case (.pause, .refused): !states.isDisjoint(with: [.cancelling, .cancelled, .completed, .reverted])
    case (.resume, .refused(let words)):
      words.contains("goes on already")
        ? !states.isDisjoint(with: [.running, .reverting])
        : !states.isDisjoint(with: [.cancelling, .cancelled, .completed, .reverted])
    case (.cancel, .refused): states.contains { $0.isEnd || $0.goesBack }
    case (.tune, .refused): states.contains(where: \.isEnd)
    case (.revert, .refused): states.contains(.reverted)
    case (.apply, .refused(let words)):
      words.contains("is already applied") ? states.contains(.completed) : states.contains(where: \.goesBack)
    }
  }
}
