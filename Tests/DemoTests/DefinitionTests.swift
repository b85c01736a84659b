import Foundation
import Migrate
import TestSupport
import Testing

@Suite struct `The demo's definitions` {
  static let names = [
    "archive_orders", "attendance", "category_paths", "classify_media", "clean_emails", "clean_phones",
    "expire_grants", "expire_points", "follower_graph", "forget_users", "merge_contacts", "moderate_comments",
    "monthly_bills", "noon_prices", "order_days", "order_fees", "payroll", "price_by_category", "price_history",
    "raise_prices", "recount_balances", "release_stock", "retire_products", "sales_by_day", "stock_count",
    "tag_contacts", "total_spent", "vip_level",
  ]

  @Test func `are these, and each says in its first line why`() throws {
    let project = try Project(folder: Repository.root.path + "/migrations/demo")
    let definitions = try project.definitions([]).map { try $0.get() }
    #expect(definitions.map(\.name.value) == Self.names)
    for file in project.files {
      let first = String(decoding: file.bytes, as: UTF8.self).split(separator: "\n").first ?? ""
      #expect(first.hasPrefix("# ") && first.hasSuffix("."), "\(file.path)")
    }
  }

  @Test func `pass their own tests, and no row of the shop is another one then`() async throws {
    try await Shop.with { shop in
      let before = try await shop.checksums()
      let process = try Program.process(
        Program.folder + "/migrate", ["test", "--dir", "migrations/demo", "--yes"], database: shop.server)
      let told = try await onThread { try Program.output(of: process) }
      #expect(told.status == 0 && told.text.hasSuffix("7 tests, 0 failed\n"), "\(told.text)")
      #expect(try await shop.checksums() == before)
    }
  }

  @Test("are planned, applied and taken back, to the byte", arguments: names)
  func goThereAndBack(_ name: String) async throws {
    try await Shop.with { shop in
      for needed in try Shop.definition(name).operation.needs {
        #expect(try await shop.apply(needed.value) == .completed(leftBehind: 0))
      }
      let before = try await shop.checksums()
      #expect(try await shop.plan(name).plan.estimate.rows > 0)
      #expect(try await shop.apply(name, batchSize: 300) == .completed(leftBehind: 0))
      let after = try await shop.checksums()
      #expect(after != before)
      if case .none = try Shop.definition(name).operation.undo {
        await #expect(throws: RunRefusal.self) { try await shop.revert(name) }
        #expect(try await shop.checksums() == after)
      } else {
        #expect(try await shop.revert(name) == .reverted(conflicts: 0))
        #expect(try await shop.checksums() == before)
      }
    }
  }

  @Test func `meet the same rows after each load`() async throws {
    let first = try await Shop.with { try await $0.checksums() }
    let second = try await Shop.with { try await $0.checksums() }
    #expect(first == second)
    #expect(first.count == 34)
  }
}

@Suite struct `The shop` {
  @Test func `refuses a size that it does not know`() async throws {
    try await withDatabase { server in
      let error = await #expect(throws: PostgresError.self) {
        try await server.psql("SET demo.size = 'tiny';\n" + Repository.text("migrations/demo/shop.sql"))
      }
      #expect(error?.message == "demo.size is tiny, which is none of small, usual, full")
    }
  }
}
