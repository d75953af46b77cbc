-- +goose Up

CREATE TABLE winch.alerts (
    alert      text        NOT NULL,
    source     text        NOT NULL,
    stream     text        NOT NULL,
    event      text        NOT NULL,
    detail     text        NOT NULL,
    raised_at  timestamptz NOT NULL,
    CONSTRAINT alerts_pkey PRIMARY KEY (alert, source, stream, event)
);

COMMENT ON TABLE winch.alerts IS 'What is the matter now and a webhook was told of, so that it is told once.';
COMMENT ON COLUMN winch.alerts.alert IS 'Name of the webhook in the configuration.';
COMMENT ON COLUMN winch.alerts.source IS 'The configured account.';
COMMENT ON COLUMN winch.alerts.stream IS 'The stream; empty for the source as a whole.';
COMMENT ON COLUMN winch.alerts.event IS 'failure, staleness, drift or quarantine.';
COMMENT ON COLUMN winch.alerts.detail IS 'What makes it news again when it changes: of drift, the fields.';
COMMENT ON COLUMN winch.alerts.raised_at IS 'When the webhook was told.';
