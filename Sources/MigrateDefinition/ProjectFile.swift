package import MigrateDiagnostics

/// `migrate.yaml`, the file of a project: where its databases are, and what its options mean when nobody says them.
package struct ProjectFile: Sendable {
  /// An option of the command line, as the file may speak of it.
  package struct Setting: Sendable {
    package enum Standing: Sendable {
      case mayHaveDefault
      /// It speaks for one time: whoever comes later must not inherit it unseen.
      case saidEachTime
      /// An address, which may hold a password.
      case address
    }

    /// With `_` for `-`, as keys of a definition are written: `batch_size`.
    let name: String
    let standing: Standing
    /// Completes "… is not": `a size such as 5k`.
    let expectation: String
    let accepts: @Sendable (String) -> Bool

    package init(
      _ name: String, _ standing: Standing, _ expectation: String, accepts: @escaping @Sendable (String) -> Bool
    ) {
      self.name = name
      self.standing = standing
      self.expectation = expectation
      self.accepts = accepts
    }
  }

  package struct Entry: Sendable {
    package let name: Located<String>
    package let value: Located<String>
  }

  /// The file as it may be shown: what could be a secret is x-ed out.
  package let source: SourceText
  /// What `--env` chooses from: a name, and the variable that has the address.
  package private(set) var environments: [Entry] = []
  /// Options and what they mean when neither the command line nor a variable says them.
  package private(set) var defaults: [Entry] = []
  /// Where `environments` stands, else the beginning of the file.
  package private(set) var environmentsSpan = SourceSpan(0, 0)

  /// Reads the file. One without a key is as good as any: it marks the root.
  ///
  /// - Throws: all that is wrong with the file at once.
  package init(_ source: SourceText, settings: [Setting]) throws(Diagnostics) {
    var shown = Secrets.hidden(in: source.bytes)
    self.source = SourceText(path: source.path, bytes: shown)
    let document = YAMLReader.read(source)
    guard document.diagnostics.allSatisfy({ $0.code == "empty-document" }) else {
      throw Self.unreadable(self.source, document.diagnostics)
    }
    guard document.diagnostics.isEmpty, let root = document.root else { return }
    var decoder = Decoder(source: source, isComplete: document.isComplete)
    for entry in decoder.map(root, "migrate.yaml", example: "defaults: {dir: db}")?.entries ?? [] {
      switch entry.key.text {
      case "environments":
        environmentsSpan = entry.key.span
        environments = decoder.environments(entry, &shown)
      case "defaults": defaults = decoder.defaults(entry, settings)
      default: decoder.refuse(.unknownProjectKey(entry.key.text, at: entry.key.span))
      }
    }
    let isSound = decoder.diagnostics.isEmpty
    for entry in defaults where isSound && entry.name.value == "env" && environment(entry.value.value) == nil {
      decoder.refuse(unknownEnvironment(entry.value.value, at: entry.value.span))
    }
    guard decoder.diagnostics.isEmpty else {
      throw Diagnostics(source: SourceText(path: source.path, bytes: shown), decoder.diagnostics)
    }
  }

  package func environment(_ name: String) -> Entry? {
    environments.first { $0.name.value.utf8.elementsEqual(name.utf8) }
  }

  /// What is wrong with the YAML, told of the text that may be shown, since messages quote it.
  private static func unreadable(_ shown: SourceText, _ found: [Diagnostic]) -> Diagnostics {
    let told = YAMLReader.read(shown).diagnostics
    return Diagnostics(source: shown, told.isEmpty ? found.map { .unreadableProject(at: $0.span) } : told)
  }
}

extension Decoder {
  /// `staging: STAGING_DATABASE_URL`; what stands there instead may be an address with a password, so it is hidden.
  fileprivate mutating func environments(_ entry: YAMLEntry, _ shown: inout [UInt8]) -> [ProjectFile.Entry] {
    let example = "environments: {staging: STAGING_DATABASE_URL}"
    var found: [ProjectFile.Entry] = []
    for entry in map(entry.value, "`environments`", example: example)?.entries ?? [] {
      let name = entry.key.text
      guard let variable = text(entry, "the name of a variable") else { continue }
      if NameRules.isVariable(variable.value) {
        found.append(.init(name: Located(name, at: entry.key.span), value: variable))
      } else {
        Secrets.hide(variable.span.start..<variable.span.end, in: &shown)
        refuse(.notAVariable(variable.value, of: name, at: variable.span))
      }
    }
    return found
  }

  fileprivate mutating func defaults(_ entry: YAMLEntry, _ settings: [ProjectFile.Setting]) -> [ProjectFile.Entry] {
    var found: [ProjectFile.Entry] = []
    for entry in map(entry.value, "`defaults`", example: "defaults: {batch_size: 5000}")?.entries ?? [] {
      let (name, span) = (entry.key.text, entry.key.span)
      guard let setting = settings.first(where: { $0.name.utf8.elementsEqual(name.utf8) }) else {
        refuse(.unknownDefault(name, among: settings.filter(\.mayHaveDefault).map(\.name), at: span))
        continue
      }
      switch setting.standing {
      case .saidEachTime: refuse(.saidEachTime(name, at: span))
      case .address: refuse(.addressAsDefault(name, at: span))
      case .mayHaveDefault:
        guard let value = defaultText(entry, setting) else { continue }
        if setting.accepts(value.value) {
          found.append(.init(name: Located(name, at: span), value: value))
        } else {
          refuse(.badDefault(name, setting.expectation, at: value.span))
        }
      }
    }
    return found
  }

  /// One text, or for what the command line separates by commas a list.
  private mutating func defaultText(_ entry: YAMLEntry, _ setting: ProjectFile.Setting) -> Located<String>? {
    guard case .sequence = entry.value.content, setting.name == "search_path" else {
      return text(entry, setting.expectation)
    }
    let names = names(entry, of: "schema", example: "search_path: [shop, public]").map(\.value)
    return names.isEmpty ? nil : Located(names.joined(separator: ","), at: entry.value.span)
  }
}

extension ProjectFile.Setting {
  fileprivate var mayHaveDefault: Bool {
    if case .mayHaveDefault = standing { true } else { false }
  }
}

extension ProjectFile {
  package func unknownEnvironment(_ name: String, at span: SourceSpan? = nil) -> Diagnostic {
    let known = environments.map(\.name.value)
    let remedy =
      known.isEmpty
      ? "`environments: {staging: STAGING_DATABASE_URL}` names the variable that has the address"
      : Suggestion.nearest(to: name, among: known).map { "did you mean `\($0)`?" }
        ?? "the environments here: \(known.joined(separator: ", "))"
    return Diagnostic(
      "unknown-environment", at: span ?? environmentsSpan, "no environment is called \(name)", remedy: remedy)
  }
}

extension Diagnostic {
  fileprivate static func unreadableProject(at span: SourceSpan?) -> Diagnostic {
    Diagnostic(
      "unreadable-project-file", at: span, "this cannot be read as YAML",
      remedy: "write names and values, such as `staging: STAGING_DATABASE_URL`, a line each")
  }

  fileprivate static func unknownProjectKey(_ key: String, at span: SourceSpan) -> Diagnostic {
    if Schema.key(key, at: .top) != nil {
      return Diagnostic(
        "definition-as-project-file", at: span, "`\(key)` is a key of a definition, and migrate.yaml is none",
        remedy: "give the definition's file another name; migrate.yaml is the name of the project's own file")
    }
    let nearest = Suggestion.nearest(to: key, among: ["environments", "defaults"])
    return Diagnostic(
      "unknown-key", at: span, "unknown key \"\(key)\"",
      remedy: nearest.map { "did you mean \"\($0)\"?" } ?? "the keys that may stand here: environments, defaults")
  }

  fileprivate static func unknownDefault(_ key: String, among known: [String], at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "unknown-key", at: span, "unknown key \"\(key)\"",
      remedy: Suggestion.nearest(to: key, among: known).map { "did you mean \"\($0)\"?" }
        ?? "options that may have a default: \(known.joined(separator: ", "))")
  }

  fileprivate static func saidEachTime(_ key: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "said-each-time", at: span, "`\(key)` can have no default: it speaks for one time only",
      remedy: "say it on the command line when it is meant")
  }

  fileprivate static func addressAsDefault(_ key: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "address-in-file", at: span, "`\(key)` cannot stand in a file: an address may hold a password",
      remedy: "`environments: {staging: STAGING_DATABASE_URL}` and `--env staging`; change a password that stood here")
  }

  fileprivate static func badDefault(_ key: String, _ expectation: String, at span: SourceSpan) -> Diagnostic {
    Diagnostic(
      "bad-default", at: span, "the value of `\(key)` is not \(expectation)", remedy: "`migrate --help` explains it")
  }

  fileprivate static func notAVariable(_ value: String, of environment: String, at span: SourceSpan) -> Diagnostic {
    let bare = String(decoding: value.utf8.filter { !"${}".utf8.contains($0) }, as: UTF8.self)
    let upper = String(decoding: environment.utf8.map { (97...122).contains($0) ? $0 - 32 : $0 }, as: UTF8.self)
    let like =
      NameRules.isVariable(bare) ? bare : NameRules.isVariable(upper) ? "\(upper)_DATABASE_URL" : "DATABASE_URL"
    let isAddress = !NameRules.isVariable(bare)
    return Diagnostic(
      "not-a-variable", at: span, "an environment is the name of a variable that has the address, and no address",
      remedy: "write `\(environment): \(like)`"
        + (isAddress ? " and set that variable; change a password that stood here" : ""))
  }
}
