-- +goose Up

-- One row a slice: what is held, since when, and how it changed. Times are UTC
-- in ISO 8601 with microseconds, so that they sort as text. A slice without a
-- window has '' as since and until.
CREATE TABLE "winch.slices" (
    source          TEXT    NOT NULL,
    stream          TEXT    NOT NULL,
    "partition"     TEXT    NOT NULL,
    since           TEXT    NOT NULL,
    until           TEXT    NOT NULL,
    state           TEXT    NOT NULL CONSTRAINT slices_state CHECK (state IN ('held', 'partial', 'failed')),
    "cursor"        BLOB,             -- committed position; null unless the connector checkpoints
    "rows"          INTEGER NOT NULL DEFAULT 0, -- counts and usage are of the last committed read
    inserted        INTEGER NOT NULL DEFAULT 0,
    updated         INTEGER NOT NULL DEFAULT 0,
    unchanged       INTEGER NOT NULL DEFAULT 0,
    deleted         INTEGER NOT NULL DEFAULT 0,
    requests        INTEGER NOT NULL DEFAULT 0,
    retries         INTEGER NOT NULL DEFAULT 0,
    bytes           INTEGER NOT NULL DEFAULT 0,
    waited_us       INTEGER NOT NULL DEFAULT 0,
    tokens_fetched  INTEGER NOT NULL DEFAULT 0,
    renewed_on_401  INTEGER NOT NULL DEFAULT 0,
    first_read_at   TEXT,             -- of the first and the last commit
    last_read_at    TEXT,
    run             INTEGER NOT NULL, -- of the last attempt
    failures        INTEGER NOT NULL DEFAULT 0, -- since the last commit
    error_kind      TEXT    NOT NULL DEFAULT '', -- of the last attempt; '' unless it failed
    error           TEXT    NOT NULL DEFAULT '',
    CONSTRAINT slices_reads CHECK ((first_read_at IS NULL) = (last_read_at IS NULL)),
    CONSTRAINT slices_pkey PRIMARY KEY (source, stream, "partition", since, until)
) WITHOUT ROWID;

-- One row a run. It has an outcome as soon as it has ended, and one only.
CREATE TABLE "winch.runs" (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    source          TEXT    NOT NULL,
    connector       TEXT    NOT NULL,
    "trigger"       TEXT    NOT NULL,
    started_at      TEXT    NOT NULL,
    trace_id        TEXT    NOT NULL DEFAULT '',
    ended_at        TEXT,
    outcome         TEXT    NOT NULL DEFAULT ''
        CONSTRAINT runs_outcome CHECK (outcome IN ('', 'succeeded', 'incomplete', 'failed', 'interrupted', 'lost')),
    slices          INTEGER NOT NULL DEFAULT 0,
    failed          INTEGER NOT NULL DEFAULT 0,
    "rows"          INTEGER NOT NULL DEFAULT 0,
    inserted        INTEGER NOT NULL DEFAULT 0,
    updated         INTEGER NOT NULL DEFAULT 0,
    unchanged       INTEGER NOT NULL DEFAULT 0,
    deleted         INTEGER NOT NULL DEFAULT 0,
    requests        INTEGER NOT NULL DEFAULT 0,
    retries         INTEGER NOT NULL DEFAULT 0,
    bytes           INTEGER NOT NULL DEFAULT 0,
    waited_us       INTEGER NOT NULL DEFAULT 0,
    tokens_fetched  INTEGER NOT NULL DEFAULT 0,
    renewed_on_401  INTEGER NOT NULL DEFAULT 0,
    error_kind      TEXT    NOT NULL DEFAULT '',
    error           TEXT    NOT NULL DEFAULT '',
    CONSTRAINT runs_end CHECK ((outcome = '') = (ended_at IS NULL))
);

CREATE INDEX "winch.runs_source" ON "winch.runs" (source, id);

-- One row for each attempt at a slice that ended.
CREATE TABLE "winch.reads" (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    run             INTEGER NOT NULL,
    source          TEXT    NOT NULL,
    stream          TEXT    NOT NULL,
    "partition"     TEXT    NOT NULL,
    since           TEXT    NOT NULL,
    until           TEXT    NOT NULL,
    state           TEXT    NOT NULL CONSTRAINT reads_state CHECK (state IN ('held', 'partial', 'failed')),
    started_at      TEXT    NOT NULL,
    ended_at        TEXT    NOT NULL,
    "rows"          INTEGER NOT NULL DEFAULT 0,
    inserted        INTEGER NOT NULL DEFAULT 0,
    updated         INTEGER NOT NULL DEFAULT 0,
    unchanged       INTEGER NOT NULL DEFAULT 0,
    deleted         INTEGER NOT NULL DEFAULT 0,
    requests        INTEGER NOT NULL DEFAULT 0,
    retries         INTEGER NOT NULL DEFAULT 0,
    bytes           INTEGER NOT NULL DEFAULT 0,
    waited_us       INTEGER NOT NULL DEFAULT 0,
    tokens_fetched  INTEGER NOT NULL DEFAULT 0,
    renewed_on_401  INTEGER NOT NULL DEFAULT 0,
    error_kind      TEXT    NOT NULL DEFAULT '',
    error           TEXT    NOT NULL DEFAULT ''
);

CREATE INDEX "winch.reads_run" ON "winch.reads" (run, id);
CREATE INDEX "winch.reads_slice" ON "winch.reads" (source, stream, "partition", since, until, id);
