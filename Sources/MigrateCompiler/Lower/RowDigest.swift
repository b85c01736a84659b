internal import MigrateCatalog
internal import MigrateSQL

/// 64 bits by which a row tells later whether somebody has changed it: a quarter of what its values take to be read, and less to be kept.
/// An edit goes unnoticed once in 2^64.
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
      case TypeOID.numeric where precision != nil: "hash_numeric_extended(\(value), \(number))"
      // NaN and the infinities have no scale, and all the same bits.
      case TypeOID.numeric:
        "hash_numeric_extended(\(value), coalesce(scale(\(value)), ascii(CAST(\(value) AS text))) * 65536 + \(number))"
      case 25, TypeOID.varying: "hashtextextended(\(value) COLLATE \"C\", \(number))"
      // As text it has no blanks at its end.
      case TypeOID.character where !isPadded:
        "hashtextextended(CAST(\(value) AS text) COLLATE \"C\", octet_length(\(value)) * 65536 + \(number))"
      case _ where labels != nil: "hashenumextended(\(value), \(number))"
      case _ where isObject: "hashoidextended(CAST(\(value) AS oid), \(number))"
      case _: "hashtextextended(CAST(\(value) AS text) COLLATE \"C\", \(number))"
      }
    return isNotNull ? bits : "coalesce(\(bits), 0)"
  }
}

extension WrittenTable {
  /// Of what a row holds besides its key; `nil` where it holds nothing else.
  func digest(_ value: (Column) -> SQL) -> SQL? {
    let bits = otherColumns.map { $0.digest(of: value($0)) }
    return bits.isEmpty ? nil : .joined(bits, by: "\n# ")
  }

  /// Of a row that is there. Cast, since the column may have another type by the time the run is taken back.
  func digest(of alias: Identifier) -> SQL? { digest { "CAST(\(alias).\($0.name) AS \($0.base))" } }
}
