import MigrateDiagnostics

extension Decoder {
  private static let example =
    "steps: [{update: shop.orders, match: orders.user_id = batch.id, set: {state: 'closed'}}]"
  static let verbs = ["update", "insert", "delete", "move", "emit"]

  /// `steps:`, or the single step whose keys stand at the top.
  mutating func steps(of fields: Fields) -> [StepDefinition] {
    if let entry = fields["steps"] {
      for verb in Self.verbs {
        if let own = fields[verb] { refuse(.stepBesideSteps(verb, at: own.key.span)) }
      }
      if let set = fields["set"] { refuse(.stepBesideSteps("set", at: set.key.span)) }
      return steps(entry)
    }
    guard Self.verbs.contains(where: { fields[$0] != nil }) else {
      for key in ["match", "values", "from", "to", "missing", "on_revert"] {
        if let entry = fields[key] { refuse(.withoutVerb(key, at: entry.key.span)) }
      }
      return []
    }
    return Self.sorted([step(fields)])
  }

  /// Neighbouring moves are one: a row is added before those that refer to it, and removed behind them, so where the children stand
  /// first, as they are to be removed, their parents are added first.
  private static func sorted(_ steps: [[StepDefinition]]) -> [StepDefinition] {
    var sorted: [StepDefinition] = []
    var moves: [[StepDefinition]] = []
    for step in steps + [[]] {
      if case .add? = step.first?.verb {
        moves.append(step)
      } else {
        sorted += moves.reversed().map { $0[0] } + moves.map { $0[1] } + step
        moves = []
      }
    }
    return sorted
  }

  /// What is read of a key, and not together with steps.
  mutating func refuseBesideSteps(_ fields: Fields, _ undo: UndoPolicy) {
    guard case .except = undo, let entry = fields["undo"] else { return }
    refuse(.notYetExceptBesideSteps(at: entry.key.span))
  }

  private mutating func steps(_ entry: YAMLEntry) -> [StepDefinition] {
    switch entry.value.content {
    case .refused: return []
    case .sequence(let elements):
      if elements.isEmpty, isComplete {
        refuse(.wrongKind("`steps` is empty", example: Self.example, at: entry.value.span))
      }
      return Self.sorted(
        elements.map { element in
          guard let mapping = map(element, "a step", example: "update: shop.users") else { return [] }
          return step(fields(of: mapping, at: .step))
        })
    case .scalar, .mapping:
      refuse(.wrongKind("`steps` is a list, a step an item", example: Self.example, at: entry.value.span))
      return []
    }
  }

  /// One, or two: of a move that which adds and that which removes, of an insert that updates that which adds and that which changes
  /// what was there. None where it could not be read.
  private mutating func step(_ fields: Fields) -> [StepDefinition] {
    let said = Self.verbs.filter { fields[$0] != nil }
    guard let word = said.first, let entry = fields[word] else {
      if isComplete, !fields.mayStandFor(Self.verbs), let first = fields.first {
        refuse(.missingKey("update", in: "a step", example: "update: shop.users", at: first))
      }
      return []
    }
    if said.count > 1, let second = fields[said[1]] { refuse(.severalVerbs(word, said[1], at: second.key.span)) }
    refuseForeign(fields, to: word)
    if word == "move" { return move(entry, fields) }
    let from = fields["from"].flatMap { self.from($0) }
    guard let verb = verb(word, entry, fields) else { return [] }
    if fields["from"] != nil, from == nil { return [] }
    var step = StepDefinition(verb: verb, from: from, span: entry.key.span)
    step.rejectsMissing = rejectsMissing(fields)
    step.onRevert = fields["on_revert"].map { assignments($0) } ?? []
    if case .notify = verb, let other = step.onRevert.first(where: { !$0.isPayload }) {
      refuse(.notPayload(other.column.value, at: other.column.span))
    }
    guard case .insert(let table, let values, let onConflict?) = verb else { return [step] }
    if onConflict.resolution != .skip, let from = fields["from"] {
      refuse(.notYetConflictWithFrom(onConflict.resolution.rawValue, at: from.key.span))
    }
    guard onConflict.resolution == .update else { return [step] }
    let update = StepDefinition.Verb.overwrite(table, values: values, onConflict: onConflict)
    return [step, StepDefinition(verb: update, from: nil, span: entry.key.span)]
  }

  /// `move: shop.orders` with `to: archive.orders`.
  private mutating func move(_ entry: YAMLEntry, _ fields: Fields) -> [StepDefinition] {
    let match = fields["match"].flatMap { sql($0, inFlow: fields.isFlow, "one SQL condition") }
    let values = fields["values"].map { assignments($0) } ?? []
    if fields["to"] == nil { refuseMissing("to", in: fields, "to: archive.orders", at: entry.key.span) }
    guard let table = table(entry), let to = fields["to"].flatMap({ self.table($0) }),
      fields["match"] == nil || match != nil
    else { return [] }
    let span = entry.key.span
    var removal = StepDefinition(verb: .delete(table, match: match), from: nil, span: span)
    removal.rejectsMissing = rejectsMissing(fields)
    return [
      StepDefinition(verb: .add(to, rowsOf: table, match: match, values: values), from: nil, span: span), removal,
    ]
  }

  private mutating func rejectsMissing(_ fields: Fields) -> SourceSpan? {
    guard let entry = fields["missing"], let word = text(entry, "`skip` or `reject`") else { return nil }
    if word.value.utf8.elementsEqual("reject".utf8) {
      if let from = fields["from"] { refuse(.notYetRejectWithFrom(at: from.key.span)) }
      return entry.key.span
    }
    if !word.value.utf8.elementsEqual("skip".utf8) {
      refuse(
        .wrongKind(
          "`missing` says what a row does that finds no row of the table: skip or reject", example: "missing: reject",
          at: word.span))
    }
    return nil
  }

  /// Keys that say nothing about such a step.
  private mutating func refuseForeign(_ fields: Fields, to word: String) {
    let own =
      switch word {
      case "update": ["match", "set", "missing"]
      case "delete": ["match", "missing"]
      case "insert": ["values", "on_conflict"]
      case "move": ["match", "values", "to", "missing"]
      default: ["values", "on_revert"]
      }
    for key in ["match", "set", "values", "on_conflict", "on_revert", "to", "missing"]
      + (word == "move" ? ["from"] : [])
    where !own.contains(key) {
      if let entry = fields[key] { refuse(.keyOfOtherVerb(key, word, at: entry.key.span)) }
    }
  }

  private mutating func verb(_ word: String, _ entry: YAMLEntry, _ fields: Fields) -> StepDefinition.Verb? {
    let isFlow = fields.isFlow
    let match = fields["match"].flatMap { sql($0, inFlow: isFlow, "one SQL condition") }
    if fields["match"] != nil, match == nil { return nil }
    switch word {
    case "update":
      let set = fields["set"].map { assignments($0) }
      if fields["set"] == nil { refuseMissing("set", in: fields, "set: {column: expression}", at: entry.key.span) }
      guard let set, !set.isEmpty else { return nil }
      return table(entry).map { .update($0, match: match, set: set) }
    case "insert":
      let values = fields["values"].map { assignments($0) }
      let onConflict = fields["on_conflict"].flatMap { self.onConflict($0) }
      if fields["on_conflict"] != nil, onConflict == nil { return nil }
      return table(entry).map { .insert($0, values: values, onConflict: onConflict) }
    case "delete": return table(entry).map { .delete($0, match: match) }
    default: return emit(entry, fields)
    }
  }

  /// `on_conflict: {key: [user_id, month], do: skip}`
  private mutating func onConflict(_ entry: YAMLEntry) -> OnConflict? {
    let example = "on_conflict: {key: [user_id, month], do: skip}"
    guard let mapping = map(entry.value, "`on_conflict`", example: example) else { return nil }
    let fields = fields(of: mapping, at: .onConflict)
    for key in ["key", "do"] where fields[key] == nil && isComplete && !fields.mayStandFor([key]) {
      refuse(.missingKey(key, in: "`on_conflict`", example: example, at: entry.key.span))
    }
    let key = fields["key"].map { names($0, of: "column", example: "key: [user_id, month]") } ?? []
    guard let done = fields["do"], let word = text(done, "`skip`") else { return nil }
    guard let resolution = OnConflict.Resolution(rawValue: word.value) else {
      refuse(.wrongKind("`do` says what a conflict does: skip, update or reject", example: example, at: word.span))
      return nil
    }
    let set = fields["set"].map { assignments($0) } ?? []
    if let said = fields["set"], resolution != .update { refuse(.setWithoutUpdate(at: said.key.span)) }
    return key.isEmpty ? nil : OnConflict(resolution: resolution, key: key, set: set, span: entry.key.span)
  }

  /// `emit: table`, or `emit: {notify: channel}` whose one value is `payload`.
  private mutating func emit(_ entry: YAMLEntry, _ fields: Fields) -> StepDefinition.Verb? {
    if fields["values"] == nil { refuseMissing("values", in: fields, "values: {kind: 'changed'}", at: entry.key.span) }
    let values = fields["values"].map { assignments($0) } ?? []
    guard case .mapping(let mapping) = entry.value.content else {
      guard let table = table(entry), !values.isEmpty else { return nil }
      return .emit(table, values: values)
    }
    let fields = self.fields(of: mapping, at: .emit)
    guard let channel = fields["notify"].flatMap({ text($0, "the name of a channel") }) else { return nil }
    guard values.count == 1, let payload = values.first, payload.isPayload else {
      if let second = values.first(where: { !$0.isPayload }) ?? values.last {
        refuse(.notPayload(second.column.value, at: second.column.span))
      }
      return nil
    }
    return .notify(channel, payload: payload)
  }

  /// `from:` name: SELECT, one of them.
  private mutating func from(_ entry: YAMLEntry) -> DerivedRows? {
    let example = "from: {lost: SELECT user_id, sum(points) AS points FROM batch GROUP BY user_id}"
    guard let mapping = map(entry.value, "`from`", example: example) else { return nil }
    guard let only = mapping.entries.first, mapping.entries.count == 1 else {
      if mapping.isWhole, isComplete {
        refuse(.wrongKind("`from` has one query under its name", example: example, at: entry.value.span))
      }
      return nil
    }
    let name = Located(only.key.text, at: only.key.span)
    guard NameRules.isParameterName(name.value) else {
      refuse(.badRowsName(name.value, at: name.span))
      return nil
    }
    return sql(only, inFlow: mapping.isFlow, "one SELECT").map { DerivedRows(name: name, query: $0) }
  }

  private mutating func refuseMissing(_ key: String, in fields: Fields, _ example: String, at span: SourceSpan) {
    guard isComplete, !fields.mayStandFor([key]) else { return }
    refuse(.missingKey(key, in: "such a step", example: example, at: span))
  }
}

extension Assignment {
  fileprivate var isPayload: Bool { column.value.utf8.elementsEqual("payload".utf8) }
}

extension Diagnostic {
  fileprivate static func stepBesideSteps(_ key: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "step-beside-steps", at: span, "\"\(key)\" stands beside `steps`, so what it belongs to is not said",
      remedy: "make it a step of its own: `- \(key == "set" ? "update" : key): …` in the list")
  }

  fileprivate static func notYetExceptBesideSteps(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "not-yet", at: span, "`undo: {except: …}` beside steps is not there yet in this version",
      remedy: "until then: leave it out: what triggers write is kept and put right; or `undo: none`")
  }

  fileprivate static func setWithoutUpdate(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "set-without-update", at: span, "`set` says what the row that is there becomes, and only `do: update` changes it",
      remedy: "`do: update`, or leave `set` out")
  }

  fileprivate static func notYetRejectWithFrom(at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "not-yet", at: span, "`missing: reject` of what `from` gives is not there yet in this version",
      remedy: "until then: a rule, `validation: {its user is there: EXISTS (SELECT FROM shop.users WHERE …)}`")
  }

  fileprivate static func notYetConflictWithFrom(_ resolution: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "not-yet", at: span, "`do: \(resolution)` of what `from` gives is not there yet in this version",
      remedy: "until then: make that query the source, `source: {query: SELECT …, key: …}`, which is read once")
  }

  fileprivate static func withoutVerb(_ key: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "key-without-verb", at: span, "\"\(key)\" belongs to a step, and there is none",
      remedy: "say what is done, and with which table: `update: shop.users`, `insert: …`, `delete: …` or `emit: …`")
  }

  fileprivate static func severalVerbs(_ first: String, _ second: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "several-verbs", at: span, "a step does one thing, and this one has `\(first)` and `\(second)`",
      remedy: "make two steps of it: `steps:` is a list, done in order in one transaction")
  }

  fileprivate static func keyOfOtherVerb(_ key: String, _ verb: String, at span: SourceSpan) -> Diagnostic {
    let remedy =
      switch (key, verb) {
      case ("match", _): "which rows it works from is said by `from`: a SELECT over `batch` with a WHERE"
      case ("set", "insert"), ("set", "emit"): "what a new row holds stands under `values`"
      case ("missing", _): "it says what a row does that finds no row to change or to remove"
      case ("on_revert", _): "what this step writes is taken back by a revert, whatever is said"
      case ("to", _): "it says where `move` adds the rows that it removes"
      case ("from", _): "which rows are moved is said by `match`"
      case ("on_conflict", _): "it says what an `insert` does where a row is there already"
      case ("values", "update"): "what a row becomes stands under `set`"
      default: "remove it: `delete` needs no more than its `match`"
      }
    return Diagnostic(
      "key-of-other-verb", at: span, "\"\(key)\" says nothing about a step that does `\(verb)`", remedy: remedy)
  }

  fileprivate static func notPayload(_ name: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "not-a-payload", at: span, "a notification has one value, its `payload`, and \"\(name)\" is another",
      remedy: "several values go into one text: `payload: json_build_object('kind', 'expired', 'rows', e.n)::text`")
  }

  fileprivate static func badRowsName(_ name: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "bad-rows-name", at: span,
      "\"\(name)\" cannot name rows: SQL needs the name bare, so small letters, digits and _ can, not beginning with a digit",
      remedy: "for instance `\(NameRules.batchName(like: name))`")
  }
}
