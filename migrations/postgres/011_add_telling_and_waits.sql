-- +goose Up

CREATE TABLE winch.lineage (
    run        bigint      NOT NULL,
    stream     text        NOT NULL,
    CONSTRAINT lineage_pkey PRIMARY KEY (run, stream)
);

COMMENT ON TABLE winch.lineage IS 'What a receiver of lineage was told the beginning of, and not yet the end.';
COMMENT ON COLUMN winch.lineage.run IS 'The run (winch.runs.id).';
COMMENT ON COLUMN winch.lineage.stream IS 'The stream; empty for the run as a whole.';

CREATE TABLE winch.alert_messages (
    id              bigint      GENERATED ALWAYS AS IDENTITY,
    alert           text        NOT NULL,
    message         text        NOT NULL,
    recorded_at     timestamptz NOT NULL,
    claimed_until   timestamptz,
    CONSTRAINT alert_messages_pkey PRIMARY KEY (id)
);

COMMENT ON TABLE winch.alert_messages IS 'What webhooks are still to be told, in its order.';
COMMENT ON COLUMN winch.alert_messages.alert IS 'Name of the webhook in the configuration.';
COMMENT ON COLUMN winch.alert_messages.message IS 'What it is told, as JSON.';
COMMENT ON COLUMN winch.alert_messages.recorded_at IS 'When it was recorded; days later it is no news and forgotten.';
COMMENT ON COLUMN winch.alert_messages.claimed_until IS 'Until then an agent is telling it; null: nobody is.';

COMMENT ON TABLE winch.alerts IS 'What is the matter now, so that each webhook is told of it once.';
COMMENT ON COLUMN winch.alerts.raised_at IS 'When it was recorded.';

ALTER TABLE winch.runs ADD COLUMN store_wait_us bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN winch.runs.store_wait_us IS 'Microseconds lost waiting for a connection or for the table to be free; a sum over slices that ran side by side.';
ALTER TABLE winch.reads ADD COLUMN store_wait_us bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN winch.reads.store_wait_us IS 'Microseconds lost waiting for a connection or for the table to be free.';
