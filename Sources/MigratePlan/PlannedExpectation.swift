internal import MigrateJSON

/// What a run must not go beyond without being asked.
public struct PlannedExpectation: Sendable, Equatable {
  /// Its name in the definition.
  public let name: String
  /// `rows`, `changed`, `rejects`, `avg`, `sum`, `min`, `max` or `count`.
  public let of: String
  /// As the definition has it, for people.
  public let text: String
  /// `nil` when it may be as low as it likes.
  public let least: String?
  /// Whether it may be ``least`` itself.
  public let isLeastIncluded: Bool
  /// `nil` when it may be as high as it likes.
  public let most: String?
  /// Whether it may be ``most`` itself.
  public let isMostIncluded: Bool
  /// Whether it is a part of the rows read.
  public let isPercent: Bool

  package init(
    name: String, of: String, text: String, least: String?, isLeastIncluded: Bool, most: String?,
    isMostIncluded: Bool, isPercent: Bool
  ) {
    self.name = name
    self.of = of
    self.text = text
    self.least = least
    self.isLeastIncluded = isLeastIncluded
    self.most = most
    self.isMostIncluded = isMostIncluded
    self.isPercent = isPercent
  }

  /// The bounds in words: `from 900000 to 1100000`, `less than 0.1%`, `exactly 95%`.
  public var words: String {
    let unit = isPercent ? "%" : ""
    switch (least, most) {
    case (let least?, let most?):
      return least == most ? "exactly \(least)\(unit)" : "from \(least)\(unit) to \(most)\(unit)"
    case (let least?, nil): return (isLeastIncluded ? "at least " : "more than ") + least + unit
    case (nil, let most?): return (isMostIncluded ? "at most " : "less than ") + most + unit
    case (nil, nil): return "anything"
    }
  }

  var document: JSON {
    .object([
      .init("name", .string(name)), .init("of", .string(of)), .init("text", .string(text)),
      .init("at_least", .optional(least)), .init("least_included", .bool(isLeastIncluded)),
      .init("at_most", .optional(most)), .init("most_included", .bool(isMostIncluded)),
      .init("percent", .bool(isPercent)), .init("words", .string(words)),
    ])
  }
}
