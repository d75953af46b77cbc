package postgres

import (
	"context"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/winchdata/winch/internal/sink"
)

// BeginLineage implements sink.Lineage.
func (s *Sink) BeginLineage(ctx context.Context, run int64, streams ...string) error {
	_, err := s.pool.Exec(ctx, `INSERT INTO winch.lineage (run, stream) SELECT $1, unnest($2::text[])
ON CONFLICT ON CONSTRAINT lineage_pkey DO NOTHING`, run, streams)
	return fault(ctx, "begin lineage", err)
}

// EndLineage implements sink.Lineage.
func (s *Sink) EndLineage(ctx context.Context, run int64) ([]string, error) {
	const op = "end lineage"
	rows, err := s.pool.Query(ctx, "DELETE FROM winch.lineage WHERE run = $1 RETURNING stream", run)
	if err != nil {
		return nil, fault(ctx, op, err)
	}
	streams, err := pgx.CollectRows(rows, pgx.RowTo[string])
	slices.Sort(streams)
	return streams, fault(ctx, op, err)
}

// LoseLineage implements sink.Lineage.
func (s *Sink) LoseLineage(ctx context.Context, source string) ([]sink.LostLineage, error) {
	const (
		op    = "end lineage of lost runs"
		query = `WITH ended AS (
	DELETE FROM winch.lineage l USING winch.runs r WHERE r.id = l.run AND r.source = $1 AND r.outcome = 'lost'
	RETURNING l.run, l.stream, r.trigger, r.started_at)
SELECT run, trigger, started_at, array_agg(stream ORDER BY stream) FROM ended GROUP BY run, trigger, started_at ORDER BY run`
	)
	rows, err := s.pool.Query(ctx, query, source)
	if err != nil {
		return nil, fault(ctx, op, err)
	}
	lost, err := pgx.CollectRows(rows, pgx.RowToStructByPos[sink.LostLineage])
	return lost, fault(ctx, op, err)
}

// Dataset names the table as OpenLineage names those of PostgreSQL. Of several
// hosts the first counts: which of them answers must not change the name.
func (s *Sink) Dataset(source, stream string) sink.Dataset {
	host := s.config.Host
	if strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") {
		host = "localhost" // a socket
	}
	store := "postgres://" + net.JoinHostPort(host, strconv.Itoa(int(s.config.Port)))
	return sink.Dataset{Namespace: store, Name: s.config.Database + "." + source + "." + stream, URI: store}
}
