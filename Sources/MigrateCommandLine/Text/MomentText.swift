/// A moment as ISO 8601 writes it, more or less exactly.
package enum MomentText {
  package enum Exactness: Sendable, CaseIterable { case whole, second, minute, day }

  /// `2026-11-24T21:10:04.153642+00:00`, `2026-11-24T21:10:04+00:00`, `2026-11-24T21:10+00:00`, `2026-11-24`; what is no such moment
  /// stays what it is.
  package static func told(_ text: String, _ exactness: Exactness) -> String {
    let form = /([0-9]{4,6}-[0-9]{2}-[0-9]{2})(T[0-9]{2}:[0-9]{2})(:[0-9]{2})(?:\.[0-9]+)?(Z|[+-][0-9:]+)?/
    guard let parts = text.wholeMatch(of: form)?.output else { return text }
    let zone = parts.4 ?? ""
    return switch exactness {
    case .whole: text
    case .second: "\(parts.1)\(parts.2)\(parts.3)\(zone)"
    case .minute: "\(parts.1)\(parts.2)\(zone)"
    case .day: String(parts.1)
    }
  }
}
