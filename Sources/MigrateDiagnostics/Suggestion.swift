/// Finds the name that was probably meant.
package enum Suggestion {
  /// The candidate nearest to `name`, when it is near enough to be a slip of the fingers: at most a third of its bytes differ,
  /// a swap of neighbours counting once, and something is the same; one that differs in capitals only is always taken.
  package static func nearest(to name: String, among candidates: [String]) -> String? {
    let wanted = Array(name.utf8)
    if let folded = candidates.first(where: { lowercased($0.utf8) == lowercased(name.utf8) }) { return folded }
    let limit = max(1, wanted.count / 3)
    let measured = candidates.map { (name: $0, distance: distance(wanted, Array($0.utf8))) }
    let near = measured.filter { $0.distance <= limit && $0.distance < max(wanted.count, $0.name.utf8.count) }
    return near.min { $0.distance < $1.distance }?.name
  }

  private static func lowercased(_ bytes: String.UTF8View) -> [UInt8] {
    bytes.map { (65...90).contains($0) ? $0 + 32 : $0 }
  }

  /// Edits that turn `left` into `right`: insert, delete, replace, swap neighbours (optimal string alignment).
  private static func distance(_ left: [UInt8], _ right: [UInt8]) -> Int {
    if left.isEmpty || right.isEmpty { return max(left.count, right.count) }
    var beforeLast: [Int] = []
    var last = Array(0...right.count)
    for row in 1...left.count {
      var current = [row]
      for column in 1...right.count {
        let cost = left[row - 1] == right[column - 1] ? 0 : 1
        var best = min(last[column] + 1, current[column - 1] + 1, last[column - 1] + cost)
        if row > 1, column > 1, left[row - 1] == right[column - 2], left[row - 2] == right[column - 1] {
          best = min(best, beforeLast[column - 2] + 1)
        }
        current.append(best)
      }
      (beforeLast, last) = (last, current)
    }
    return last[right.count]
  }
}
