-- +goose Up

-- Costs are estimated from the newest reads of a stream.
CREATE INDEX reads_held ON winch.reads (source, stream, id) WHERE state = 'held';

COMMENT ON INDEX winch.reads_held IS 'The newest committed reads of a stream, from which costs are estimated.';
