import MigrateCommandLine
import MigrateDefinition
import Testing

@Suite struct `The reference` {
  @Test func `is written from the table of keys and from the commands`() throws {
    try Repository.expect(Self.page, in: "docs/reference.md")
  }

  private static var page: String {
    """
    # Reference

    Written by a test from the table that the reader of definitions uses, and from the commands themselves:
    `UPDATE_GOLDEN=1 swift test --filter DemoTests` makes it anew.

    ## Keys of a definition

    \(Schema.Place.allCases.compactMap { table($0) }.joined(separator: "\n\n"))

    ## Known, and not in this version

    Each is refused with its place in the file and with what to do until then.

    | key | where | meaning | until then |
    | --- | --- | --- | --- |
    \(Schema.keys.compactMap(later).joined(separator: "\n"))

    ## Commands

    | command | also | does |
    | --- | --- | --- |
    \(Commands.program.commands.map(command).joined(separator: "\n"))

    `migrate help COMMAND` shows the options of each.

    ## Exit codes

    | code | meaning |
    | --- | --- |
    \(ExitCode.allCases.map { "| \($0.rawValue) | \($0.meaning) |" }.joined(separator: "\n"))

    Nothing rejects rows in this version, so 3 does not occur yet.

    """
  }

  private static func table(_ place: Schema.Place) -> String? {
    let rows = Schema.keys(at: place).filter(\.isAvailable).map { key in
      "| `\(key.name)` | \(cell(key.type)) | \(cell(key.defaultValue)) | \(cell(key.meaning)) |"
    }
    guard !rows.isEmpty else { return nil }
    return """
      ### \(heading(place))

      | key | type | default | meaning |
      | --- | --- | --- | --- |
      \(rows.joined(separator: "\n"))
      """
  }

  private static func heading(_ place: Schema.Place) -> String {
    let phrase = place.phrase
    return phrase.prefix(1).uppercased() + phrase.dropFirst()
  }

  private static func later(_ key: Schema.Key) -> String? {
    guard case .notYet(let meanwhile) = key.availability else { return nil }
    return "| `\(key.name)` | \(key.place.phrase) | \(cell(key.meaning)) | \(cell(meanwhile)) |"
  }

  private static func command(_ command: Command) -> String {
    let also = command.aliases.map { "`\($0)`" }.joined(separator: ", ")
    return "| `\(command.name)` | \(also) | \(cell(command.abstract)) |"
  }

  /// A bar would end the cell.
  private static func cell(_ text: String) -> String { text.replacing("|", with: "\\|") }
}
