CREATE SCHEMA shop;
CREATE TYPE shop.state AS ENUM ('active', 'sold out');
CREATE TABLE shop.kinds (
  id integer PRIMARY KEY, a_text text, b_text text, c_null text DEFAULT 'x', d_bool boolean, e_int integer,
  f_numeric numeric(6,2), g_float double precision, h_date date, i_moment timestamptz, j_enum shop.state, k_ints integer[],
  l_texts text[], m_json json, n_jsonb jsonb, o_jsontext jsonb, p_bytea bytea, q_interval interval, r_sql bigint,
  s_short char(5));
INSERT INTO shop.kinds (id) SELECT n FROM generate_series(1, 3) AS n;
CREATE VIEW public.kept AS SELECT * FROM shop.kinds;
