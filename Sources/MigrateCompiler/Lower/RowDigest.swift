internal import MigrateCatalog
internal import MigrateSQL

/// 64 bits by which a row tells later whether somebody has changed it, in place of its values.
extension Column {
  /// Of the column's value, cast to its type. Another image gives other bits, also where the values are equal: 1.0 and 1.00. The number of
  /// the column stands in, so that two values that change places are seen.
  func digest(of value: SQL) -> SQL {
    let bits: SQL =
      switch baseOID {
      case 21: "hashint2extended(\(value), \(number))"
      case 23: "hashint4extended(\(value), \(number))"
      // Its own function folds the halves into one, so that 1 and 2^32 are alike.
      case 20: "hashint8extended(\(value), (\(value) >> 32) * 65536 + \(number))"
      case 16: "hashint4extended(CAST(\(value) AS integer), \(number))"
      case 2950: "uuid_hash_extended(\(value), \(number))"
      // Its own function says nothing of the sign, the scale, 0, NaN and the infinities, and little of the weight.
      case TypeOID.numeric: "hashtextextended(CAST(\(value) AS text) COLLATE \"C\", \(number))"
      case 25, TypeOID.varying: "hashtextextended(\(value) COLLATE \"C\", \(number))"
      // As text it has no blanks at its end.
      case TypeOID.character where !isPadded:
        "hashtextextended(CAST(\(value) AS text) COLLATE \"C\", octet_length(\(value)) * 65536 + \(number))"
      case _ where labels != nil: "hashenumextended(\(value), \(number))"
      case _ where isObject: "hashoidextended(CAST(\(value) AS oid), \(number))"
      // In a row the type writes itself; a cast to text may be anybody's.
      case _: "hashtextextended(CAST(ROW(\(value)) AS text) COLLATE \"C\", \(number))"
      }
    return isNotNull ? bits : "coalesce(\(bits), \(absence))"
  }

  /// What stands for NULL: many bits, and others in each column, so that those of several columns do not cancel each other out.
  private var absence: SQL {
    // A step of SplitMix64, made positive. Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
    var mixed = UInt64(truncatingIfNeeded: number) &* 0x9E37_79B9_7F4A_7C15
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return SQL(pieces: [.text(String((mixed ^ (mixed >> 31)) >> 1))])
  }

  /// Whether no two values that are equal differ in their bytes, so that who finds a row by it finds what it was.
  var isFoundExactly: Bool {
    hasExactEquality || ([25, TypeOID.varying].contains(baseOID) && collation == nil && !isDomain) || labels != nil
  }
}

extension WrittenTable {
  /// What tells whether a row is as it was, besides that it is found by its key: its other columns, and what of the key can be equal and
  /// not the same.
  var comparedColumns: [Column] { key.filter { !$0.isFoundExactly } + otherColumns }

  /// Of these; `nil` where there are none.
  func digest(_ value: (Column) -> SQL) -> SQL? {
    let bits = comparedColumns.map { $0.digest(of: value($0)) }
    return bits.isEmpty ? nil : .joined(bits, by: "\n# ")
  }

  /// Of a row that is there. Cast, since the column may have another type by the time the run is taken back.
  func digest(of alias: Identifier) -> SQL? { digest { "CAST(\(alias).\($0.name) AS \($0.base))" } }
}
