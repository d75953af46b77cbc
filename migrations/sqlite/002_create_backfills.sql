-- +goose Up

-- What is failed or partial is looked up by each commit that may supersede it.
CREATE INDEX "winch.slices_unsettled" ON "winch.slices" (source, stream, "partition", since) WHERE state <> 'held';

-- One row for each backfill that a person asked for. What it has read is a query
-- on its runs.
CREATE TABLE "winch.backfills" (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    name            TEXT    NOT NULL, -- unique among those that have not ended
    source          TEXT    NOT NULL,
    streams         TEXT    NOT NULL, -- a JSON array of names
    since           TEXT    NOT NULL,
    until           TEXT    NOT NULL,
    slice           TEXT    NOT NULL DEFAULT '', -- such as 1d; '' for each stream's own
    first           TEXT    NOT NULL CONSTRAINT backfills_first CHECK (first IN ('newest', 'oldest')),
    force           INTEGER NOT NULL, -- whether what was held before created_at is read again
    slices          INTEGER NOT NULL, -- that were due when it was created
    state           TEXT    NOT NULL DEFAULT 'running'
        CONSTRAINT backfills_state CHECK (state IN ('running', 'paused', 'done', 'cancelled')),
    created_at      TEXT    NOT NULL, -- what was read since then is not read again
    ended_at        TEXT,             -- when it was done or cancelled
    CONSTRAINT backfills_end CHECK ((state IN ('done', 'cancelled')) = (ended_at IS NOT NULL))
);

CREATE UNIQUE INDEX "winch.backfills_live" ON "winch.backfills" (name) WHERE ended_at IS NULL;

-- The backfill that a run is part of; null for a pull.
ALTER TABLE "winch.runs" ADD COLUMN backfill INTEGER;
CREATE INDEX "winch.runs_backfill" ON "winch.runs" (backfill) WHERE backfill IS NOT NULL;

-- Pulls that wait for a backfill of their source to give way.
CREATE TABLE "winch.waits" (
    source          TEXT    NOT NULL,
    waiter          TEXT    NOT NULL, -- a name that no other process uses
    seen_at         TEXT    NOT NULL, -- 15 seconds later it no longer counts
    CONSTRAINT waits_pkey PRIMARY KEY (source, waiter)
) WITHOUT ROWID;
