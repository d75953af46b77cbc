-- +goose Up

-- The schedules that an agent has found in its configuration, and since when each
-- says what it says: ticks before are not missed but never were.
CREATE TABLE "winch.schedules" (
    source      TEXT NOT NULL,
    schedule    TEXT NOT NULL, -- the key below the source: schedule, deep_schedule, streams.NAME.schedule
    expression  TEXT NOT NULL, -- with its time zone
    since       TEXT NOT NULL,
    CONSTRAINT schedules_pkey PRIMARY KEY (source, schedule)
) WITHOUT ROWID;

-- One row for each moment at which a schedule was due, with what was decided about
-- it and why.
CREATE TABLE "winch.ticks" (
    source      TEXT NOT NULL,
    schedule    TEXT NOT NULL,
    tick        TEXT NOT NULL, -- by the schedule alone
    due_at      TEXT NOT NULL, -- with the jitter of the source
    decision    TEXT NOT NULL CONSTRAINT ticks_decision CHECK (decision IN ('taken', 'skipped')),
    reason      TEXT NOT NULL, -- for people
    decided_at  TEXT NOT NULL,
    agent       TEXT NOT NULL, -- that decided
    run         INTEGER,       -- made for it, once it has ended
    done_at     TEXT,          -- null while it is queued or being done
    CONSTRAINT ticks_done CHECK (decision = 'taken' OR done_at IS NOT NULL),
    CONSTRAINT ticks_pkey PRIMARY KEY (source, schedule, tick)
) WITHOUT ROWID;

CREATE INDEX "winch.ticks_open" ON "winch.ticks" (source, schedule, tick) WHERE done_at IS NULL;
CREATE INDEX "winch.ticks_source" ON "winch.ticks" (source, due_at);
CREATE INDEX "winch.ticks_due" ON "winch.ticks" (due_at);

-- The sources whose ticks are skipped, by winch schedule pause.
CREATE TABLE "winch.pauses" (
    source     TEXT NOT NULL PRIMARY KEY,
    paused_at  TEXT NOT NULL
) WITHOUT ROWID;
