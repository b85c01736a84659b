internal import MigrateCatalog
internal import MigrateSQL

/// How a value is kept in undo and how two of them are compared.
extension Column {
  /// The column's value, domains unwrapped, so that an array of it is no array of a domain, on which ALTER DOMAIN would fail.
  func plain(of alias: Identifier) -> SQL {
    isDomain || isWrapped ? "CAST(\(alias).\(name) AS \(base))" : "\(alias).\(name)"
  }

  /// Whether equal values have the same image, so that the cheaper comparison does: not numeric without a scale (1.0 and 1.00),
  /// floats (0 and -0), interval, or what has a collation.
  var hasExactEquality: Bool {
    !isDomain && (TypeOID.exactlyEqual.contains(baseOID) || (baseOID == TypeOID.numeric && precision != nil))
  }

  /// Whether an assignment writes the very value, cast to `image`.
  var storesWhatIsAssigned: Bool {
    !isDomain && !isWrapped && !isPadded && (type == base || (baseOID == TypeOID.numeric && precision != nil))
  }

  /// What one element of the undo array holds: an array or a composite goes in a row of its own, since `array_agg` would make
  /// one array with a dimension more of arrays, and `unnest` would spread a composite.
  func kept(of alias: Identifier, step: Int) -> SQL {
    isWrapped ? "CAST(ROW(\(plain(of: alias))) AS \(Name.wrapper(step, self)))" : plain(of: alias)
  }

  /// The type of the undo array's elements.
  func element(step: Int) -> SQL { isWrapped ? Name.wrapper(step, self) : "\(base)" }
}

extension ResolvedBatch {
  /// True where the row would change, byte for byte: `1.0` is not `1.00`, and json has an image though it has no equality
  /// (V12, V13). The new value is cast to the column's type with its scale, without its length, to which a cast would cut.
  var differs: SQL {
    // The blanks at the end of a character(n) are not the value's: without them on both sides, and yet never cut.
    let old: [SQL] = assignments.map { assignment in
      let plain = assignment.column.plain(of: alias)
      return assignment.column.isPadded ? "CAST(\(plain) AS text)" : plain
    }
    let new: [SQL] = assignments.map { assignment in
      // Where equality is what is asked, the cast would only fill up with zeros, and cost as much as a function.
      if assignment.isKeptWhole, equalityTells { return assignment.value }
      let image: SQL = "CAST(\(assignment.value) AS \(assignment.column.image))"
      return assignment.column.isPadded ? "CAST(\(image) AS text)" : image
    }
    return Self.differing(zip(assignments, zip(old, new)).map { ($0.column, $1.0, $1.1) })
  }

  private var equalityTells: Bool { assignments.allSatisfy(\.column.hasExactEquality) }

  /// True where an old value and its new one differ in their images.
  static func differing(_ values: [(column: Column, old: SQL, new: SQL)]) -> SQL {
    guard values.allSatisfy(\.column.hasExactEquality) else {
      return images(values.map(\.old), .differFrom, values.map(\.new))
    }
    let tests: [SQL] = values.map { "\($0.old) IS DISTINCT FROM \($0.new)" }
    return tests.count == 1 ? tests[0] : SQL("(") + SQL.joined(tests, by: "\n OR ") + SQL(")")
  }

  /// How rows of values compare byte for byte.
  enum ImageRelation { case equal, differFrom }

  /// Two rows of values compared byte for byte: on one line where each is a single value, else under one another.
  static func images(_ left: [SQL], _ relation: ImageRelation, _ right: [SQL]) -> SQL {
    let comparison: SQL =
      switch relation {
      case .equal: "record_image_eq("
      case .differFrom: "record_image_ne("
      }
    let separator: SQL = left.count == 1 ? ", " : ",\n                "
    return comparison + "ROW(\(list: left))" + separator + "ROW(\(list: right)))"
  }

  /// Whether what a row becomes can be told before it is written: no trigger writes it again, no function of somebody's own has
  /// a say, and what is assigned is what is stored, which it is not where a length cuts blanks off or fills them up.
  var foreseesImages: Bool {
    comparesImages && !hasTriggers && !readsOtherRows && capturedColumns.allSatisfy(\.storesWhatIsAssigned)
  }

  /// What is computed of the batch's rows to know which of them change.
  var computedConditions: [SQL] { (comparesImages ? [differs] : []) + validConditions }
}
