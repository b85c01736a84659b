internal import MigrateJSON

/// A member is missing in the catalog's document, is of another kind, or says a word that this version does not know.
package struct Malformed: Error, Equatable {
  package let member: String
}

/// Takes members out of the document and says which one was not as it should be.
struct DocumentReader {
  let document: JSON

  init(_ document: JSON) { self.document = document }

  func object(_ name: String) throws(Malformed) -> DocumentReader {
    guard case .object? = document[name] else { throw Malformed(member: name) }
    return DocumentReader(document[name] ?? .null)
  }

  func objects(_ name: String) throws(Malformed) -> [DocumentReader] {
    guard case .array(let elements)? = document[name] else { throw Malformed(member: name) }
    return elements.map(DocumentReader.init)
  }

  func text(_ name: String) throws(Malformed) -> String {
    guard let text = document[name]?.text else { throw Malformed(member: name) }
    return text
  }

  /// One of the words of `Word`. Another one is refused: taken for some default, a trigger or a key would be judged by what it
  /// is not.
  func word<Word: RawRepresentable<String>>(_ name: String) throws(Malformed) -> Word {
    guard let word = Word(rawValue: try text(name)) else { throw Malformed(member: name) }
    return word
  }

  func integer(_ name: String) throws(Malformed) -> Int {
    guard let integer = document[name]?.integer else { throw Malformed(member: name) }
    return integer
  }

  func flag(_ name: String) throws(Malformed) -> Bool {
    guard case .bool(let flag)? = document[name] else { throw Malformed(member: name) }
    return flag
  }

  func integers(_ name: String) -> [Int] { document[name]?.elements.compactMap(\.integer) ?? [] }
}
