/// What `--color` says.
package enum ColorChoice: String, CaseIterable, Sendable {
  case auto, always, never

  /// Whether to colour what goes to a stream. The flag decides; then `NO_COLOR`, set to anything; then `CLICOLOR_FORCE` and
  /// `CLICOLOR`, where `0` counts as not set or as no; then a terminal that can. Sources: no-color.org, bixense.com/clicolors.
  package func decides(isTerminal: Bool, environment: Environment) -> Bool {
    switch self {
    case .always: return true
    case .never: return false
    case .auto: break
    }
    if environment.bytes("NO_COLOR") != nil { return false }
    if let force = environment.bytes("CLICOLOR_FORCE"), force != Array("0".utf8) { return true }
    if environment.bytes("CLICOLOR") == Array("0".utf8) { return false }
    guard isTerminal, let kind = environment.bytes("TERM") else { return false }
    return kind != Array("dumb".utf8)
  }
}
