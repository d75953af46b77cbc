-- +goose Up

-- What is the matter now and a webhook was told of, so that it is told once.
CREATE TABLE "winch.alerts" (
    alert      TEXT NOT NULL, -- name of the webhook in the configuration
    source     TEXT NOT NULL,
    stream     TEXT NOT NULL, -- empty for the source as a whole
    event      TEXT NOT NULL, -- failure, staleness, drift or quarantine
    detail     TEXT NOT NULL, -- what makes it news again when it changes: of drift, the fields
    raised_at  TEXT NOT NULL,
    CONSTRAINT alerts_pkey PRIMARY KEY (alert, source, stream, event)
) WITHOUT ROWID;
