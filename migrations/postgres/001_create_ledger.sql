-- +goose Up

CREATE TABLE winch.slices (
    source          text        NOT NULL,
    stream          text        NOT NULL,
    partition       text        NOT NULL,
    since           timestamptz NOT NULL,
    until           timestamptz NOT NULL,
    state           text        NOT NULL,
    cursor          bytea,
    rows            bigint      NOT NULL DEFAULT 0,
    inserted        bigint      NOT NULL DEFAULT 0,
    updated         bigint      NOT NULL DEFAULT 0,
    unchanged       bigint      NOT NULL DEFAULT 0,
    deleted         bigint      NOT NULL DEFAULT 0,
    requests        bigint      NOT NULL DEFAULT 0,
    retries         bigint      NOT NULL DEFAULT 0,
    bytes           bigint      NOT NULL DEFAULT 0,
    waited_us       bigint      NOT NULL DEFAULT 0,
    tokens_fetched  bigint      NOT NULL DEFAULT 0,
    renewed_on_401  bigint      NOT NULL DEFAULT 0,
    first_read_at   timestamptz,
    last_read_at    timestamptz,
    run             bigint      NOT NULL,
    failures        bigint      NOT NULL DEFAULT 0,
    error_kind      text        NOT NULL DEFAULT '',
    error           text        NOT NULL DEFAULT '',
    CONSTRAINT slices_pkey PRIMARY KEY (source, stream, partition, since, until),
    CONSTRAINT slices_window CHECK (since < until),
    CONSTRAINT slices_state CHECK (state IN ('held', 'partial', 'failed')),
    CONSTRAINT slices_reads CHECK ((first_read_at IS NULL) = (last_read_at IS NULL))
);

COMMENT ON TABLE winch.slices IS 'The ledger: one row a slice says what is held, when it was first and last read, and how much it changed. Counts and usage are of the last committed read.';
COMMENT ON COLUMN winch.slices.source IS 'The configured account; the schema of this name holds its tables.';
COMMENT ON COLUMN winch.slices.stream IS 'The stream; the table of this name holds its rows.';
COMMENT ON COLUMN winch.slices.partition IS 'What else the stream is split by, such as a project; empty for most.';
COMMENT ON COLUMN winch.slices.since IS 'First moment of the window; -infinity for a slice without a window, which covers all time.';
COMMENT ON COLUMN winch.slices.until IS 'First moment after the window; infinity for a slice without a window.';
COMMENT ON COLUMN winch.slices.state IS 'held: read whole; partial: read up to the cursor; failed: the last attempt failed, what an earlier one committed is still there.';
COMMENT ON COLUMN winch.slices.cursor IS 'Committed position, as the connector wrote it (JSON); null unless it checkpoints.';
COMMENT ON COLUMN winch.slices.rows IS 'Distinct rows the vendor reported: inserted, updated and unchanged together.';
COMMENT ON COLUMN winch.slices.inserted IS 'Rows that were new.';
COMMENT ON COLUMN winch.slices.updated IS 'Rows whose content differed from what was at rest.';
COMMENT ON COLUMN winch.slices.unchanged IS 'Rows that were as they are and so were not written.';
COMMENT ON COLUMN winch.slices.deleted IS 'Rows the vendor no longer reports: deleted, or marked in _deleted_at for snapshots.';
COMMENT ON COLUMN winch.slices.requests IS 'HTTP requests to the vendor, retries included, token requests not.';
COMMENT ON COLUMN winch.slices.retries IS 'Requests that repeated an earlier one.';
COMMENT ON COLUMN winch.slices.bytes IS 'Bytes of response bodies.';
COMMENT ON COLUMN winch.slices.waited_us IS 'Microseconds spent waiting for rate limits and backoff.';
COMMENT ON COLUMN winch.slices.tokens_fetched IS 'Token requests that were granted.';
COMMENT ON COLUMN winch.slices.renewed_on_401 IS 'Tokens renewed because the vendor answered 401.';
COMMENT ON COLUMN winch.slices.first_read_at IS 'The first commit; null if nothing was ever committed.';
COMMENT ON COLUMN winch.slices.last_read_at IS 'The last commit; null if nothing was ever committed.';
COMMENT ON COLUMN winch.slices.run IS 'The run of the last attempt.';
COMMENT ON COLUMN winch.slices.failures IS 'Attempts that failed since the last commit.';
COMMENT ON COLUMN winch.slices.error_kind IS 'What kind of error the last attempt ended with; empty unless it failed.';
COMMENT ON COLUMN winch.slices.error IS 'The error itself, for people; empty unless the last attempt failed.';

CREATE TABLE winch.runs (
    id              bigint      GENERATED ALWAYS AS IDENTITY,
    source          text        NOT NULL,
    connector       text        NOT NULL,
    trigger         text        NOT NULL,
    started_at      timestamptz NOT NULL,
    trace_id        text        NOT NULL DEFAULT '',
    ended_at        timestamptz,
    outcome         text        NOT NULL DEFAULT '',
    slices          bigint      NOT NULL DEFAULT 0,
    failed          bigint      NOT NULL DEFAULT 0,
    rows            bigint      NOT NULL DEFAULT 0,
    inserted        bigint      NOT NULL DEFAULT 0,
    updated         bigint      NOT NULL DEFAULT 0,
    unchanged       bigint      NOT NULL DEFAULT 0,
    deleted         bigint      NOT NULL DEFAULT 0,
    requests        bigint      NOT NULL DEFAULT 0,
    retries         bigint      NOT NULL DEFAULT 0,
    bytes           bigint      NOT NULL DEFAULT 0,
    waited_us       bigint      NOT NULL DEFAULT 0,
    tokens_fetched  bigint      NOT NULL DEFAULT 0,
    renewed_on_401  bigint      NOT NULL DEFAULT 0,
    error_kind      text        NOT NULL DEFAULT '',
    error           text        NOT NULL DEFAULT '',
    CONSTRAINT runs_pkey PRIMARY KEY (id),
    CONSTRAINT runs_outcome CHECK (outcome IN ('', 'succeeded', 'incomplete', 'failed', 'interrupted', 'lost')),
    CONSTRAINT runs_end CHECK ((outcome = '') = (ended_at IS NULL))
);

CREATE INDEX runs_source ON winch.runs (source, id);

COMMENT ON TABLE winch.runs IS 'One row a run: one recorded attempt at some slices of one source. It has an outcome as soon as it has ended, and one only.';
COMMENT ON COLUMN winch.runs.source IS 'The configured account that was pulled.';
COMMENT ON COLUMN winch.runs.connector IS 'The program that pulled it.';
COMMENT ON COLUMN winch.runs.trigger IS 'What caused the run: pull, backfill, demo.';
COMMENT ON COLUMN winch.runs.trace_id IS 'Id of its OpenTelemetry trace: 32 hex digits, or empty.';
COMMENT ON COLUMN winch.runs.ended_at IS 'Null while the run goes on.';
COMMENT ON COLUMN winch.runs.outcome IS 'How the run ended; empty while it goes on; lost if its agent died.';
COMMENT ON COLUMN winch.runs.slices IS 'Slices that were committed.';
COMMENT ON COLUMN winch.runs.failed IS 'Slices that were not.';
COMMENT ON COLUMN winch.runs.rows IS 'Distinct rows the vendor reported: inserted, updated and unchanged together.';
COMMENT ON COLUMN winch.runs.inserted IS 'Rows that were new.';
COMMENT ON COLUMN winch.runs.updated IS 'Rows whose content differed from what was at rest.';
COMMENT ON COLUMN winch.runs.unchanged IS 'Rows that were as they are and so were not written.';
COMMENT ON COLUMN winch.runs.deleted IS 'Rows the vendor no longer reports: deleted, or marked in _deleted_at for snapshots.';
COMMENT ON COLUMN winch.runs.requests IS 'HTTP requests to the vendor, retries included, token requests not.';
COMMENT ON COLUMN winch.runs.retries IS 'Requests that repeated an earlier one.';
COMMENT ON COLUMN winch.runs.bytes IS 'Bytes of response bodies.';
COMMENT ON COLUMN winch.runs.waited_us IS 'Microseconds spent waiting for rate limits and backoff.';
COMMENT ON COLUMN winch.runs.tokens_fetched IS 'Token requests that were granted.';
COMMENT ON COLUMN winch.runs.renewed_on_401 IS 'Tokens renewed because the vendor answered 401.';
COMMENT ON COLUMN winch.runs.error_kind IS 'Kind of the error of the run, or of its first failed slice.';
COMMENT ON COLUMN winch.runs.error IS 'Error of the run, or of its first failed slice, for people.';

CREATE TABLE winch.reads (
    id              bigint      GENERATED ALWAYS AS IDENTITY,
    run             bigint      NOT NULL,
    source          text        NOT NULL,
    stream          text        NOT NULL,
    partition       text        NOT NULL,
    since           timestamptz NOT NULL,
    until           timestamptz NOT NULL,
    state           text        NOT NULL,
    started_at      timestamptz NOT NULL,
    ended_at        timestamptz NOT NULL,
    rows            bigint      NOT NULL DEFAULT 0,
    inserted        bigint      NOT NULL DEFAULT 0,
    updated         bigint      NOT NULL DEFAULT 0,
    unchanged       bigint      NOT NULL DEFAULT 0,
    deleted         bigint      NOT NULL DEFAULT 0,
    requests        bigint      NOT NULL DEFAULT 0,
    retries         bigint      NOT NULL DEFAULT 0,
    bytes           bigint      NOT NULL DEFAULT 0,
    waited_us       bigint      NOT NULL DEFAULT 0,
    tokens_fetched  bigint      NOT NULL DEFAULT 0,
    renewed_on_401  bigint      NOT NULL DEFAULT 0,
    error_kind      text        NOT NULL DEFAULT '',
    error           text        NOT NULL DEFAULT '',
    CONSTRAINT reads_pkey PRIMARY KEY (id),
    CONSTRAINT reads_window CHECK (since < until),
    CONSTRAINT reads_state CHECK (state IN ('held', 'partial', 'failed'))
);

CREATE INDEX reads_run ON winch.reads (run, id);
CREATE INDEX reads_slice ON winch.reads (source, stream, partition, since, until, id);

COMMENT ON TABLE winch.reads IS 'One row for each attempt at a slice that ended. How often and how much a window changed when it was read again is a query on it.';
COMMENT ON COLUMN winch.reads.run IS 'The run it belongs to.';
COMMENT ON COLUMN winch.reads.source IS 'The configured account; the schema of this name holds its tables.';
COMMENT ON COLUMN winch.reads.stream IS 'The stream; the table of this name holds its rows.';
COMMENT ON COLUMN winch.reads.partition IS 'What else the stream is split by, such as a project; empty for most.';
COMMENT ON COLUMN winch.reads.since IS 'First moment of the window; -infinity for a slice without a window, which covers all time.';
COMMENT ON COLUMN winch.reads.until IS 'First moment after the window; infinity for a slice without a window.';
COMMENT ON COLUMN winch.reads.state IS 'held: committed; failed: not.';
COMMENT ON COLUMN winch.reads.started_at IS 'When the attempt began; rows it wrote have it as _winch_seen_at.';
COMMENT ON COLUMN winch.reads.rows IS 'Distinct rows the vendor reported: inserted, updated and unchanged together.';
COMMENT ON COLUMN winch.reads.inserted IS 'Rows that were new.';
COMMENT ON COLUMN winch.reads.updated IS 'Rows whose content differed from what was at rest.';
COMMENT ON COLUMN winch.reads.unchanged IS 'Rows that were as they are and so were not written.';
COMMENT ON COLUMN winch.reads.deleted IS 'Rows the vendor no longer reports: deleted, or marked in _deleted_at for snapshots.';
COMMENT ON COLUMN winch.reads.requests IS 'HTTP requests to the vendor, retries included, token requests not.';
COMMENT ON COLUMN winch.reads.retries IS 'Requests that repeated an earlier one.';
COMMENT ON COLUMN winch.reads.bytes IS 'Bytes of response bodies.';
COMMENT ON COLUMN winch.reads.waited_us IS 'Microseconds spent waiting for rate limits and backoff.';
COMMENT ON COLUMN winch.reads.tokens_fetched IS 'Token requests that were granted.';
COMMENT ON COLUMN winch.reads.renewed_on_401 IS 'Tokens renewed because the vendor answered 401.';
COMMENT ON COLUMN winch.reads.error_kind IS 'What kind of error the attempt ended with; empty unless it failed.';
COMMENT ON COLUMN winch.reads.error IS 'The error itself, for people; empty unless it failed.';
