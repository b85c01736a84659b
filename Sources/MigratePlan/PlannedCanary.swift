internal import MigrateJSON

/// The part of the rows that is done first, and then looked at.
public struct PlannedCanary: Sendable, Equatable {
  /// Of 100,000 rows so many; which ones, a hash of their keys decides.
  public let part: Int
  /// How long the run holds behind it; `nil` is until it is resumed.
  public let hold: Duration?

  /// What ``part`` is a part of.
  public static let whole = 100_000

  package init(part: Int, hold: Duration?) {
    self.part = part
    self.hold = hold
  }

  /// Of about `rows` rows.
  public func share(of rows: Int) -> Int {
    Int((Double(rows) * Double(part) / Double(Self.whole)).rounded())
  }

  var document: JSON {
    let held: [JSON.Member] = hold.map { [.init("hold", .string("\(Int($0 / .milliseconds(1)))ms"))] } ?? []
    return .object([.init("part", .integer(part)), .init("of", .integer(Self.whole))] + held)
  }
}
