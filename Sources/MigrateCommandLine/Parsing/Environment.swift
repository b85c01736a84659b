private import Glibc

/// The variables that a program is started with, as bytes: nobody promises that they are UTF-8.
package struct Environment: Sendable {
  private let lookup: @Sendable (String) -> [UInt8]?

  /// The variables of this process.
  package static let process = Environment { name in
    guard let value = getenv(name) else { return nil }
    return Array(UnsafeRawBufferPointer(start: value, count: strlen(value)))
  }

  /// These variables and no others.
  package init(_ variables: [String: String]) {
    self.init { variables[$0].map { Array($0.utf8) } }
  }

  private init(lookup: @escaping @Sendable (String) -> [UInt8]?) {
    self.lookup = lookup
  }

  /// The bytes of `name`; `nil` when it is not set, or set to nothing, which is how a shell script leaves out a value.
  package func bytes(_ name: String) -> [UInt8]? {
    lookup(name).flatMap { $0.isEmpty ? nil : $0 }
  }

  /// The same as text, with what is not UTF-8 replaced: for what decides about looks, never for a value.
  package func text(_ name: String) -> String? {
    bytes(name).map { String(decoding: $0, as: UTF8.self) }
  }
}
