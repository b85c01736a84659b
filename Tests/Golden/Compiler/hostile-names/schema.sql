CREATE SCHEMA "we""ird.schema";
CREATE TABLE "we""ird.schema"."Sel ect" (
  "k.1" text, dropped integer, "from" integer, "é" text, "order" integer, "{run}" text, PRIMARY KEY ("k.1", "from"));
ALTER TABLE "we""ird.schema"."Sel ect" DROP COLUMN dropped;
INSERT INTO "we""ird.schema"."Sel ect" SELECT 'k ' || n, n, 'x', n, '$$' FROM generate_series(1, 6) AS n;
CREATE VIEW public.kept AS SELECT * FROM "we""ird.schema"."Sel ect";
