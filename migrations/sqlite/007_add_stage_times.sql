-- +goose Up

-- Where the time went. Of runs the columns are sums over slices that ran side by
-- side. committing_us of a read is without the transaction that holds the read
-- itself.
ALTER TABLE "winch.runs" ADD COLUMN requesting_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE "winch.runs" ADD COLUMN fetching_tokens_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE "winch.runs" ADD COLUMN decoding_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE "winch.runs" ADD COLUMN copying_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE "winch.runs" ADD COLUMN merging_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE "winch.runs" ADD COLUMN committing_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE "winch.runs" ADD COLUMN span_id TEXT NOT NULL DEFAULT ''; -- of the run's own span in its trace
ALTER TABLE "winch.runs" ADD COLUMN hint TEXT NOT NULL DEFAULT ''; -- what to try about the error

ALTER TABLE "winch.reads" ADD COLUMN requesting_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE "winch.reads" ADD COLUMN fetching_tokens_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE "winch.reads" ADD COLUMN decoding_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE "winch.reads" ADD COLUMN copying_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE "winch.reads" ADD COLUMN merging_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE "winch.reads" ADD COLUMN committing_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE "winch.reads" ADD COLUMN hint TEXT NOT NULL DEFAULT ''; -- what to try about the error
