-- +goose Up

-- The right to pull is a lock of the operating system on a file beside the
-- database, so there is no table of leases or agents here.
ALTER TABLE "winch.runs" ADD COLUMN cancel_at TEXT; -- when a person asked to cancel it

CREATE INDEX "winch.runs_open" ON "winch.runs" (source) WHERE outcome = '';
