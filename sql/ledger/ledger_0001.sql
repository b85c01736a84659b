-- The ledger: all that is known about definitions and runs, in the database whose rows they change.
-- A batch's rows, its undo and its entry here commit together or not at all, so the ledger cannot be wrong about them.

CREATE SCHEMA migrate;
COMMENT ON SCHEMA migrate IS 'The ledger of migrate: runs, batches, undo. Written by its commands and functions only.';

CREATE TABLE migrate.version (
  version      integer     PRIMARY KEY,
  installed_at timestamptz NOT NULL DEFAULT now(),
  installed_by text        NOT NULL DEFAULT session_user
);
COMMENT ON TABLE  migrate.version              IS 'The scripts that made this ledger, a row each; the highest is its version.';
COMMENT ON COLUMN migrate.version.version      IS 'The number in the script''s name.';
COMMENT ON COLUMN migrate.version.installed_at IS 'When it ran.';
COMMENT ON COLUMN migrate.version.installed_by IS 'Who ran it.';

CREATE TABLE migrate.definitions (
  hash text PRIMARY KEY,
  name text NOT NULL,
  text text NOT NULL
);
COMMENT ON TABLE  migrate.definitions      IS 'Definitions as they were applied: what a run did stays readable when the file has changed.';
COMMENT ON COLUMN migrate.definitions.hash IS 'SHA-256 of the text, in hexadecimal.';
COMMENT ON COLUMN migrate.definitions.name IS 'The name behind batch:.';
COMMENT ON COLUMN migrate.definitions.text IS 'The file, byte for byte.';

CREATE TABLE migrate.runs (
  run             bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  definition_hash text        NOT NULL REFERENCES migrate.definitions,
  name            text        NOT NULL,
  identity        text        NOT NULL,
  search_path     text        NOT NULL,
  parameters      jsonb       NOT NULL,
  plan            jsonb       NOT NULL,
  outline         jsonb       GENERATED ALWAYS AS (plan - 'phases') STORED,
  state           text        NOT NULL DEFAULT 'running'
                  CHECK (state IN ('running', 'holding', 'pausing', 'paused', 'failed', 'cancelling', 'cancelled',
                                   'completed', 'reverting', 'reverted')),
  direction       text        NOT NULL DEFAULT 'apply' CHECK (direction IN ('apply', 'revert')),
  on_conflict     text        CHECK (on_conflict IN ('stop', 'skip', 'force')),
  back_end        text        NOT NULL CHECK (back_end IN ('client', 'procedure')),
  session_user_   text        NOT NULL DEFAULT session_user,
  client_host     text,
  reason          text,
  revert_reason   text,
  version         text        NOT NULL,
  upper_key       text[],
  horizon         xid8,
  collations      jsonb       NOT NULL,
  labels          jsonb       NOT NULL,
  left_behind     bigint,
  failure         jsonb,
  hold_reason     text,
  held_since      timestamptz,
  held            interval    NOT NULL DEFAULT '0',
  accepted        text[]      NOT NULL DEFAULT '{}',
  canary_ended_at timestamptz,
  started_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
  bounded_at      timestamptz,
  published_at    timestamptz,
  since           timestamptz,
  watermark       timestamptz,
  ended_at        timestamptz,
  reverted_at     timestamptz
);
COMMENT ON TABLE  migrate.runs                 IS 'One row for each execution of a definition.';
COMMENT ON COLUMN migrate.runs.run             IS 'The run''s number, by which every command knows it.';
COMMENT ON COLUMN migrate.runs.definition_hash IS 'The text that was applied.';
COMMENT ON COLUMN migrate.runs.name            IS 'The definition''s name.';
COMMENT ON COLUMN migrate.runs.identity        IS 'SHA-256 of name, search_path and parameters: what has completed once is not applied again by accident.';
COMMENT ON COLUMN migrate.runs.search_path     IS 'The search_path that the definition''s SQL runs with.';
COMMENT ON COLUMN migrate.runs.parameters      IS 'Name to type and value, each value as its type''s text.';
COMMENT ON COLUMN migrate.runs.plan            IS 'The plan as it was shown; a revert needs nothing else.';
COMMENT ON COLUMN migrate.runs.outline         IS 'The plan without its statements, which are most of it: each batch asks for something of the rest.';
COMMENT ON COLUMN migrate.runs.state           IS 'Where the run is in its life; changed by migrate.advance alone.';
COMMENT ON COLUMN migrate.runs.direction       IS 'Whether the run is being applied or taken back.';
COMMENT ON COLUMN migrate.runs.on_conflict     IS 'What a revert does with rows that were changed since.';
COMMENT ON COLUMN migrate.runs.back_end        IS 'Who began it: the client, or the procedure migrate.drive.';
COMMENT ON COLUMN migrate.runs.session_user_   IS 'The role that began it.';
COMMENT ON COLUMN migrate.runs.client_host     IS 'The machine on which it was begun.';
COMMENT ON COLUMN migrate.runs.reason          IS 'Why, in the words of who began it.';
COMMENT ON COLUMN migrate.runs.revert_reason   IS 'Why it was taken back, in the words of who asked for it.';
COMMENT ON COLUMN migrate.runs.version         IS 'The version of migrate that compiled the plan.';
COMMENT ON COLUMN migrate.runs.upper_key       IS 'The last key of the source when the run began; NULL while bounded_at is, and for an empty table.';
COMMENT ON COLUMN migrate.runs.horizon         IS 'The oldest transaction that was open when the upper end was fixed: what a batch cannot see is not older.';
COMMENT ON COLUMN migrate.runs.collations      IS 'Collations that order the key, each with the version that its library had when the run began.';
COMMENT ON COLUMN migrate.runs.labels          IS 'The labels of the enums among the columns'' types, in their order, as they were when the run began: SQL may compare them as texts.';
COMMENT ON COLUMN migrate.runs.left_behind     IS 'Rows that are eligible and were not done when the last batch had ended.';
COMMENT ON COLUMN migrate.runs.failure         IS 'Why the run stands still, failed or paused: sqlstate, message, column or constraint, key range. NULL when it was asked to.';
COMMENT ON COLUMN migrate.runs.hold_reason     IS 'Why the run holds, while it does.';
COMMENT ON COLUMN migrate.runs.held_since      IS 'Since when it holds, while it does.';
COMMENT ON COLUMN migrate.runs.held            IS 'How long it has held before, all in all.';
COMMENT ON COLUMN migrate.runs.accepted        IS 'What it expected and did not find, and was told to go on with all the same.';
COMMENT ON COLUMN migrate.runs.canary_ended_at IS 'Since when the rest behind its canary may be done: the hold was over, or resume has ended it.';
COMMENT ON COLUMN migrate.runs.started_at      IS 'When it began; the value of :started_at, kept when the run is resumed.';
COMMENT ON COLUMN migrate.runs.bounded_at      IS 'When the upper end of its keys was fixed, after those who held write locks had ended.';
COMMENT ON COLUMN migrate.runs.published_at    IS 'Of a run that is published at once: when what its batches have computed was shown.';
COMMENT ON COLUMN migrate.runs.since           IS 'Under incremental the rows are done that were changed then or later; NULL is all rows.';
COMMENT ON COLUMN migrate.runs.watermark       IS 'What was changed before is done with this run: no transaction that had begun by then was open when the upper end was fixed. The next run''s since.';
COMMENT ON COLUMN migrate.runs.ended_at        IS 'When it was completed or cancelled.';
COMMENT ON COLUMN migrate.runs.reverted_at     IS 'When it was taken back.';

-- One unfinished run of a definition at a time, by the database's word and not by a lock that someone must clear.
CREATE UNIQUE INDEX one_active ON migrate.runs (name, search_path)
  WHERE state NOT IN ('completed', 'cancelled', 'reverted');

CREATE TABLE migrate.relations (
  run      bigint NOT NULL REFERENCES migrate.runs,
  name     text   NOT NULL,
  relation oid    NOT NULL,
  PRIMARY KEY (run, name)
);
COMMENT ON TABLE  migrate.relations          IS 'The tables of a run, and the ledger''s own migrate.runs, as they were when it was begun.';
COMMENT ON COLUMN migrate.relations.run      IS 'The run.';
COMMENT ON COLUMN migrate.relations.name     IS 'The table, as to_regclass reads it.';
COMMENT ON COLUMN migrate.relations.relation IS 'Its object identifier. A dump brings along the numbers but not what they stand for, which shows in that of migrate.runs.';

CREATE TABLE migrate.transitions (
  state     text NOT NULL,
  direction text NOT NULL,
  event     text NOT NULL,
  next      text NOT NULL,
  PRIMARY KEY (state, direction, event)
);
COMMENT ON TABLE  migrate.transitions           IS 'The life of a run: which event leads from which state to which. What is not listed does not happen.';
COMMENT ON COLUMN migrate.transitions.state     IS 'The state before.';
COMMENT ON COLUMN migrate.transitions.direction IS 'The direction of the run, after the event has set it.';
COMMENT ON COLUMN migrate.transitions.event     IS 'What happened.';
COMMENT ON COLUMN migrate.transitions.next      IS 'The state after.';

INSERT INTO migrate.transitions (state, direction, event, next) VALUES
  ('running',    'apply',  'pause_requested',      'pausing'),
  ('running',    'apply',  'cancel_requested',     'cancelling'),
  ('running',    'apply',  'last_batch_committed', 'completed'),
  ('running',    'apply',  'batch_failed',         'failed'),
  ('running',    'apply',  'hold_begun',           'holding'),
  -- What is asked of a run that holds is heard at the edge, where its workers are, or will be when their batches end.
  ('holding',    'apply',  'hold_ended',           'running'),
  ('holding',    'apply',  'pause_requested',      'pausing'),
  ('holding',    'apply',  'cancel_requested',     'cancelling'),
  ('holding',    'apply',  'last_batch_committed', 'completed'),
  ('holding',    'apply',  'batch_failed',         'failed'),
  ('pausing',    'apply',  'batch_edge_reached',   'paused'),
  ('pausing',    'apply',  'resume_requested',     'running'),
  ('pausing',    'apply',  'cancel_requested',     'cancelling'),
  -- The last batch can end before a worker has seen the request.
  ('pausing',    'apply',  'last_batch_committed', 'completed'),
  ('pausing',    'apply',  'batch_failed',         'failed'),
  ('paused',     'apply',  'resume_requested',     'running'),
  ('paused',     'apply',  'cancel_requested',     'cancelled'),
  ('failed',     'apply',  'resume_requested',     'running'),
  ('failed',     'apply',  'cancel_requested',     'cancelled'),
  ('cancelling', 'apply',  'batch_edge_reached',   'cancelled'),
  ('cancelling', 'apply',  'last_batch_committed', 'completed'),
  ('cancelling', 'apply',  'batch_failed',         'cancelled'),
  ('completed',  'revert', 'revert_requested',     'reverting'),
  ('cancelled',  'revert', 'revert_requested',     'reverting'),
  ('paused',     'revert', 'revert_requested',     'reverting'),
  ('failed',     'revert', 'revert_requested',     'reverting'),
  ('reverting',  'revert', 'hold_begun',           'holding'),
  ('holding',    'revert', 'hold_ended',           'reverting'),
  ('holding',    'revert', 'pause_requested',      'pausing'),
  ('holding',    'revert', 'batch_failed',         'failed'),
  ('holding',    'revert', 'last_batch_restored',  'reverted'),
  ('reverting',  'revert', 'pause_requested',      'pausing'),
  ('reverting',  'revert', 'batch_failed',         'failed'),
  ('reverting',  'revert', 'last_batch_restored',  'reverted'),
  ('pausing',    'revert', 'batch_edge_reached',   'paused'),
  ('pausing',    'revert', 'resume_requested',     'reverting'),
  ('paused',     'revert', 'resume_requested',     'reverting'),
  ('failed',     'revert', 'resume_requested',     'reverting'),
  ('pausing',    'revert', 'batch_failed',         'failed'),
  ('pausing',    'revert', 'last_batch_restored',  'reverted');

CREATE TABLE migrate.fence (
  run   bigint  PRIMARY KEY REFERENCES migrate.runs,
  epoch integer NOT NULL
);
COMMENT ON TABLE  migrate.fence       IS 'Keeps out who was taken over: each batch locks this row FOR SHARE at its epoch, as its last act. Nothing else lives here, so nothing else makes a batch wait.';
COMMENT ON COLUMN migrate.fence.run   IS 'The run.';
COMMENT ON COLUMN migrate.fence.epoch IS 'Counts the takeovers; a worker of an earlier epoch cannot commit.';

CREATE TABLE migrate.statements (
  run       bigint  NOT NULL REFERENCES migrate.runs,
  ordinal   integer NOT NULL,
  phase     text    NOT NULL,
  step      integer,
  name      text    NOT NULL,
  text      text    NOT NULL,
  arguments text[]  NOT NULL,
  PRIMARY KEY (run, ordinal)
);
COMMENT ON TABLE  migrate.statements           IS 'The statements of a run, as both back ends send them, byte for byte.';
COMMENT ON COLUMN migrate.statements.run       IS 'The run.';
COMMENT ON COLUMN migrate.statements.ordinal   IS 'Their order in the plan, from 1.';
COMMENT ON COLUMN migrate.statements.phase     IS 'before, prepare, bounds, batches, holds, publish, finish or revert.';
COMMENT ON COLUMN migrate.statements.step      IS 'The step that the statement belongs to; NULL for one that serves all.';
COMMENT ON COLUMN migrate.statements.name      IS 'What the statement is for: bound, capture, change, ...';
COMMENT ON COLUMN migrate.statements.text      IS 'SQL with $1 ... $n, each cast where it stands.';
COMMENT ON COLUMN migrate.statements.arguments IS 'For each $n the role of its value: after.1, through.1, size, epoch, :multiplier, ...';

CREATE TABLE migrate.slices (
  run         bigint  NOT NULL REFERENCES migrate.runs,
  slice       integer NOT NULL,
  canary      boolean,
  after_key   text[],
  through_key text[]  NOT NULL,
  PRIMARY KEY (run, slice)
);
COMMENT ON TABLE  migrate.slices             IS 'Stretches of the key, one chain of batches each: one worker at a time walks a slice.';
COMMENT ON COLUMN migrate.slices.run         IS 'The run.';
COMMENT ON COLUMN migrate.slices.slice       IS 'Its number, from 0; those of the canary come first.';
COMMENT ON COLUMN migrate.slices.canary      IS 'Whether its batches do the rows of the canary, or the rest; NULL in a run without a canary, whose batches do all rows.';
COMMENT ON COLUMN migrate.slices.after_key   IS 'The slice begins behind this key; NULL is the beginning.';
COMMENT ON COLUMN migrate.slices.through_key IS 'The slice ends with this key.';

CREATE TABLE migrate.batches (
  run            bigint      NOT NULL REFERENCES migrate.runs,
  kind           text        NOT NULL CHECK (kind IN ('apply', 'revert')),
  slice          integer     NOT NULL,
  ordinal        integer     NOT NULL,
  part           integer     NOT NULL,
  after_key      text[],
  through_key    text[]      NOT NULL,
  rows_read      bigint      NOT NULL,
  rows_changed   bigint      NOT NULL,
  rows_unchanged bigint      NOT NULL,
  rows_rejected  bigint      NOT NULL DEFAULT 0,
  rows_written   bigint[],
  epoch          integer     NOT NULL,
  exact          boolean     NOT NULL,
  seq            bigint      GENERATED ALWAYS AS IDENTITY,
  xid            xid8        NOT NULL DEFAULT pg_current_xact_id(),
  started_at     timestamptz NOT NULL DEFAULT transaction_timestamp(),
  ended_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (run, kind, slice, ordinal, part)
);
COMMENT ON TABLE  migrate.batches                IS 'One row for each batch that has committed, written in its own transaction.';
COMMENT ON COLUMN migrate.batches.run            IS 'The run.';
COMMENT ON COLUMN migrate.batches.kind           IS 'apply, or revert for the batch of the same number taken back.';
COMMENT ON COLUMN migrate.batches.slice          IS 'The chain that the batch belongs to. -1: rows of quarantine, tried again; -2, of a revert: mended rows in conflict; -3, published at once: rows that were computed anew.';
COMMENT ON COLUMN migrate.batches.ordinal        IS 'Its place in the chain, from 1.';
COMMENT ON COLUMN migrate.batches.part           IS 'The part of the batch, from 0.';
COMMENT ON COLUMN migrate.batches.after_key      IS 'The batch begins behind this key; NULL is the beginning.';
COMMENT ON COLUMN migrate.batches.through_key    IS 'The batch ends with this key; the next one begins behind it.';
COMMENT ON COLUMN migrate.batches.rows_read      IS 'Eligible rows; of a revert: rows to restore.';
COMMENT ON COLUMN migrate.batches.rows_changed   IS 'Rows written; of a revert: rows restored.';
COMMENT ON COLUMN migrate.batches.rows_unchanged IS 'Rows whose new values were what they held, byte for byte.';
COMMENT ON COLUMN migrate.batches.rows_rejected  IS 'Rows left out with a reason; of a revert: rows in conflict.';
COMMENT ON COLUMN migrate.batches.rows_written   IS 'Of a definition with steps: rows that each of them has written, in their order; NULL for events.';
COMMENT ON COLUMN migrate.batches.epoch          IS 'The epoch in which it was done.';
COMMENT ON COLUMN migrate.batches.exact          IS 'Whether the keys captured are the keys changed. Always true: otherwise the batch was rolled back.';
COMMENT ON COLUMN migrate.batches.seq            IS 'The order in which batches ended; revert goes through it backwards.';
COMMENT ON COLUMN migrate.batches.xid            IS 'The transaction that did it.';
COMMENT ON COLUMN migrate.batches.started_at     IS 'When that transaction began.';
COMMENT ON COLUMN migrate.batches.ended_at       IS 'When it was about to commit.';
CREATE UNIQUE INDEX batches_seq ON migrate.batches (run, kind, seq);

CREATE TABLE migrate.conflicts (
  run     bigint  NOT NULL REFERENCES migrate.runs,
  step    integer NOT NULL,
  seq     bigint  NOT NULL,
  key     text[]  NOT NULL,
  reason  text    NOT NULL CHECK (reason IN ('gone', 'edited', 'kept', 'overwritten', 'refused')),
  found   jsonb,
  PRIMARY KEY (run, step, seq, key)
);
COMMENT ON TABLE  migrate.conflicts        IS 'Rows that a revert met with other values than the run had left.';
COMMENT ON COLUMN migrate.conflicts.run    IS 'The run that was taken back.';
COMMENT ON COLUMN migrate.conflicts.step   IS 'The step whose change it is.';
COMMENT ON COLUMN migrate.conflicts.seq    IS 'The batch that had written the row (batches.seq); of a row that was mended, fixes.fix with a minus.';
COMMENT ON COLUMN migrate.conflicts.key    IS 'The row''s key, each column as its type''s text.';
COMMENT ON COLUMN migrate.conflicts.reason IS 'gone: no such row. edited: another value, left alone. kept: moved with others, and stays with them where it went. overwritten: another value, replaced under force. refused: as it was mended, since the database refuses what it was before.';
COMMENT ON COLUMN migrate.conflicts.found  IS 'The columns in question as the revert found them, each as its type''s text.';

CREATE TABLE migrate.rejects (
  run             bigint      NOT NULL REFERENCES migrate.runs,
  step            integer     NOT NULL,
  key             text[]      NOT NULL,
  row             jsonb,
  new_values      jsonb,
  sqlstate        text,
  message         text        NOT NULL,
  detail          text,
  column_name     text,
  constraint_name text,
  reasons         text[],
  kind            text        NOT NULL GENERATED ALWAYS AS (
                                CASE WHEN reasons  IS NOT NULL THEN 'validation'
                                     WHEN sqlstate IS NOT NULL THEN 'error'
                                     ELSE 'suppressed' END) STORED,
  state           text        NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'resolved', 'reverted')),
  fixed_row       jsonb,
  rejected_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  settled_at      timestamptz,
  PRIMARY KEY (run, step, key)
);
COMMENT ON TABLE  migrate.rejects                 IS 'Quarantine: source rows that a run has left as they were, each with the reason.';
COMMENT ON COLUMN migrate.rejects.run             IS 'The run.';
COMMENT ON COLUMN migrate.rejects.step            IS 'The step that failed.';
COMMENT ON COLUMN migrate.rejects.key             IS 'The row''s key, each column as its type''s text.';
COMMENT ON COLUMN migrate.rejects.row             IS 'The row as it was; NULL under undo: none, where nothing but keys is kept.';
COMMENT ON COLUMN migrate.rejects.new_values      IS 'What the run would have made of the columns that it sets, where the row breaks rules; NULL under undo: none.';
COMMENT ON COLUMN migrate.rejects.sqlstate        IS 'The code of the database''s error; NULL when it was no error.';
COMMENT ON COLUMN migrate.rejects.message         IS 'What the database has said; the reasons, where the row breaks rules.';
COMMENT ON COLUMN migrate.rejects.detail          IS 'And in detail.';
COMMENT ON COLUMN migrate.rejects.column_name     IS 'The column that it blames, if it does.';
COMMENT ON COLUMN migrate.rejects.constraint_name IS 'The constraint that it blames, if it does.';
COMMENT ON COLUMN migrate.rejects.reasons         IS 'The rules of validation that the row breaks, all of them; "is NULL" behind one that is neither true nor false. NULL when it breaks none.';
COMMENT ON COLUMN migrate.rejects.kind            IS 'validation: it breaks rules. error: the database has refused it. suppressed: a trigger has kept it from being changed.';
COMMENT ON COLUMN migrate.rejects.state           IS 'open: as the run has left it. resolved: tried again, it was done. reverted: the run is taken back, and so is what was mended of the row.';
COMMENT ON COLUMN migrate.rejects.fixed_row       IS 'The row as it was mended; row is what it was before.';
COMMENT ON COLUMN migrate.rejects.rejected_at     IS 'When it came here, the last time.';
COMMENT ON COLUMN migrate.rejects.settled_at      IS 'When it ceased to be open.';

CREATE TABLE migrate.workers (
  run           bigint      NOT NULL REFERENCES migrate.runs,
  worker        integer     NOT NULL,
  epoch         integer     NOT NULL,
  pid           integer     NOT NULL DEFAULT pg_backend_pid(),
  backend_start timestamptz,
  client_host   text,
  since         timestamptz NOT NULL DEFAULT clock_timestamp(),
  heartbeat_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  back_end      text        NOT NULL DEFAULT 'client' CHECK (back_end IN ('client', 'procedure')),
  called_at     timestamptz NOT NULL DEFAULT statement_timestamp(),
  at_edge       boolean     NOT NULL DEFAULT false,
  PRIMARY KEY (run, worker)
);
COMMENT ON TABLE  migrate.workers               IS 'Who works, or was working, on a run.';
COMMENT ON COLUMN migrate.workers.run           IS 'The run.';
COMMENT ON COLUMN migrate.workers.worker        IS 'The worker''s number, from 1.';
COMMENT ON COLUMN migrate.workers.epoch         IS 'The epoch it works in.';
COMMENT ON COLUMN migrate.workers.pid           IS 'Its backend at the last heartbeat.';
COMMENT ON COLUMN migrate.workers.backend_start IS 'When that backend started: process numbers come round again. NULL when its role may not see that.';
COMMENT ON COLUMN migrate.workers.client_host   IS 'The machine that the client runs on.';
COMMENT ON COLUMN migrate.workers.back_end      IS 'How it works: from a client, or as a CALL of migrate.drive.';
COMMENT ON COLUMN migrate.workers.called_at     IS 'When the statement was sent that gave the last sign: of a CALL, itself.';
COMMENT ON COLUMN migrate.workers.at_edge       IS 'Whether it stands between two batches and waits, having seen that the run shall pause or end.';
COMMENT ON COLUMN migrate.workers.since         IS 'Since when this backend works on it.';
COMMENT ON COLUMN migrate.workers.heartbeat_at  IS 'When it last gave a sign of life: once a batch, and each second while paused.';

REVOKE ALL ON ALL TABLES IN SCHEMA migrate FROM PUBLIC;
