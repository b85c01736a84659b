internal import MigrateCatalog
internal import MigrateDefinition
internal import MigrateSQL

/// Values for rows that several batches reach: what does not depend on how these are cut.
struct SharedValues {
  let resolver: Resolver
  let writing: StepWriting
  /// The columns that the step sets.
  let written: Set<Identifier>

  private var names: StepNames { writing.names.with(bare: .target) }

  /// Whether the rows that the step works from are grouped by what is matched, so that one of them means a row of the table.
  var isOneForEach: Bool {
    guard let query = writing.step.query, query.outputs.isPlain, let groups = query.outputs.groups, !groups.isEmpty,
      let match = writing.step.match
    else { return false }
    let met = match.equalities.compactMap { Meeting($0, resolver, writing.names.with(bare: .either))?.rowsColumn }
    return Set(met).isSuperset(of: groups) && resolver.isOverBatch(query) && query.facts.queries == 1
  }

  /// Whether it is a constant, a sum with what the column holds, or the greater or lesser of the two.
  func commute(_ shape: SQLShape, _ column: Identifier) -> Bool {
    switch shape {
    case .infix("+", let left, let right):
      return isOwn(left, column) && addsUp(right) || isOwn(right, column) && addsUp(left)
    case .infix("-", let left, let right): return isOwn(left, column) && addsUp(right)
    case .call(let name, let terms):
      let (word, aggregate) = (name.last?.name ?? "", name.last?.name == "greatest" ? "max" : "min")
      guard ["greatest", "least"].contains(word), terms.contains(where: { isOwn($0, column) }) else { return false }
      return terms.allSatisfy { isOwn($0, column) || isFixed($0) || isAggregate($0, [aggregate]) }
    case .cast(let inner, _): return isFixed(inner)
    case .parameter, .constant: return true
    case .column, .prefix, .infix, .and, .or, .not, .other: return false
    }
  }

  private func isOwn(_ shape: SQLShape, _ column: Identifier) -> Bool {
    guard case .column(let use) = shape, case .target(let part) = resolver.meaning(of: use, in: names) else {
      return false
    }
    return part.name == column
  }

  /// The same whichever batch computes it: a constant, or what the row holds and nobody writes.
  private func isFixed(_ shape: SQLShape) -> Bool {
    switch shape {
    case .parameter, .constant: true
    case .column(let use):
      if case .target(let part) = resolver.meaning(of: use, in: names) { !written.contains(part.name) } else { false }
    case .cast(let inner, _), .prefix(_, let inner): isFixed(inner)
    case .infix(let sign, let left, let right):
      ["+", "-", "*", "/"].contains(sign) && isFixed(left) && isFixed(right)
    case .and, .or, .not, .call, .other: false
    }
  }

  /// What two batches compute of it has the same sum as what one computes of both.
  private func addsUp(_ shape: SQLShape) -> Bool {
    switch shape {
    case .column: isAggregate(shape, ["sum", "count"])
    case .infix("+", let left, let right), .infix("-", let left, let right): addsUp(left) && addsUp(right)
    case .infix("*", let left, let right): addsUp(left) && isFixed(right) || isFixed(left) && addsUp(right)
    case .prefix("-", let inner): addsUp(inner)
    // A cast could round.
    case .parameter, .constant, .prefix, .infix, .and, .or, .not, .call, .cast, .other: false
    }
  }

  private func isAggregate(_ shape: SQLShape, _ wanted: [String]) -> Bool {
    guard case .column(let use) = shape, case .rows(let part) = resolver.meaning(of: use, in: names),
      let query = writing.step.query, let place = query.outputs.names?.firstIndex(of: part.name),
      query.outputs.values.indices.contains(place)
    else { return false }
    switch query.outputs.values[place] {
    case .call(let name, let argument):
      guard wanted.contains(name.name) else { return false }
      // A sum of nothing but NULL is NULL, and all that it is added to.
      return name.name != "sum" || argument.flatMap { resolver.table.column($0.name) }?.isNotNull == true
    case .orZero(let name): return wanted.contains(name.name)
    case .column, .other: return false
    }
  }
}

extension Match {
  func shared(isExistence: Bool) -> Match {
    // Where it is not, the rows are grouped by what is matched.
    Match(condition: condition, isExistence: isExistence, isOwn: isOwn, isSingle: true, isShared: true)
  }
}
