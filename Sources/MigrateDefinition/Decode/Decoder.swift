public import MigrateDiagnostics

/// A tree of YAML to a ``Definition``: what is missing, unknown or of the wrong kind is collected, and reading goes on.
struct Decoder {
  let source: SourceText
  /// False when parts of the file could not be read: what seems to be missing may stand there.
  let isComplete: Bool
  private(set) var diagnostics: [Diagnostic] = []

  init(source: SourceText, isComplete: Bool) {
    self.source = source
    self.isComplete = isComplete
  }

  mutating func refuse(_ diagnostic: Diagnostic) { diagnostics.append(diagnostic) }

  /// What could be read of it, with ``diagnostics`` telling what could not; `nil` when too little is left.
  mutating func definition(from root: YAMLNode) -> Definition? {
    guard let mapping = map(root, "a definition", example: "batch: name") else { return nil }
    let fields = fields(of: mapping, at: .top)
    let name = fields["batch"].flatMap { batchName($0) }
    if fields["batch"] == nil { refuseMissing("batch", in: fields, root, unless: ["migration"]) }
    let description = fields["description"].flatMap { text($0, "one text") }
    guard let operation = operation(of: fields, root) else { return nil }
    // Refused already; what is wrong below it is told with it.
    let nobody = Located("", at: fields.first ?? SourceSpan(root.span.start, root.span.start))
    return Definition(
      source: source, name: name ?? nobody, description: description?.value, operation: operation, problems: diagnostics
    )
  }

  private mutating func operation(of fields: Fields, _ root: YAMLNode) -> BatchOperation? {
    let rows = fields["source"].flatMap { source($0) }
    if fields["source"] == nil { refuseMissing("source", in: fields, root) }
    let filter = fields["where"].flatMap { sql($0, inFlow: fields.isFlow, "one SQL condition") }
    let joined = fields["join"].map { self.joins($0) } ?? (read: [], unread: [])
    let lets = fields["let"].map { self.lets($0) } ?? []
    let parameters = fields["params"].map { self.parameters($0) } ?? []
    let steps = self.steps(of: fields)
    let isStepped = (["steps"] + Self.verbs).contains { fields[$0] != nil }
    let assignments = isStepped ? [] : fields["set"].map { self.assignments($0) } ?? []
    let isOfStep = ["match", "values", "from"].contains { fields[$0] != nil }
    if fields["set"] == nil, !isStepped, !isOfStep {
      refuseMissing("set", in: fields, root, unless: ["migration", "steps", "move", "target", "mapping"] + Self.verbs)
    }
    let validation = fields["validation"].map { self.validation($0) } ?? []
    let checks = fields["checks"].map { self.checks($0) } ?? Checks(before: [], batch: [], after: [])
    let batchSize = fields["batch_size"].flatMap { self.batchSize($0) }
    let parallel = fields["parallel"].flatMap { self.parallel($0) }
    let throttle = fields["throttle"].map { self.throttle($0) } ?? Throttle()
    refuseTarget(of: throttle, beside: batchSize?.value)
    let window = fields["window"].flatMap { self.window($0) }
    let expectations = fields["expect"].map { self.expectations($0) } ?? []
    let incremental = fields["incremental"].flatMap { text($0, "the name of a column") }
    let publish = fields["publish"].flatMap { self.publish($0) }
    let canary = fields["canary"].flatMap { self.canary($0) }
    let hold = fields["hold"].flatMap { self.hold($0, hasCanary: fields["canary"] != nil) }
    let onError = fields["on_error"].flatMap { self.onError($0) }
    let maxRejects = fields["max_rejects"].flatMap { self.maxRejects($0) }
    let undo = fields["undo"].map { self.undo($0) } ?? .full
    let timezone = fields["timezone"].flatMap { text($0, "the name of a zone, such as `Europe/Berlin`") }
    let searchPath = fields["search_path"].map { names($0, of: "schema", example: "search_path: [shop, public]") }
    let tests = fields["tests"].map { self.tests($0) } ?? []
    let needs = fields["needs"].map { self.needs($0) } ?? []
    guard let rows else { return nil }
    if isStepped { refuseBesideSteps(fields, undo) }
    let isSetWhole = fields["set"].map { isWhole($0, assignments.count) } ?? false
    let setSpan = fields["set"]?.key.span ?? fields.first ?? root.span
    return BatchOperation(
      source: rows, filter: filter, joins: joined.read, unreadJoins: joined.unread, lets: lets, parameters: parameters,
      set: assignments, setSpan: setSpan,
      isSetWhole: isSetWhole, steps: steps, isStepped: isStepped,
      validation: validation, checks: checks, batchSize: batchSize, throttle: throttle, window: window,
      expectations: expectations, incremental: incremental, publish: publish, canary: canary, hold: hold,
      parallel: parallel,
      onError: onError, maxRejects: maxRejects, undo: undo, timezone: timezone,
      searchPath: searchPath, tests: tests, needs: needs)
  }

  private mutating func refuseMissing(_ key: String, in fields: Fields, _ root: YAMLNode, unless others: [String] = [])
  {
    guard isComplete, !fields.mayStandFor([key] + others) else { return }
    let path = Array(source.path.utf8)
    let file = String(decoding: path.split(separator: UInt8(ascii: "/")).last ?? [], as: UTF8.self)
    let example =
      switch key {
      case "batch": "batch: \(NameRules.batchName(like: file))"
      case "source": "source: schema.table"
      default: "set:\n  column: expression"
      }
    let place = fields.first ?? SourceSpan(root.span.start, root.span.start)
    refuse(.missingKey(key, in: "a definition", example: example, at: place))
  }
}

extension Definition {
  /// More than these say nothing new about a file.
  private static let diagnosticLimit = 100

  /// Reads a definition; nothing about it has been compared with a database then.
  ///
  /// - Throws: all that is wrong with the file at once, in order of position.
  public init(_ source: SourceText) throws(Diagnostics) {
    self = try Definition(partly: source)
    guard problems.isEmpty else { throw Diagnostics(source: source, problems) }
  }

  /// Reads what can be read, so that the rest can be compared with a database and all errors come at once.
  ///
  /// - Throws: all that is wrong with the file, when what is left makes no definition.
  package init(partly source: SourceText) throws(Diagnostics) {
    let document = YAMLReader.read(source)
    var decoder = Decoder(source: source, isComplete: document.isComplete)
    var definition: Definition?
    if let root = document.root, !document.isBlank { definition = decoder.definition(from: root) }
    let understood = decoder.diagnostics.filter { document.isComplete || ($0.span?.start ?? 0) < document.end }
    let found = document.diagnostics + understood
    let ordered = found.sorted { ($0.span?.start ?? -1) < ($1.span?.start ?? -1) }.prefix(Self.diagnosticLimit)
    guard let definition, document.end == source.bytes.count else { throw Diagnostics(source: source, Array(ordered)) }
    self = definition
    problems = Array(ordered)
  }
}

extension YAMLDocument {
  /// Whether the reader has said that nothing is there.
  fileprivate var isBlank: Bool { diagnostics.contains { $0.code == "empty-document" } }
}

extension Diagnostic {
  static func missingKey(_ key: String, in place: String, example: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic("missing-key", at: span, "\(place) needs the key \"\(key)\"", remedy: "add `\(example)`")
  }
}
