-- +goose Up

-- What a receiver of lineage was told the beginning of, and not yet the end.
CREATE TABLE "winch.lineage" (
    run        INTEGER NOT NULL,
    stream     TEXT    NOT NULL, -- empty for the run as a whole
    CONSTRAINT lineage_pkey PRIMARY KEY (run, stream)
) WITHOUT ROWID;
