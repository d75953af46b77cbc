-- +goose Up

-- What is failed or partial is looked up by each commit that may supersede it.
CREATE INDEX slices_unsettled ON winch.slices (source, stream, partition, since) WHERE state <> 'held';

CREATE TABLE winch.backfills (
    id              bigint      GENERATED ALWAYS AS IDENTITY,
    name            text        NOT NULL,
    source          text        NOT NULL,
    streams         text[]      NOT NULL,
    since           timestamptz NOT NULL,
    until           timestamptz NOT NULL,
    slice           text        NOT NULL DEFAULT '',
    first           text        NOT NULL,
    force           boolean     NOT NULL,
    slices          bigint      NOT NULL,
    state           text        NOT NULL DEFAULT 'running',
    created_at      timestamptz NOT NULL,
    ended_at        timestamptz,
    CONSTRAINT backfills_pkey PRIMARY KEY (id),
    CONSTRAINT backfills_window CHECK (since < until),
    CONSTRAINT backfills_first CHECK (first IN ('newest', 'oldest')),
    CONSTRAINT backfills_state CHECK (state IN ('running', 'paused', 'done', 'cancelled')),
    CONSTRAINT backfills_end CHECK ((state IN ('done', 'cancelled')) = (ended_at IS NOT NULL))
);

CREATE UNIQUE INDEX backfills_live ON winch.backfills (name) WHERE ended_at IS NULL;

COMMENT ON TABLE winch.backfills IS 'One row for each backfill that a person asked for. What it has read is a query on its runs.';
COMMENT ON COLUMN winch.backfills.name IS 'Unique among those that have not ended.';
COMMENT ON COLUMN winch.backfills.source IS 'The configured account that is read.';
COMMENT ON COLUMN winch.backfills.streams IS 'The streams that are read.';
COMMENT ON COLUMN winch.backfills.since IS 'First moment that is read.';
COMMENT ON COLUMN winch.backfills.until IS 'First moment after what is read.';
COMMENT ON COLUMN winch.backfills.slice IS 'Length of the slices, such as 1d; empty for each stream''s own.';
COMMENT ON COLUMN winch.backfills.first IS 'Which slices of a stream are read first: newest or oldest.';
COMMENT ON COLUMN winch.backfills.force IS 'Whether what was held before created_at is read again.';
COMMENT ON COLUMN winch.backfills.slices IS 'Slices that were due when it was created.';
COMMENT ON COLUMN winch.backfills.state IS 'running: wanted, whether or not an agent works at it; paused, done, cancelled.';
COMMENT ON COLUMN winch.backfills.created_at IS 'What was read since then is not read again.';
COMMENT ON COLUMN winch.backfills.ended_at IS 'When it was done or cancelled; null before.';

ALTER TABLE winch.runs ADD COLUMN backfill bigint;
CREATE INDEX runs_backfill ON winch.runs (backfill) WHERE backfill IS NOT NULL;
COMMENT ON COLUMN winch.runs.backfill IS 'The backfill that the run is part of (winch.backfills.id); null for a pull.';

CREATE TABLE winch.waits (
    source          text        NOT NULL,
    waiter          text        NOT NULL,
    seen_at         timestamptz NOT NULL,
    CONSTRAINT waits_pkey PRIMARY KEY (source, waiter)
);

COMMENT ON TABLE winch.waits IS 'Pulls that wait for a backfill of their source to give way.';
COMMENT ON COLUMN winch.waits.source IS 'The source that is waited for.';
COMMENT ON COLUMN winch.waits.waiter IS 'Who waits: a name that no other process uses.';
COMMENT ON COLUMN winch.waits.seen_at IS 'When the waiter said so last; 15 seconds later it no longer counts.';
