import MigrateDiagnostics

/// `window:` the times of day at which batches may run.
extension Decoder {
  /// `22:00-05:30 Europe/Berlin`. That the zone exists, the database says.
  mutating func window(_ entry: YAMLEntry) -> Located<Window>? {
    guard let text = text(entry, "times of day and a zone, such as `22:00-06:00 Europe/Berlin`") else { return nil }
    let form = /([0-9]{1,2}):([0-9]{2}) ?(?:-|–|to) ?([0-9]{1,2}):([0-9]{2})(?: +(\S+))?/
    guard let parts = text.value.wholeMatch(of: form) else {
      refuse(.badWindow(text.value, at: text.span))
      return nil
    }
    guard let opens = Self.minutes(parts.1, parts.2), let closes = Self.minutes(parts.3, parts.4) else {
      refuse(.noTimeOfDay(text.value, at: text.span))
      return nil
    }
    guard opens != closes else {
      refuse(.emptyWindow(text.value, at: text.span))
      return nil
    }
    guard let zone = parts.5 else {
      refuse(.windowWithoutZone(text.value, at: text.span))
      return nil
    }
    return Located(Window(opens: opens, closes: closes, zone: String(zone)), at: text.span)
  }

  /// 24:00 is the midnight at the end of a day.
  private static func minutes(_ hours: Substring, _ minutes: Substring) -> Int? {
    guard let hours = Int(hours), let minutes = Int(minutes), minutes < 60, hours < 24 || (hours == 24 && minutes == 0)
    else { return nil }
    return (hours * 60 + minutes) % 1_440
  }
}

extension Diagnostic {
  fileprivate static func badWindow(_ text: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "bad-window", at: span, "`\(text)` is no window of a day",
      remedy: "two times of day and a zone: `window: \"22:00-05:30 Europe/Berlin\"`")
  }

  fileprivate static func noTimeOfDay(_ text: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "bad-window", at: span, "a time in `\(text)` is none of a day",
      remedy: "hours go from 00 to 24, minutes to 59: `window: \"22:00-05:30 Europe/Berlin\"`")
  }

  fileprivate static func windowWithoutZone(_ text: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "bad-window", at: span, "`\(text)` does not say where these times are",
      remedy: "add a zone: `window: \"\(text) Europe/Berlin\"`, or `UTC`")
  }

  fileprivate static func emptyWindow(_ text: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "bad-window", at: span, "`\(text)` opens when it closes",
      remedy: "leave `window` out when batches may run at any time")
  }
}
