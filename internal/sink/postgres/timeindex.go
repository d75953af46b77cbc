package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/winchdata/winch/internal/sink"
)

// What vanished from a window is looked for by time, so a window stream's table has
// an index on it. Slices land one after another, so that rows of a time lie
// together: a BRIN index then finds them and costs next to nothing but to make it,
// which is to read the table.
//
// Of a table that holds a single slice it would tell nothing. So a first fill,
// which drops the indexes, leaves this one to the next slice of the stream, or to
// the next run, whichever comes first.

// makeTimeIndex makes the index that a first fill has left to this slice.
func (s *Sink) makeTimeIndex(ctx context.Context, a sink.Attempt) error {
	t := newTable(a.Slice.Source, a.Stream)
	gate := s.gates.of(t.lock())
	index := gate.takeIndex()
	if index == "" {
		return nil
	}
	// Before the server's lock on the table, as in a writer's transaction.
	err := gate.enter(ctx)
	if err == nil {
		defer gate.leave()
		err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, fmt.Sprintf("SELECT pg_advisory_xact_lock(%d); %s", t.lock(), index))
			return err
		})
	}
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		switch refused.Code {
		case "42P07", "42P01": // it is there meanwhile; or the table is not, which the writer tells
			return nil
		case "55P03": // somebody writes to the table for long; the next slice tries again
			gate.leaveIndex(index)
			return nil
		}
	}
	if err != nil {
		gate.leaveIndex(index)
	}
	return fault(ctx, "index "+t.String(), err)
}
