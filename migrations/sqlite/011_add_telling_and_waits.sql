-- +goose Up

-- What a receiver of lineage was told the beginning of, and not yet the end.
CREATE TABLE "winch.lineage" (
    run        INTEGER NOT NULL,
    stream     TEXT    NOT NULL, -- empty for the run as a whole
    CONSTRAINT lineage_pkey PRIMARY KEY (run, stream)
) WITHOUT ROWID;

-- What webhooks are still to be told, in its order.
CREATE TABLE "winch.alert_messages" (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    alert           TEXT NOT NULL, -- name of the webhook in the configuration
    message         TEXT NOT NULL, -- what it is told, as JSON
    recorded_at     TEXT NOT NULL, -- days later it is no news and forgotten
    claimed_until   TEXT           -- until then an agent is telling it; null: nobody is
);

-- Lost waiting for the file to be free for writing.
ALTER TABLE "winch.runs" ADD COLUMN store_wait_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE "winch.reads" ADD COLUMN store_wait_us INTEGER NOT NULL DEFAULT 0;
