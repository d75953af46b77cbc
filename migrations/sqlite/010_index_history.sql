-- +goose Up

-- The newest committed reads of a stream, from which costs are estimated.
CREATE INDEX "winch.reads_held" ON "winch.reads" (source, stream, id) WHERE state = 'held';
