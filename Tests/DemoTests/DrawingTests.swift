import Foundation
import Migrate
import TestSupport
import Testing

/// A row of the life of a run: `state`, in `direction`, by `event`, becomes `next`.
private struct Edge: Hashable, Comparable, CustomStringConvertible {
  let state: String
  let direction: String
  let event: String
  let next: String

  var description: String { "\(direction): \(state) --\(event)--> \(next)" }
  static func < (left: Edge, right: Edge) -> Bool { left.description < right.description }
}

@Suite struct `The drawing of a run's life` {
  /// `a | b ──event──► c ──event──► d`, under a heading that names the direction.
  private static func drawn() throws -> [Edge] {
    let text = try Repository.text("docs/guarantees.md")
    let block = try #require(text.components(separatedBy: "```states\n").dropFirst().first)
    var direction = ""
    var edges: [Edge] = []
    for line in (block.components(separatedBy: "```").first ?? "").split(separator: "\n") {
      guard line.hasPrefix(" ") else {
        direction = String(line.split(separator: " ").first ?? "")
        continue
      }
      var states = line.components(separatedBy: "──")
      var from = states.removeFirst().split(separator: "|").map(trimmed)
      while states.count >= 2 {
        let event = trimmed(states.removeFirst())
        let next = trimmed(states.removeFirst().drop { $0 == "►" })
        edges += from.map { Edge(state: $0, direction: direction, event: event, next: next) }
        from = [next]
      }
    }
    return edges
  }

  private static func trimmed(_ text: some StringProtocol) -> String {
    text.split(separator: " ").joined(separator: " ")
  }

  private static let coded: [Edge] = RunState.allCases.flatMap { state in
    RunDirection.allCases.flatMap { direction in
      RunTransition.allCases.compactMap { event in
        state.after(event, direction: direction).map {
          Edge(state: state.rawValue, direction: direction.rawValue, event: event.rawValue, next: $0.rawValue)
        }
      }
    }
  }

  @Test func `shows what the code does`() throws {
    let drawn = try Self.drawn()
    #expect(Set(drawn).count == drawn.count, "an arrow is drawn twice")
    // The code asks for the direction only where it matters, and a run that pauses has one.
    #expect(drawn.sorted() == Self.coded.sorted())
  }

  @Test func `shows what the ledger does`() async throws {
    let drawn = try Self.drawn()
    try await Shop.with { shop in
      _ = try await shop.apply("release_stock")
      let rows = try await shop.server.psql("SELECT state, direction, event, next FROM migrate.transitions")
      let stored = rows.map { row in
        let texts = row.map { $0 ?? "" }
        return Edge(state: texts[0], direction: texts[1], event: texts[2], next: texts[3])
      }
      #expect(stored.sorted() == drawn.sorted())
    }
  }
}
