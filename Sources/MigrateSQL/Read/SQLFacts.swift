/// What an SQL text names and calls, each with its bytes in the text. Order is that of the text.
package struct SQLFacts: Sendable {
  package var parameters: [ParameterUse] = []
  package var columns: [ColumnUse] = []
  package var functions: [FunctionUse] = []
  package var operators: [OperatorUse] = []
  /// The tables and views that its queries read; a common table of the text itself is none.
  package var relations: [RelationUse] = []
  package var sqlValueFunctions: [SQLValueFunctionUse] = []
  package var constants: [ConstantUse] = []
  package var casts: [CastUse] = []
  /// Whether a NATURAL JOIN reads columns that the text does not name.
  package var hasNaturalJoin = false
  /// How many queries there are, itself included where it is one.
  package var queries = 0
  /// Whether an expression holds a query of its own.
  package var hasSubquery: Bool { queries > 0 }

  mutating func sort() {
    parameters.sort { $0.range.lowerBound < $1.range.lowerBound }
    columns.sort { $0.range.lowerBound < $1.range.lowerBound }
    functions.sort { $0.range.lowerBound < $1.range.lowerBound }
    operators.sort { $0.range.lowerBound < $1.range.lowerBound }
    relations.sort { $0.range.lowerBound < $1.range.lowerBound }
    sqlValueFunctions.sort { $0.range.lowerBound < $1.range.lowerBound }
    constants.sort { $0.range.lowerBound < $1.range.lowerBound }
    casts.sort { $0.range.lowerBound < $1.range.lowerBound }
  }
}

/// A reference that SQL resolves to a column (or, when it is one bare name, perhaps to a whole row).
package struct ColumnUse: Sendable, Equatable {
  package struct Part: Sendable, Equatable {
    /// As SQL reads it: folded when it is not quoted.
    package let name: Identifier
    package let range: Range<Int>
    package let isQuoted: Bool
  }

  /// `a.b.c` has three; the last is the column unless ``isStar``.
  package let parts: [Part]
  /// The whole reference, a `*` included.
  package let range: Range<Int>
  /// `t.*` or `*`.
  package let isStar: Bool
  package let scope: Scope
  /// The bare name of a sort or group item that is also the name of an output column of its query. A sort takes that; a group
  /// item takes an input column of the name first.
  package let namesOutput: Bool

  /// The name before the last one.
  package var qualifier: Part? { isStar ? parts.last : parts.dropLast().last }
  /// The last name, if it is a column's.
  package var column: Part? { isStar ? nil : parts.last }
  package var isQualified: Bool { qualifier != nil }
  package var depth: Int { scope.depth }
}

/// A call of a function. `coalesce`, `greatest`, `nullif` and the like are no functions to PostgreSQL.
package struct FunctionUse: Sendable, Equatable {
  /// The parts of the name.
  package let name: [Identifier]
  /// The name's bytes; of a call in SQL's own syntax (`extract(… FROM …)`, `AT TIME ZONE`) those of its first word.
  package let range: Range<Int>
  package let argumentCount: Int
  package let isStar: Bool
  package let isDistinct: Bool
  package let isVariadic: Bool
  package let hasFilter: Bool
  package let hasOrder: Bool
  package let isWithinGroup: Bool
  /// Whether it is a window function's call: `OVER` follows.
  package let over: Bool
  /// Whether it is written in SQL's own syntax; ``name`` then is PostgreSQL's name for it, in `pg_catalog`.
  package let isSQLSyntax: Bool
  package let scope: Scope

  package var depth: Int { scope.depth }
}

/// An operator.
package struct OperatorUse: Sendable, Equatable {
  /// `=`, `~~` for LIKE, `<>` for NOT IN, `BETWEEN`.
  package let name: String
  /// The schema, of `OPERATOR(schema.=)`.
  package let schema: Identifier?
  /// The sign, or the first word of it.
  package let range: Range<Int>
  package let isPrefix: Bool
  package let scope: Scope
}

/// A table or view in a FROM.
package struct RelationUse: Sendable, Equatable {
  package let database: Identifier?
  package let schema: Identifier?
  package let name: Identifier
  package let alias: Identifier?
  /// The bytes of the name, schema included, alias not.
  package let range: Range<Int>
  /// How many queries stand around its FROM's query; 0 for the outermost query's own FROM.
  package let depth: Int
}

/// A value that SQL writes like a name: `current_date`, `user`.
package struct SQLValueFunctionUse: Sendable, Equatable {
  /// In small letters, as written: `user`, `current_user`, `localtimestamp`.
  package let name: String
  package let range: Range<Int>
  package let scope: Scope
}

/// A constant.
package struct ConstantUse: Sendable, Equatable {
  package enum Value: Sendable, Equatable {
    case string(String)
    /// As written, with its sign.
    case number(String)
    case bits(String)
    case boolean(Bool)
    case null
  }

  package let value: Value
  package let range: Range<Int>
}

/// A cast: `x::type`, `CAST(x AS type)`, `type 'x'`.
package struct CastUse: Sendable, Equatable {
  /// The name as PostgreSQL reads it: `int` is `pg_catalog.int4`.
  package let type: [Identifier]
  /// Whether the type has a length or precision: `varchar(5)`.
  package let hasModifier: Bool
  /// The bytes of the first word of the type's name.
  package let range: Range<Int>
  /// The text that is cast, if it is a string constant.
  package let literal: String?
}

/// A reading of the clock, which moves from batch to batch.
package struct ClockUse: Sendable, Equatable {
  /// `now`, `current_date`.
  package let name: String
  package let range: Range<Int>
}

extension SQLFacts {
  private static let clockFunctions = [
    "now", "transaction_timestamp", "statement_timestamp", "clock_timestamp", "timeofday",
  ].map(Identifier.init(trusted:))

  private static let clockWords = ["current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"]

  /// `now()`, `clock_timestamp()`, `current_date` and their like, sub-selects included.
  package var clockUses: [ClockUse] {
    let calls = functions.compactMap { function -> ClockUse? in
      guard let name = function.name.last, Self.clockFunctions.contains(name) else { return nil }
      guard function.name.count == 1 || function.name.first == Identifier(trusted: "pg_catalog") else { return nil }
      return ClockUse(name: name.name, range: function.range)
    }
    let words = sqlValueFunctions.filter { Self.clockWords.contains($0.name) }
    return (calls + words.map { ClockUse(name: $0.name, range: $0.range) })
      .sorted { $0.range.lowerBound < $1.range.lowerBound }
  }

  /// Whether its value is fixed by the text alone.
  package var isConstantOnly: Bool {
    parameters.isEmpty && columns.isEmpty && functions.isEmpty && sqlValueFunctions.isEmpty && !hasSubquery
  }
}
