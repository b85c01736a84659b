private import Glibc

/// Ends the program. A result that could not be written, on a full disk for instance, is no success; a reader that went
/// away is none of our business.
package func finish(_ code: ExitCode) -> Never {
  var code = code
  if case .system = Output.standard.failure, code == .done {
    let reason = Output.standard.failure?.reason ?? ""
    Output.error.write(
      "migrate: error: standard output cannot be written: \(reason)\n  help: `df .` tells free space\n")
    code = .failed
  }
  exit(code.rawValue)
}
