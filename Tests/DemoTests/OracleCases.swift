extension `What a definition of the demo comes to` {
  /// Of the definitions with several tables, or with rows that are read once.
  static let moreCases = families + reports + elsewhere

  private static let families = [
    Case(
      name: "archive_orders",
      statement: """
        INSERT INTO archive.orders SELECT *, '2000-01-01Z' FROM shop.orders WHERE ordered_at < '2025-01-01Z';
        INSERT INTO archive.order_items SELECT i.* FROM shop.order_items AS i JOIN archive.orders AS o ON o.id = i.order_id;
        INSERT INTO archive.payments SELECT p.* FROM shop.payments AS p JOIN archive.orders AS o ON o.id = p.order_id;
        DELETE FROM shop.payments WHERE order_id IN (SELECT id FROM archive.orders);
        DELETE FROM shop.orders WHERE ordered_at < '2025-01-01Z'
        """,
      rows: [
        "shop.orders", "shop.order_items", "shop.payments", "archive.order_items", "archive.payments",
        "(SELECT id, user_id, amount, state, ordered_at, ordered_on FROM archive.orders)",
      ]),
    Case(
      name: "merge_contacts",
      statement: """
        CREATE TEMP TABLE gone AS
        SELECT DISTINCT ON (c.id) c.id AS loser, k.id AS keeper
        FROM   shop.contacts AS c
        JOIN   shop.contacts AS k ON lower(k.email) = lower(c.email) AND (k.created_at, k.id) < (c.created_at, c.id)
        ORDER  BY c.id, k.created_at, k.id;
        UPDATE shop.tickets SET contact_id = keeper FROM gone WHERE contact_id = loser;
        INSERT INTO shop.contact_tags SELECT keeper, tag FROM gone JOIN shop.contact_tags ON contact_id = loser ON CONFLICT DO NOTHING;
        DELETE FROM shop.contact_tags WHERE contact_id IN (SELECT loser FROM gone);
        DELETE FROM shop.contacts WHERE id IN (SELECT loser FROM gone)
        """,
      rows: ["shop.contacts", "shop.tickets", "shop.contact_tags"]),
    Case(
      name: "tag_contacts",
      statement: """
        INSERT INTO shop.contact_tags SELECT id, unnest(tags) FROM shop.contacts ON CONFLICT DO NOTHING
        """,
      rows: ["shop.contact_tags"]),
    Case(
      name: "stock_count",
      statement: """
        INSERT INTO shop.stock_corrections
        SELECT c.warehouse, c.product_id, counted - on_shelf, '2000-01-01Z'
        FROM   shop.stock_counts AS c JOIN shop.stock AS s USING (warehouse, product_id) WHERE counted <> on_shelf;
        UPDATE shop.stock AS s SET on_shelf = counted
        FROM   shop.stock_counts AS c WHERE (c.warehouse, c.product_id) = (s.warehouse, s.product_id)
        """,
      rows: ["shop.stock", "(SELECT warehouse, product_id, delta FROM shop.stock_corrections)"]),
    Case(
      name: "price_history",
      statement: """
        UPDATE shop.price_history AS h SET valid_to = '2026-06-01Z'
        FROM   shop.products AS p WHERE p.id = h.product_id AND p.price <> h.price;
        INSERT INTO shop.price_history
        SELECT id, p.price, '2026-06-01Z' FROM shop.products AS p JOIN shop.price_history ON id = product_id WHERE valid_to IS NOT NULL
        """,
      rows: ["shop.price_history"]),
  ]

  private static let reports = [
    Case(
      name: "forget_users",
      statement: """
        CREATE TEMP TABLE gone AS SELECT id FROM shop.users WHERE deleted_at < '2026-06-01Z' AND full_name <> '';
        DELETE FROM site.follows WHERE follower IN (SELECT id FROM gone) OR followed IN (SELECT id FROM gone);
        DELETE FROM site.profiles WHERE user_id IN (SELECT id FROM gone);
        UPDATE site.comments SET body = '' WHERE user_id IN (SELECT id FROM gone);
        UPDATE shop.users SET email = 'forgotten-' || id, full_name = '' WHERE id IN (SELECT id FROM gone)
        """,
      rows: ["shop.users", "site.follows", "site.profiles", "site.comments"]),
    Case(
      name: "sales_by_day",
      statement: """
        INSERT INTO shop.sales_by_day
        SELECT (ordered_at AT TIME ZONE 'Europe/Berlin')::date, category, count(DISTINCT order_id), sum(quantity)
        FROM   shop.order_items AS i, shop.orders AS o, shop.products AS p
        WHERE  o.id = i.order_id AND p.id = i.product_id AND o.state = 'paid' GROUP BY 1, 2
        """,
      rows: ["shop.sales_by_day"]),
    Case(
      name: "monthly_bills",
      statement: """
        INSERT INTO shop.bills
        SELECT user_id, '2026-03-01', count(*), sum(amount) FROM shop.orders
        WHERE  state = 'paid' AND ordered_at >= '2026-03-01Z' AND ordered_at < '2026-04-01Z' AND user_id NOT IN (SELECT user_id FROM shop.bills)
        GROUP  BY user_id
        """,
      rows: ["shop.bills"]),
    Case(
      name: "category_paths",
      // The tree is one of thirds, so the ways up are known.
      statement: """
        UPDATE shop.categories SET path = (
          SELECT string_agg('category ' || id / power(3, n)::integer, ' / ' ORDER BY n DESC)
          FROM   generate_series(0, 5) AS n WHERE id / power(3, n)::integer > 0)
        """,
      rows: ["shop.categories"]),
    Case(
      name: "order_fees",
      statement: """
        UPDATE shop.payments SET fee = CASE method WHEN 'card'    THEN greatest(round(amount * 0.014, 2), 0.25)
                                                   WHEN 'invoice' THEN greatest(round(amount * 0.02, 2), 1) ELSE 0 END
        """,
      rows: ["shop.payments"]),
    Case(
      name: "clean_phones",
      statement: """
        UPDATE shop.contacts SET phone = '+4930' || right(phone, 4)
        """,
      rows: ["shop.contacts"]),
    Case(
      name: "recount_balances",
      statement: """
        UPDATE shop.balances AS b
        SET    points = coalesce((SELECT sum(delta) FROM shop.point_ledger AS l WHERE l.user_id = b.user_id AND booked_at < '2025-07-01Z'), 0)
        """,
      rows: ["shop.balances"]),
  ]

  private static let elsewhere = [
    Case(
      name: "follower_graph",
      statement: """
        UPDATE site.profiles AS p
        SET    followers = (SELECT count(*) FROM site.follows WHERE followed = p.user_id),
               friends   = (SELECT count(*) FROM site.follows AS f JOIN site.follows AS g ON g.follower = f.followed
                            WHERE f.follower = p.user_id AND g.followed = p.user_id)
        """,
      rows: ["site.profiles"]),
    Case(
      name: "moderate_comments",
      statement: """
        UPDATE site.comments SET state = 'hidden' WHERE body IN ('Cheap pills here', 'Win a prize now!');
        INSERT INTO site.moderation_log (comment_id, user_id, rule)
        SELECT id, user_id, 'advertising' FROM site.comments WHERE state = 'hidden';
        UPDATE site.strikes AS s SET strikes = (SELECT count(*) FROM site.moderation_log AS l WHERE l.user_id = s.user_id)
        """,
      rows: ["site.comments", "site.strikes", "(SELECT comment_id, user_id, rule FROM site.moderation_log)"]),
    Case(
      name: "classify_media",
      statement: """
        UPDATE site.media
        SET    kind = CASE WHEN file ~* '(jpg|jpeg|png)$' THEN 'picture' WHEN file LIKE '%.mp4' THEN 'film'
                           WHEN file LIKE '%.mp3' THEN 'sound' ELSE 'unknown' END,
               needs_thumbnail = file ~* '(jpg|jpeg|png)$'
        """,
      rows: ["site.media"]),
    Case(
      name: "attendance",
      statement: """
        INSERT INTO staff.attendance
        SELECT i.employee_id, (i.at AT TIME ZONE 'Europe/Berlin')::date, extract(hour FROM o.at - i.at)
        FROM   staff.clock AS i
        JOIN   staff.clock AS o ON o.employee_id = i.employee_id AND o.at::date = i.at::date AND o.direction = 'out'
        WHERE  i.direction = 'in'
        """,
      rows: ["staff.attendance"]),
    Case(
      name: "payroll",
      statement: """
        INSERT INTO staff.payslips
        SELECT e.id, '2026-03-01', sum(hours), sum(hours * hourly) FROM staff.employees AS e, staff.attendance AS a
        WHERE  a.employee_id = e.id AND to_char(day, 'YYYY-MM') = '2026-03' GROUP BY e.id
        """,
      rows: ["staff.payslips"]),
  ]
}
