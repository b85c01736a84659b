/// `pg_type.oid` of types that rules name. Source: src/include/catalog/pg_type.dat; they are fixed for ever.
package enum TypeOID {
  /// What is below is PostgreSQL's own. Source: src/include/access/transam.h, FirstNormalObjectId.
  package static let firstOfUser = 16_384
  package static let name = 19
  package static let character = 1042
  package static let varying = 1043
  package static let texts = [25, varying, character, name, 18, 705]
  /// What may be assigned to a `varchar(n)` and be longer.
  package static let longTexts = [25, varying, character]
  /// With what `pg_type.typlen` says of each: the bytes of a value.
  package static let integers = [21: 2, 23: 4, 20: 8]
  package static let floats = [700: "real", 701: "double precision"]
  package static let numeric = 1700
  package static let timestamptz = 1184
  package static let timestamp = 1114
  package static let date = 1082
  /// Those whose equal values have one image: bool, int8, int2, int4, oid, bytea, date, time, timestamp, timestamptz, uuid.
  package static let exactlyEqual: Set<Int> = [16, 20, 21, 23, 26, 17, date, 1083, timestamp, timestamptz, 2950]
  /// Those whose values are objects of the database, a `regclass` and its kin: as text they are names, which a search path reads.
  static let objects: Set<Int> = [24, 2202, 2203, 2204, 2205, 2206, 3734, 3769, 4089, 4096, 4191]
}
