CREATE SCHEMA shop;
CREATE COLLATION shop.numeric (provider = icu, locale = 'und-u-kn');
CREATE TABLE shop.words (word text COLLATE shop.numeric PRIMARY KEY, first char(3));
INSERT INTO shop.words (word) VALUES ('a10'), ('a9'), ('a'), ('B'), ('Zoë'), ('_x'), ('é');
CREATE VIEW public.kept AS SELECT * FROM shop.words;
