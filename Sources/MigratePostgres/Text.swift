extension String {
  /// Without white space at its ends; libpq's messages end with a newline.
  var trimmed: String {
    let space: (UInt8) -> Bool = { $0 == 32 || (9...13).contains($0) }
    guard let first = utf8.firstIndex(where: { !space($0) }), let last = utf8.lastIndex(where: { !space($0) }) else {
      return ""
    }
    return String(self[first...last])
  }
}

/// Runs `body` with C strings of `texts`, all in one block; they live as long as the call.
func withCStrings<Value>(
  _ texts: [String?], _ body: (UnsafeBufferPointer<UnsafePointer<CChar>?>) throws(PostgresError) -> Value
) throws(PostgresError) -> Value {
  var block: [CChar] = []
  var starts: [Int?] = []
  for text in texts {
    guard let text else {
      starts.append(nil)
      continue
    }
    guard !text.utf8.contains(0) else { throw .containsNUL }
    starts.append(block.count)
    block.append(contentsOf: text.utf8.lazy.map { CChar(bitPattern: $0) })
    block.append(0)
  }
  let result: Result<Value, PostgresError> = block.withUnsafeBufferPointer { block in
    let pointers = starts.map { start in start.flatMap { block.baseAddress?.advanced(by: $0) } }
    return pointers.withUnsafeBufferPointer { pointers in
      Result { () throws(PostgresError) in try body(pointers) }
    }
  }
  return try result.get()
}
