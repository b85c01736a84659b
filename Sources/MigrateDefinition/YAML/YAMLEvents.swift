internal import CLibyaml

/// What libyaml reads, as values: the only file that knows the library.
struct YAMLEvents {
  /// One step of the parser; offsets are bytes of the file.
  struct Event {
    enum Kind {
      case documentStart(hasDirectives: Bool)
      case scalar([UInt8], YAMLScalar.Style)
      case mappingStart(isFlow: Bool)
      case sequenceStart
      case collectionEnd
      case alias
    }

    let kind: Kind
    let start: Int
    let end: Int
    let hasAnchor: Bool
    let hasTag: Bool
  }

  /// Where reading ended before the text did.
  enum Failure {
    case syntax(SyntaxError)
    case tooDeep(at: Int)
    case tooManyNodes(at: Int)
  }

  /// libyaml's own words.
  struct SyntaxError {
    let problem: String
    let offset: Int
    let context: String
    let contextOffset: Int?
  }

  static let depthLimit = 64
  static let nodeLimit = 20_000

  private(set) var all: [Event] = []
  private(set) var failure: Failure?

  /// The events of `bytes`, valid UTF-8 without control characters, up to the end, the first error or a limit.
  init(of bytes: [UInt8]) {
    let characters = CharacterOffsets(bytes)
    let content = bytes[characters.first...]
    var parser = yaml_parser_t()
    guard yaml_parser_initialize(&parser) == 1 else {
      failure = .syntax(SyntaxError(problem: "out of memory", offset: 0, context: "", contextOffset: nil))
      return
    }
    defer { yaml_parser_delete(&parser) }
    content.withUnsafeBufferPointer { buffer in
      yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING)
      yaml_parser_set_input_string(&parser, buffer.baseAddress, buffer.count)
      read(from: &parser, characters)
    }
  }

  private mutating func read(from parser: inout yaml_parser_t, _ characters: CharacterOffsets) {
    var depth = 0
    var nodes = 0
    while failure == nil {
      var raw = yaml_event_t()
      guard yaml_parser_parse(&parser, &raw) == 1 else {
        failure = .syntax(SyntaxError(of: parser, characters))
        return
      }
      defer { yaml_event_delete(&raw) }
      if raw.type == YAML_STREAM_END_EVENT { return }
      guard let event = Event(raw, characters) else { continue }
      switch event.kind {
      case .mappingStart, .sequenceStart: depth += 1
      case .collectionEnd: depth -= 1
      case .scalar, .alias, .documentStart: break
      }
      nodes += 1
      if depth > Self.depthLimit {
        failure = .tooDeep(at: event.start)
      } else if nodes > Self.nodeLimit {
        failure = .tooManyNodes(at: event.start)
      } else {
        all.append(event)
      }
    }
  }
}

extension YAMLEvents.Event {
  /// `nil` for an event without a meaning of its own.
  fileprivate init?(_ raw: yaml_event_t, _ characters: CharacterOffsets) {
    switch raw.type {
    case YAML_DOCUMENT_START_EVENT:
      let start = raw.data.document_start
      let tags = start.tag_directives
      kind = .documentStart(hasDirectives: start.version_directive != nil || tags.start != tags.end)
      (hasAnchor, hasTag) = (false, false)
    case YAML_SCALAR_EVENT:
      let scalar = raw.data.scalar
      kind = .scalar(Array(UnsafeBufferPointer(start: scalar.value, count: scalar.length)), .init(scalar.style))
      (hasAnchor, hasTag) = (scalar.anchor != nil, scalar.tag != nil)
    case YAML_MAPPING_START_EVENT:
      let mapping = raw.data.mapping_start
      kind = .mappingStart(isFlow: mapping.style == YAML_FLOW_MAPPING_STYLE)
      (hasAnchor, hasTag) = (mapping.anchor != nil, mapping.tag != nil)
    case YAML_SEQUENCE_START_EVENT:
      let sequence = raw.data.sequence_start
      kind = .sequenceStart
      (hasAnchor, hasTag) = (sequence.anchor != nil, sequence.tag != nil)
    case YAML_MAPPING_END_EVENT, YAML_SEQUENCE_END_EVENT:
      kind = .collectionEnd
      (hasAnchor, hasTag) = (false, false)
    case YAML_ALIAS_EVENT:
      kind = .alias
      (hasAnchor, hasTag) = (false, false)
    default:
      return nil
    }
    start = characters.offset(of: raw.start_mark)
    end = characters.offset(of: raw.end_mark)
  }
}

extension YAMLEvents.SyntaxError {
  fileprivate init(of parser: yaml_parser_t, _ characters: CharacterOffsets) {
    problem = parser.problem.map { String(cString: $0) } ?? "unreadable"
    context = parser.context.map { String(cString: $0) } ?? ""
    contextOffset = parser.context == nil ? nil : characters.offset(of: parser.context_mark)
    offset = characters.offset(of: parser.problem_mark)
  }
}

extension YAMLScalar.Style {
  fileprivate init(_ raw: yaml_scalar_style_t) {
    switch raw {
    case YAML_SINGLE_QUOTED_SCALAR_STYLE: self = .singleQuoted
    case YAML_DOUBLE_QUOTED_SCALAR_STYLE: self = .doubleQuoted
    case YAML_LITERAL_SCALAR_STYLE: self = .literal
    case YAML_FOLDED_SCALAR_STYLE: self = .folded
    default: self = .plain
    }
  }
}

/// libyaml counts characters, a file has bytes: the byte at which each character begins, a BOM not counting.
private struct CharacterOffsets {
  let first: Int
  private let starts: [Int]
  private let end: Int

  init(_ bytes: [UInt8]) {
    first = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
    starts = bytes.indices.dropFirst(first).filter { bytes[$0] & 0xC0 != 0x80 }
    end = bytes.count
  }

  func offset(of mark: yaml_mark_t) -> Int {
    mark.index < starts.count ? starts[Int(mark.index)] : end
  }
}
