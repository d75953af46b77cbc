-- +goose Up

ALTER TABLE winch.agents ADD COLUMN sessions bigint;

COMMENT ON COLUMN winch.agents.sessions IS 'Each session of the process holds the advisory lock of this number, shared: so who takes over from it ends what they still do. Null for older programs.';
