/// Text inside of a script that psql reads, so that neither psql nor the server takes it for something else.
enum ScriptText {
  /// `content` as a constant between dollar signs, in which neither psql nor the server reads anything, whatever
  /// `standard_conforming_strings` says: no backslash, no `:name`, no quote.
  ///
  /// The tag occurs nowhere in the content, not even with its second dollar sign missing, which the one of the end would
  /// complete. Source: PostgreSQL manual, 4.1.2.4.
  static func quoted(_ content: String, tag: String) -> String {
    let bytes = Array(content.utf8)
    var number = 0
    while true {
      let candidate = number == 0 ? tag : "\(tag)_\(number)"
      if !bytes.contains("$\(candidate)".utf8) { return "$\(candidate)$\(content)$\(candidate)$" }
      number += 1
    }
  }

  /// `content` as comment lines. A comment ends at a carriage return too, so each begins a line of its own.
  static func comment(_ content: String) -> String {
    let lines = content.utf8.split(omittingEmptySubsequences: false) {
      $0 == UInt8(ascii: "\n") || $0 == UInt8(ascii: "\r")
    }
    return lines.map { line in line.isEmpty ? "--" : "-- " + String(decoding: Array(line), as: UTF8.self) }.joined(
      separator: "\n")
  }
}

extension [UInt8] {
  fileprivate func contains(_ part: String.UTF8View) -> Bool {
    let part = Array(part)
    guard part.count <= count else { return false }
    return (0...(count - part.count)).contains { self[$0...].starts(with: part) }
  }
}
