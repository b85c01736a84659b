/// Takes the passwords of a connection out of texts that are shown, logged or stored.
struct Redaction: Sendable {
  private let secrets: [[UInt8]]

  /// - Parameter public: names that are shown anyway. A password equal to one of them is not hidden: the gap would tell it.
  init(secrets: [String], public names: [String]) {
    let shown = Set(names.map { Array($0.utf8) })
    // The longest first, so that a secret which contains another goes as a whole.
    self.secrets = Set(secrets.map { Array($0.utf8) })
      .filter { !$0.isEmpty && !shown.contains($0) }
      .sorted { $0.count > $1.count }
  }

  func apply(to text: String) -> String {
    guard !secrets.isEmpty else { return text }
    let bytes = Array(text.utf8)
    var result: [UInt8] = []
    var index = 0
    while index < bytes.count {
      if let secret = secrets.first(where: { bytes[index...].starts(with: $0) }) {
        result.append(contentsOf: "***".utf8)
        index += secret.count
      } else {
        result.append(bytes[index])
        index += 1
      }
    }
    return String(decoding: result, as: UTF8.self)
  }
}
