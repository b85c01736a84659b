/// PostgreSQL's text for arrays of one dimension, `{a,"b,\"c",NULL}`, in both directions. Works on bytes. Source:
/// PostgreSQL manual, 8.15.6.
package enum ArrayText {
  /// The literal for `elements`, each in quotes: so none is read as NULL, and no list of special characters is needed.
  package static func literal(_ elements: [String?]) -> String {
    var bytes: [UInt8] = [open]
    for (index, element) in elements.enumerated() {
      if index > 0 { bytes.append(comma) }
      guard let element else {
        bytes.append(contentsOf: null)
        continue
      }
      bytes.append(quote)
      for byte in element.utf8 {
        if byte == quote || byte == backslash { bytes.append(backslash) }
        bytes.append(byte)
      }
      bytes.append(quote)
    }
    bytes.append(close)
    return String(decoding: bytes, as: UTF8.self)
  }

  /// The elements of a text that the server wrote; `nil` when it is not an array of one dimension.
  package static func parse(_ text: String) -> [String?]? {
    var reader = Reader(bytes: Array(text.utf8))
    return reader.array()
  }

  private static let open = UInt8(ascii: "{")
  private static let close = UInt8(ascii: "}")
  private static let comma = UInt8(ascii: ",")
  private static let quote = UInt8(ascii: "\"")
  private static let backslash = UInt8(ascii: "\\")
  private static let null = Array("NULL".utf8)

  private struct Reader {
    let bytes: [UInt8]
    var index = 0

    private mutating func next() -> UInt8? {
      guard index < bytes.count else { return nil }
      defer { index += 1 }
      return bytes[index]
    }

    private var peek: UInt8? { index < bytes.count ? bytes[index] : nil }

    mutating func array() -> [String?]? {
      // `[0:1]={a,b}`: bounds other than from 1 are written in front.
      if peek == UInt8(ascii: "[") {
        guard let equals = bytes.firstIndex(of: UInt8(ascii: "=")) else { return nil }
        index = equals + 1
      }
      guard next() == open else { return nil }
      var elements: [String?] = []
      if peek == close {
        index += 1
        return index == bytes.count ? elements : nil
      }
      while true {
        guard let element = peek == quote ? quoted() : plain() else { return nil }
        elements.append(element)
        switch next() {
        case comma: continue
        case close: return index == bytes.count ? elements : nil
        default: return nil
        }
      }
    }

    private mutating func quoted() -> String?? {
      index += 1
      var element: [UInt8] = []
      while let byte = next() {
        switch byte {
        case quote: return String(decoding: element, as: UTF8.self)
        case backslash:
          guard let escaped = next() else { return nil }
          element.append(escaped)
        default: element.append(byte)
        }
      }
      return nil
    }

    /// The outer optional is the failure, the inner one NULL.
    private mutating func plain() -> String?? {
      let start = index
      while let byte = peek, byte != comma, byte != close {
        // An opening brace is a second dimension.
        if byte == open || byte == quote { return nil }
        index += 1
        if byte == backslash { index += 1 }
      }
      guard index > start, index <= bytes.count else { return nil }
      let element = bytes[start..<index]
      if element.elementsEqual(null) { return .some(nil) }
      return String(decoding: element, as: UTF8.self)
    }
  }
}
