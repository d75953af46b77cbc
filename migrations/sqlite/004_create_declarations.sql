-- +goose Up

-- What a stream was declared and configured as when it was last read: by it a
-- change is noticed.
CREATE TABLE "winch.declarations" (
    source          TEXT    NOT NULL,
    stream          TEXT    NOT NULL,
    mode            TEXT    NOT NULL,
    primary_key     TEXT    NOT NULL, -- a JSON array of names
    columns         TEXT    NOT NULL, -- a JSON array of objects with name and type
    slice           TEXT    NOT NULL, -- such as 1d; '' for a stream without windows
    timezone        TEXT    NOT NULL, -- where days begin; '' for a stream without windows
    since           TEXT,             -- the earliest moment wanted; null if none is configured
    run             INTEGER NOT NULL, -- that committed the first slice that was read so
    CONSTRAINT declarations_pkey PRIMARY KEY (source, stream)
) WITHOUT ROWID;
