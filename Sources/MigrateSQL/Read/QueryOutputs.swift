/// The columns that a query gives, as far as its text tells.
package struct QueryOutputs: Sendable {
  /// Their names in order; `nil` where a `*` leaves them to the catalog.
  package let names: [Identifier]?

  init(of select: ParseTree) { names = OutputNames.allKnown(of: select) }
}
