internal import MigrateCatalog
internal import MigrateSQL

/// Rows that neighbouring moves have taken along, as their foreign keys link them: they come back whole, or stay whole where they went.
/// A parent without its children, or children that attach themselves to a stranger under their parent's key, are no way back.
struct MovedFamily: Sendable {
  /// A move: which of its rows are in both tables, and how what has been added is found again by what has been removed.
  struct Move: Sendable {
    let adding: ResolvedStep
    let removing: ResolvedStep
    let target: WrittenTable
    let source: WrittenTable
    /// As they were before.
    let removed: KeptRows
    /// What the step has added where it keeps that itself, as keys and digests.
    let returned: KeptRows?
    /// The columns of the target that are told by a row that was removed, with their values.
    let values: [(column: Column, value: SQL)]

    /// The column of the source that one of the target is a copy of.
    func copied(to name: Identifier) -> Identifier? {
      guard case .insert(_, let assignments, _) = adding.verb,
        let value = assignments.first(where: { $0.column.name == name })?.value
      else { return nil }
      let text = RenderedSQL(value).text
      return source.table.columns.map(\.name).first { RenderedSQL("\(Resolver.moved).\($0)").text == text }
    }
  }

  /// Rows of the one refer to rows of the other, here or where they went.
  struct Link: Sendable {
    let child: Int
    let parent: Int
    let referring: [SQL]
    let referred: [SQL]
    /// The columns that refer, of the table that the rows are moved from; `nil` where they are computed on the way.
    let columns: [Identifier]?
    /// Where the parents stand before they are moved, with the columns that are referred to; `nil` for a foreign key of where they went.
    let parents: (table: QualifiedName, columns: [Identifier])?
  }

  let moves: [Move]
  let links: [Link]

  /// Whether each row has one parent at most, so that a family is found by going up once and down once. That the rows refer alike where
  /// they went makes no second one.
  var isForest: Bool {
    moves.indices.allSatisfy { move in
      let above = links.filter { $0.child == move }
      return above.allSatisfy { link in
        link.parent != move && link.columns != nil && link.columns == above.first?.columns
          && link.parent == above.first?.parent
      }
    }
  }

  /// The moves, parents behind their children.
  var upwards: [Int] {
    func depth(_ move: Int) -> Int {
      guard isForest, let above = links.first(where: { $0.child == move }) else { return 0 }
      return 1 + depth(above.parent)
    }
    return moves.indices.sorted { (depth($1), $0) < (depth($0), $1) }
  }

  func holds(_ step: ResolvedStep) -> Bool {
    moves.contains { $0.adding.number == step.number || $0.removing.number == step.number }
  }
}

extension ResolvedBatch {
  /// The moves that stand beside one another, and whose rows are found again.
  var families: [MovedFamily] {
    var groups: [[ResolvedStep]] = [[]]
    for step in steps {
      if case .moved = step.rows {
        groups[groups.count - 1].append(step)
      } else if let next = steps.first(where: { $0.number > step.number }), case .moved = next.rows {
        groups.append([])
      }
    }
    return groups.filter { !$0.isEmpty }.compactMap(family)
  }

  private func family(of adding: [ResolvedStep]) -> MovedFamily? {
    let moves = adding.compactMap(move)
    guard moves.count == adding.count else { return nil }
    var links: [MovedFamily.Link] = []
    for (parent, above) in moves.enumerated() {
      for (child, below) in moves.enumerated() {
        for key in above.source.table.referencedBy where key.tableOID == below.source.table.oid {
          links.append(
            MovedFamily.Link(
              child: child, parent: parent,
              referring: key.referring.compactMap { below.source.table.column($0.name).map(below.before) },
              referred: key.columns.compactMap { above.source.table.column($0).map(above.before) },
              columns: key.referring,
              parents: (above.source.table.name, key.columns.compactMap { above.source.table.column($0)?.name })))
        }
        for key in above.target.table.referencedBy where key.tableOID == below.target.table.oid {
          let referring = key.referring.compactMap { below.target.table.column($0.name).flatMap(below.after) }
          let referred = key.columns.compactMap { above.target.table.column($0).flatMap(above.after) }
          // What only the database knows of a row that was added tells no family.
          guard referring.count == key.referring.count, referred.count == key.columns.count else { return nil }
          links.append(
            MovedFamily.Link(
              child: child, parent: parent, referring: referring, referred: referred,
              columns: columns(of: key, below, above), parents: nil))
        }
      }
    }
    return MovedFamily(moves: moves, links: links)
  }

  /// The columns of the source by which rows refer where they went, if they refer there to the same ones as here.
  private func columns(
    of key: ForeignKey, _ below: MovedFamily.Move, _ above: MovedFamily.Move
  ) -> [Identifier]? {
    let referring = key.referring.compactMap(below.copied)
    guard referring.count == key.referring.count else { return nil }
    let here = above.source.table.referencedBy.first {
      $0.tableOID == below.source.table.oid && $0.referring == referring
    }
    guard let here else { return referring }
    let referred = key.columns.compactMap { above.target.table.column($0).flatMap { above.copied(to: $0.name) } }
    return referred == here.columns.compactMap { above.source.table.column($0)?.name } ? referring : nil
  }

  private func move(_ step: ResolvedStep) -> MovedFamily.Move? {
    guard case .moved(let moved) = step.rows, case .insert(let target, let assignments, _) = step.verb,
      let remover = steps.first(where: { $0.number == moved.removedBy }), let source = remover.written
    else { return nil }
    let isWhole = !step.readsOtherRows && !source.table.columns.contains(where: \.isGenerated)
    let values = assignments.compactMap { assignment -> (column: Column, value: SQL)? in
      // Of a table with columns that are computed only what is copied of the others.
      let copies = source.storedColumns.contains {
        RenderedSQL("\(Resolver.moved).\($0.name)").text == RenderedSQL(assignment.value).text
      }
      guard !assignment.isVolatile, isWhole || copies else { return nil }
      let column = assignment.column
      let value = Self.assigned(column, assignments)
      return (column, column.isDomain || column.isWrapped ? "CAST(\(value) AS \(column.base))" : value)
    }
    guard target.key.allSatisfy({ key in values.contains { $0.column.number == key.number } }) else { return nil }
    return MovedFamily.Move(
      adding: step, removing: remover, target: target, source: source, removed: kept(source, by: remover),
      returned: undone(step).map { KeptRows(table: $0, step: step.number) }, values: values)
  }
}

extension MovedFamily.Move {
  var own: SQL { SQL(pieces: [.text("own_\(removing.number)")]) }
  var back: SQL { SQL(pieces: [.text("back_\(removing.number)")]) }

  private var columns: [(name: SQL, column: Column)] {
    zip(removed.keyNames, source.key).map { ($0, $1) } + source.otherColumns.map { (Name.old($0), $0) }
  }

  /// A column of the row as it was before, which is `e`.
  func before(_ column: Column) -> SQL {
    let kept = columns.first { $0.column.number == column.number }
    return "e.\(kept?.name ?? Name.old(column))"
  }

  /// A column of the row as it was added, which is `d`; `nil` where only the database has known it.
  func after(_ column: Column) -> SQL? {
    values.contains { $0.column.number == column.number } ? "d.\(Name.new(column))" : nil
  }

  /// The key of the row that was added.
  var keyAfter: [SQL] { target.key.map { "d.\(Name.new($0))" } }

  var sameKey: SQL { .joined(zip(target.keyColumns, keyAfter).map { "\($0) = \($1)" }, by: " AND ") }

  var keyTexts: SQL { "ARRAY[\(list: zip(target.key, keyAfter).map { $0.text(of: $1) })]" }

  var keyTextsBefore: SQL { "ARRAY[\(list: zip(source.key, removed.keyNames).map { $0.text(of: "e.\($1)") })]" }

  /// The rows of a batch behind FROM: `e` as they were, with what has been decided of them, and `d` as they were added.
  var rows: [SQL] {
    let arrays: [SQL] = columns.map { "b.\($0.name)" } + ["r.\(own)", "r.\(back)"]
    let moved: [SQL] = columns.map { "e.\($0.name) AS \($0.column.name)" }
    let added: [SQL] = values.map { "\($0.value) AS \(Name.new($0.column))" }
    return [
      "\(Name.image) AS r", "\(removed.relation) AS b",
      "unnest(\(list: arrays)) WITH ORDINALITY AS e(\(list: columns.map(\.name) + ["own", "back", "place"]))",
      "LATERAL (SELECT \(list: added) FROM (SELECT \(list: moved)) AS \(Resolver.moved)) AS d",
    ]
  }

  static let conditions: [SQL] = [
    "(r.slice, r.ordinal, r.part) = (\(Role.slice), \(Role.ordinal), \(Role.part))", ResolvedBatch.placeRead,
  ]
}
