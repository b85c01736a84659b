CREATE SCHEMA shop;
CREATE TABLE shop.users (id bigint PRIMARY KEY, points integer NOT NULL, labels text[], name char(12));
CREATE TABLE shop.grants (id bigint PRIMARY KEY, user_id bigint NOT NULL, points integer NOT NULL, state text NOT NULL, expires_at timestamptz);
CREATE TABLE shop.ledger (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, user_id bigint, delta integer,
                          twice integer GENERATED ALWAYS AS (delta * 2) STORED, labels text[]);
CREATE TABLE shop.remarks (ledger_id bigint REFERENCES shop.ledger, line text);
CREATE TABLE shop.lines (grant_id bigint NOT NULL, place integer NOT NULL, PRIMARY KEY (grant_id, place));
CREATE TABLE shop.outbox (kind text, rows bigint);
INSERT INTO shop.users SELECT n, 100, NULL, 'u' || n FROM generate_series(1, 30) AS n;
INSERT INTO shop.grants SELECT n, n % 30 + 1, n % 7, 'active', '2026-01-01Z' FROM generate_series(1, 200) AS n;
INSERT INTO shop.grants SELECT n, 3, 1, 'void', NULL FROM generate_series(1001, 1020) AS n;
INSERT INTO shop.lines SELECT n, p FROM generate_series(1, 1010) AS n, generate_series(1, 2) AS p;
ANALYZE;
CREATE VIEW public.kept AS
SELECT 'users' AS of, u::text AS row FROM shop.users AS u UNION ALL SELECT 'grants', g::text FROM shop.grants AS g
UNION ALL SELECT 'ledger', l::text FROM shop.ledger AS l UNION ALL SELECT 'lines', l::text FROM shop.lines AS l;
