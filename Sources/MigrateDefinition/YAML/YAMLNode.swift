package import MigrateDiagnostics

/// A piece of YAML that knows its place in the file.
package struct YAMLNode: Sendable {
  /// What it is.
  package indirect enum Content: Sendable {
    case scalar(YAMLScalar)
    case mapping(YAMLMapping)
    case sequence([YAMLNode])
    /// Refused by the reader, which has said why: whoever expects something here stays silent.
    case refused
  }

  package let content: Content
  package let span: SourceSpan
}

/// A text, and the way it was written, which carries meaning: unquoted is SQL, quoted is text.
package struct YAMLScalar: Sendable {
  package enum Style: Sendable { case plain, singleQuoted, doubleQuoted, literal, folded }

  package let style: Style
  package let fragment: SourceFragment

  package var text: String { fragment.text }
  package var span: SourceSpan { fragment.span }

  package var isQuoted: Bool { style == .singleQuoted || style == .doubleQuoted }

  /// Whether nothing was written, or nothing but white space in a block.
  package var isMissing: Bool { !isQuoted && text.utf8.allSatisfy { [0x20, 0x09, 0x0A].contains($0) } }
}

/// Keys and values in the order of the file; the keys are texts, and no two are the same.
package struct YAMLMapping: Sendable {
  package let entries: [YAMLEntry]
  /// Written in braces, where a comma ends a value.
  package let isFlow: Bool
  /// Nothing in it has been refused by the reader or was cut off: what is not there has not been written.
  package let isWhole: Bool
}

/// `key: value`
package struct YAMLEntry: Sendable {
  package let key: YAMLScalar
  package let value: YAMLNode
}
