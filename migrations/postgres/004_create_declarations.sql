-- +goose Up

CREATE TABLE winch.declarations (
    source          text        NOT NULL,
    stream          text        NOT NULL,
    mode            text        NOT NULL,
    primary_key     json        NOT NULL,
    columns         json        NOT NULL,
    slice           text        NOT NULL,
    timezone        text        NOT NULL,
    since           timestamptz,
    run             bigint      NOT NULL,
    CONSTRAINT declarations_pkey PRIMARY KEY (source, stream)
);

COMMENT ON TABLE winch.declarations IS 'What a stream was declared and configured as when it was last read: by it a change is noticed.';
COMMENT ON COLUMN winch.declarations.source IS 'The configured account; the schema of this name holds its tables.';
COMMENT ON COLUMN winch.declarations.stream IS 'The stream; the table of this name holds its rows.';
COMMENT ON COLUMN winch.declarations.mode IS 'snapshot, window or cursor.';
COMMENT ON COLUMN winch.declarations.primary_key IS 'Names of the columns of the key, as a JSON array.';
COMMENT ON COLUMN winch.declarations.columns IS 'The declared columns, as a JSON array of objects with name and type.';
COMMENT ON COLUMN winch.declarations.slice IS 'Length of its slices, such as 1d; empty for a stream without windows.';
COMMENT ON COLUMN winch.declarations.timezone IS 'Where days, weeks and months begin; empty for a stream without windows.';
COMMENT ON COLUMN winch.declarations.since IS 'The earliest moment wanted; null if none is configured.';
COMMENT ON COLUMN winch.declarations.run IS 'The run that committed the first slice that was read so.';

-- A list of names travels to other stores as JSON.
ALTER TABLE winch.backfills ALTER COLUMN streams TYPE json USING array_to_json(streams);
COMMENT ON COLUMN winch.backfills.streams IS 'The streams that are read, as a JSON array of names.';
