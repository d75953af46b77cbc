-- +goose Up

ALTER TABLE winch.slices ADD COLUMN quarantined bigint NOT NULL DEFAULT 0;
ALTER TABLE winch.runs ADD COLUMN quarantined bigint NOT NULL DEFAULT 0;
ALTER TABLE winch.reads ADD COLUMN quarantined bigint NOT NULL DEFAULT 0;

COMMENT ON COLUMN winch.slices.quarantined IS 'Records that could not become rows and were set aside in winch.quarantine.';
COMMENT ON COLUMN winch.runs.quarantined IS 'Records that could not become rows and were set aside in winch.quarantine.';
COMMENT ON COLUMN winch.reads.quarantined IS 'Records that could not become rows and were set aside in winch.quarantine.';

CREATE TABLE winch.quarantine (
    id          bigint      GENERATED ALWAYS AS IDENTITY,
    source      text        NOT NULL,
    stream      text        NOT NULL,
    partition   text        NOT NULL,
    since       timestamptz NOT NULL,
    until       timestamptz NOT NULL,
    hash        bytea       NOT NULL,
    key         bytea,
    run         bigint      NOT NULL,
    read_at     timestamptz NOT NULL,
    column_name text        NOT NULL DEFAULT '',
    reason      text        NOT NULL,
    raw         text,
    whole       boolean     NOT NULL,
    attempts    bigint      NOT NULL DEFAULT 1,
    state       text        NOT NULL DEFAULT 'held',
    settled_at  timestamptz,
    CONSTRAINT quarantine_pkey PRIMARY KEY (id),
    CONSTRAINT quarantine_record UNIQUE (source, stream, partition, since, until, hash),
    CONSTRAINT quarantine_window CHECK (since < until),
    CONSTRAINT quarantine_state CHECK (state IN ('held', 'landed', 'superseded', 'dropped')),
    CONSTRAINT quarantine_settled CHECK ((state = 'held') = (settled_at IS NULL)),
    CONSTRAINT quarantine_raw CHECK (state = 'held' OR raw IS NULL)
);

CREATE INDEX quarantine_held ON winch.quarantine (source, stream, id) WHERE state = 'held';

COMMENT ON TABLE winch.quarantine IS 'Records that could not become rows: one row for each that the last whole read of its slice set aside.';
COMMENT ON COLUMN winch.quarantine.source IS 'The configured account; the schema of this name holds its tables.';
COMMENT ON COLUMN winch.quarantine.stream IS 'The stream; the table of this name holds its rows.';
COMMENT ON COLUMN winch.quarantine.partition IS 'What else the stream is split by, such as a project; empty for most.';
COMMENT ON COLUMN winch.quarantine.since IS 'First moment of the slice''s window; -infinity for a slice without a window.';
COMMENT ON COLUMN winch.quarantine.until IS 'First moment after the slice''s window; infinity for a slice without a window.';
COMMENT ON COLUMN winch.quarantine.hash IS 'Hash of the record without what Secret columns read: by it a record is known again.';
COMMENT ON COLUMN winch.quarantine.key IS 'Hash of the record''s primary key; null if the key cannot be read.';
COMMENT ON COLUMN winch.quarantine.run IS 'The run that read the record last.';
COMMENT ON COLUMN winch.quarantine.read_at IS 'When the attempt that read the record last began: what _winch_seen_at would be.';
COMMENT ON COLUMN winch.quarantine.column_name IS 'The column that does not take its value; empty if the record as a whole is at fault.';
COMMENT ON COLUMN winch.quarantine.reason IS 'What was wanted and what the record has; personal values are not told.';
COMMENT ON COLUMN winch.quarantine.raw IS 'The record as JSON text, without what Secret columns read; null when nothing is left to land.';
COMMENT ON COLUMN winch.quarantine.whole IS 'Whether raw is the whole record; of one that is longer than the limit only the beginning is kept.';
COMMENT ON COLUMN winch.quarantine.attempts IS 'How often it was tried to make a row of the record.';
COMMENT ON COLUMN winch.quarantine.state IS 'held: waits; landed: a retry made a row of it; superseded: the same key was read again later; dropped: a person gave it up.';
COMMENT ON COLUMN winch.quarantine.settled_at IS 'When it was landed, superseded or dropped; null while it is held.';
