\timing on
SELECT migrate.hold(2);
SELECT migrate.hold(2);
SELECT migrate.hold(2);
SELECT count(*) FROM migrate.changes(2, true);
SELECT count(*) FROM migrate.changes(2, true);
SELECT plan -> 'tables' is not null FROM migrate.runs WHERE run=2;
SELECT plan -> 'tables' is not null FROM migrate.runs WHERE run=2;
