/// A stretch of the key within a batch.
struct Part {
  let after: [String?]?
  let through: [String?]
  /// Its rows, where one snapshot holds for all statements; `nil` where they must be counted.
  var rows: Int?
  /// Whether its other half stands on top of the stack.
  var isLeft = false
  /// Whether it holds a row at fault: its left neighbour holds none, and both together do.
  var isBad = false
  /// Whether it has changed other rows than it had captured, under a snapshot for each statement.
  var wasDifferent = false
  /// Whether a query has told where it begins and ends, so that halving has no part in it.
  var isFound = false
  /// The constraints that its rows were looked at for.
  var constraints: [String.UTF8View] = []
}

/// A batch with a row that the database refuses, and what is left to be done of it.
struct Cutting {
  let slice: Int
  let isCanary: Bool?
  /// The rows that were asked for.
  let size: Int
  /// The key of its last row.
  let end: [String?]
  /// What is left of it, without a gap up to ``end``. The last one comes first.
  var parts: [Part]
  /// Whether rows are tried by themselves from the beginning.
  let searchesAtOnce: Bool
  /// The parts that were tried or cut.
  var tries = 0
  var isSearched = false
  /// Whether each statement shall see what has been committed.
  var distrustsSnapshots = false

  /// Rows that a search tries in the time that halving takes for one part: 25 µs a row and a millisecond a part, measured with two
  /// secondary indexes and no distance to the server.
  private static var rowsATry: Int { 40 }

  /// Whether halving has cost as much by now as it would to try each row by itself. As in renting or buying: the two together
  /// never cost more than twice the better one.
  var isDueForSearch: Bool { !isSearched && (searchesAtOnce || tries * Self.rowsATry > size) }

  /// Whether so many rows at fault make a search worth while: each costs halving the depth of the tree.
  func isMany(_ rows: Int) -> Bool {
    let depth = Int.bitWidth - size.leadingZeroBitCount
    return rows * depth * Self.rowsATry > size
  }

  var isDone: Bool { parts.isEmpty }

  /// The same for another transaction, in which rows can have come and gone.
  var inAnotherSnapshot: Cutting {
    var copy = self
    for index in copy.parts.indices { copy.parts[index].rows = nil }
    return copy
  }
}

/// Whether two keys are the same, byte for byte: to Swift "é" composed and decomposed are equal, to the database they are two rows.
func isSameKey(_ one: [String?]?, _ other: [String?]?) -> Bool {
  guard let one, let other else { return one == nil && other == nil }
  return one.count == other.count
    && zip(one, other).allSatisfy { $0.map { Array($0.utf8) } == $1.map { Array($0.utf8) } }
}
