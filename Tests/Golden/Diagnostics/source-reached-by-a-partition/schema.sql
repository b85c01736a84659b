CREATE SCHEMA shop;
CREATE TABLE shop.p (id integer, grp integer, code text, v integer, PRIMARY KEY (id, grp), UNIQUE (grp, code)) PARTITION BY LIST (grp);
CREATE TABLE shop.p0 PARTITION OF shop.p FOR VALUES IN (0);
CREATE TABLE shop.p1 PARTITION OF shop.p DEFAULT;
CREATE TABLE shop.k (id integer, grp integer, code text, FOREIGN KEY (id, grp) REFERENCES shop.p ON DELETE CASCADE,
                     FOREIGN KEY (grp, code) REFERENCES shop.p (grp, code) ON UPDATE SET NULL);
CREATE TABLE shop.q (id integer, grp integer, code text, v integer, PRIMARY KEY (id, grp));
