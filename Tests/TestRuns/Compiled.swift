package import Migrate

/// A definition given as text, compiled against a database.
package struct Compiled: Sendable {
  package let definition: Definition
  package let compilation: Compilation

  package var plan: Plan { compilation.plan }

  package var scripts: ScriptWriter {
    ScriptWriter(plan, definition: String(decoding: definition.source.bytes, as: UTF8.self), version: "test")
  }

  /// - Throws: ``Refusal`` when the definition is wrong.
  package init(_ yaml: String, on server: Server, batchSize: Int? = nil, parameters: [String: String] = [:])
    async throws
  {
    self = try await onThread {
      do {
        let definition = try Definition(SourceText(path: "test.yaml", bytes: Array(yaml.utf8)))
        var request = CompileRequest()
        request.batchSize = batchSize
        request.parameters = parameters.map { ($0.key, .text($0.value)) }
        return Compiled(definition: definition, compilation: try Session(to: server).compile(definition, request))
      } catch let diagnostics as Diagnostics {
        throw Refusal(diagnostics)
      } catch CompileFailure.refused(let diagnostics) {
        throw Refusal(diagnostics)
      }
    }
  }

  private init(definition: Definition, compilation: Compilation) {
    self.definition = definition
    self.compilation = compilation
  }
}

/// Why a definition has no plan, as a user reads it.
package struct Refusal: Error, CustomStringConvertible {
  package let description: String

  init(_ diagnostics: Diagnostics) { description = DiagnosticRenderer(color: false).render(diagnostics) }
}
