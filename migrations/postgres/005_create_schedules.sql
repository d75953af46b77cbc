-- +goose Up

CREATE TABLE winch.schedules (
    source      text        NOT NULL,
    schedule    text        NOT NULL,
    expression  text        NOT NULL,
    since       timestamptz NOT NULL,
    CONSTRAINT schedules_pkey PRIMARY KEY (source, schedule)
);

COMMENT ON TABLE winch.schedules IS 'The schedules that agents have found in their configuration.';
COMMENT ON COLUMN winch.schedules.source IS 'The configured account.';
COMMENT ON COLUMN winch.schedules.schedule IS 'The key of the schedule below the source: schedule, deep_schedule, streams.NAME.schedule.';
COMMENT ON COLUMN winch.schedules.expression IS 'What it says, with its time zone.';
COMMENT ON COLUMN winch.schedules.since IS 'When an agent first saw this expression. Ticks before are not missed but never were.';

CREATE TABLE winch.ticks (
    source      text        NOT NULL,
    schedule    text        NOT NULL,
    tick        timestamptz NOT NULL,
    due_at      timestamptz NOT NULL,
    decision    text        NOT NULL,
    reason      text        NOT NULL,
    decided_at  timestamptz NOT NULL,
    agent       text        NOT NULL,
    run         bigint,
    done_at     timestamptz,
    CONSTRAINT ticks_pkey PRIMARY KEY (source, schedule, tick),
    CONSTRAINT ticks_decision CHECK (decision IN ('taken', 'skipped')),
    CONSTRAINT ticks_done CHECK (decision = 'taken' OR done_at IS NOT NULL)
);

CREATE INDEX ticks_open ON winch.ticks (source, schedule, tick) WHERE done_at IS NULL;
CREATE INDEX ticks_source ON winch.ticks (source, due_at);
CREATE INDEX ticks_due ON winch.ticks (due_at);

COMMENT ON TABLE winch.ticks IS 'One row for each moment at which a schedule was due, with what was decided about it and why. The primary key is what makes it happen once, however many agents decide.';
COMMENT ON COLUMN winch.ticks.source IS 'The configured account.';
COMMENT ON COLUMN winch.ticks.schedule IS 'The key of the schedule below the source: schedule, deep_schedule, streams.NAME.schedule.';
COMMENT ON COLUMN winch.ticks.tick IS 'The moment by the schedule alone.';
COMMENT ON COLUMN winch.ticks.due_at IS 'The moment with the jitter of the source.';
COMMENT ON COLUMN winch.ticks.decision IS 'taken: the source is pulled for it; skipped: it is not.';
COMMENT ON COLUMN winch.ticks.reason IS 'Why, for people.';
COMMENT ON COLUMN winch.ticks.decided_at IS 'When it was decided, by the clock of the database; after due_at by the lateness.';
COMMENT ON COLUMN winch.ticks.agent IS 'The agent that decided.';
COMMENT ON COLUMN winch.ticks.run IS 'The run that was made for it, once it has ended; null if there was none.';
COMMENT ON COLUMN winch.ticks.done_at IS 'When the work for it had ended, well or not; null while it is queued or being done. A skipped tick is done at once.';

CREATE TABLE winch.pauses (
    source     text        NOT NULL,
    paused_at  timestamptz NOT NULL,
    CONSTRAINT pauses_pkey PRIMARY KEY (source)
);

COMMENT ON TABLE winch.pauses IS 'The sources whose ticks are skipped, by winch schedule pause.';
COMMENT ON COLUMN winch.pauses.source IS 'The configured account.';
COMMENT ON COLUMN winch.pauses.paused_at IS 'Since when.';
