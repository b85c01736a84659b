/// A place in a definition, with as much of its text as it takes to show it when the file is not at hand.
public struct DefinitionPlace: Sendable, Equatable {
  /// The file, as the command that made the plan was told of it.
  public let file: String
  /// Counted from 1.
  public let line: Int
  /// The first code point that is meant, counted from 1.
  public let column: Int
  /// How many code points of the line are meant, at least 1.
  public let width: Int
  /// The whole line.
  public let text: String

  package init(file: String, line: Int, column: Int, width: Int, text: String) {
    self.file = file
    self.line = line
    self.column = column
    self.width = width
    self.text = text
  }
}
