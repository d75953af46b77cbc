-- +goose Up

-- Records that could not become rows, see winch.quarantine.
ALTER TABLE "winch.slices" ADD COLUMN quarantined INTEGER NOT NULL DEFAULT 0;
ALTER TABLE "winch.runs" ADD COLUMN quarantined INTEGER NOT NULL DEFAULT 0;
ALTER TABLE "winch.reads" ADD COLUMN quarantined INTEGER NOT NULL DEFAULT 0;

-- Records that could not become rows: one row for each that the last whole read
-- of its slice set aside.
CREATE TABLE "winch.quarantine" (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    source          TEXT    NOT NULL,
    stream          TEXT    NOT NULL,
    "partition"     TEXT    NOT NULL,
    since           TEXT    NOT NULL,
    until           TEXT    NOT NULL,
    hash            BLOB    NOT NULL, -- of the record without what Secret columns read: by it a record is known again
    "key"           BLOB,             -- hash of the primary key; null if the key cannot be read
    run             INTEGER NOT NULL, -- that read the record last
    read_at         TEXT    NOT NULL, -- when that attempt began: what _winch_seen_at would be
    column_name     TEXT    NOT NULL DEFAULT '', -- that does not take its value; '' if the record as a whole is at fault
    reason          TEXT    NOT NULL, -- what was wanted and what the record has; personal values are not told
    raw             TEXT,             -- JSON text without what Secret columns read; null when nothing is left to land
    whole           INTEGER NOT NULL, -- whether raw is the whole record, not only its beginning
    attempts        INTEGER NOT NULL DEFAULT 1, -- at making a row of the record
    state           TEXT    NOT NULL DEFAULT 'held'
        CONSTRAINT quarantine_state CHECK (state IN ('held', 'landed', 'superseded', 'dropped')),
    settled_at      TEXT,             -- when it was landed, superseded or dropped
    CONSTRAINT quarantine_record UNIQUE (source, stream, "partition", since, until, hash),
    CONSTRAINT quarantine_settled CHECK ((state = 'held') = (settled_at IS NULL)),
    CONSTRAINT quarantine_raw CHECK (state = 'held' OR raw IS NULL)
);

CREATE INDEX "winch.quarantine_held" ON "winch.quarantine" (source, stream, id) WHERE state = 'held';
