-- +goose Up

CREATE TABLE winch.lineage (
    run        bigint      NOT NULL,
    stream     text        NOT NULL,
    CONSTRAINT lineage_pkey PRIMARY KEY (run, stream)
);

COMMENT ON TABLE winch.lineage IS 'What a receiver of lineage was told the beginning of, and not yet the end.';
COMMENT ON COLUMN winch.lineage.run IS 'The run (winch.runs.id).';
COMMENT ON COLUMN winch.lineage.stream IS 'The stream; empty for the run as a whole.';
