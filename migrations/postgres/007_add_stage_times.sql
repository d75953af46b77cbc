-- +goose Up

ALTER TABLE winch.runs
    ADD COLUMN requesting_us bigint NOT NULL DEFAULT 0,
    ADD COLUMN fetching_tokens_us bigint NOT NULL DEFAULT 0,
    ADD COLUMN decoding_us bigint NOT NULL DEFAULT 0,
    ADD COLUMN copying_us bigint NOT NULL DEFAULT 0,
    ADD COLUMN merging_us bigint NOT NULL DEFAULT 0,
    ADD COLUMN committing_us bigint NOT NULL DEFAULT 0,
    ADD COLUMN span_id text NOT NULL DEFAULT '',
    ADD COLUMN hint text NOT NULL DEFAULT '';

COMMENT ON COLUMN winch.runs.requesting_us IS 'Microseconds from sending requests to having read their answers; a sum over slices that ran side by side.';
COMMENT ON COLUMN winch.runs.fetching_tokens_us IS 'Microseconds spent fetching tokens, or waiting for one that another request fetched; a sum over slices that ran side by side.';
COMMENT ON COLUMN winch.runs.decoding_us IS 'Microseconds spent making rows of records, estimated from samples; a sum over slices that ran side by side.';
COMMENT ON COLUMN winch.runs.copying_us IS 'Microseconds spent staging rows, which overlaps with decoding; a sum over slices that ran side by side.';
COMMENT ON COLUMN winch.runs.merging_us IS 'Microseconds spent merging staged rows into the table, with the ledger; a sum over slices that ran side by side.';
COMMENT ON COLUMN winch.runs.committing_us IS 'Microseconds spent ending transactions; a sum over slices that ran side by side.';
COMMENT ON COLUMN winch.runs.span_id IS 'Id of the run''s own span in its trace: 16 hex digits, or empty.';
COMMENT ON COLUMN winch.runs.hint IS 'What to try about the error; may be empty.';

ALTER TABLE winch.reads
    ADD COLUMN requesting_us bigint NOT NULL DEFAULT 0,
    ADD COLUMN fetching_tokens_us bigint NOT NULL DEFAULT 0,
    ADD COLUMN decoding_us bigint NOT NULL DEFAULT 0,
    ADD COLUMN copying_us bigint NOT NULL DEFAULT 0,
    ADD COLUMN merging_us bigint NOT NULL DEFAULT 0,
    ADD COLUMN committing_us bigint NOT NULL DEFAULT 0,
    ADD COLUMN hint text NOT NULL DEFAULT '';

COMMENT ON COLUMN winch.reads.requesting_us IS 'Microseconds from sending requests to having read their answers.';
COMMENT ON COLUMN winch.reads.fetching_tokens_us IS 'Microseconds spent fetching tokens, or waiting for one that another request fetched.';
COMMENT ON COLUMN winch.reads.decoding_us IS 'Microseconds spent making rows of records, estimated from samples.';
COMMENT ON COLUMN winch.reads.copying_us IS 'Microseconds spent staging rows, which overlaps with decoding.';
COMMENT ON COLUMN winch.reads.merging_us IS 'Microseconds spent merging staged rows into the table, with the ledger.';
COMMENT ON COLUMN winch.reads.committing_us IS 'Microseconds spent ending transactions, without the last one, which holds this row.';
COMMENT ON COLUMN winch.reads.hint IS 'What to try about the error; may be empty.';
