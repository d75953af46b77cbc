package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/zeebo/xxh3"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// rest names the piece of a cut table that holds what no other piece does.
const rest = "rest"

// pieceLock is how long making a piece may wait for who reads the table. Whoever
// comes to read meanwhile waits too, so it is short; the rows then go to the rest.
const pieceLock = "2s"

// pieces remembers which pieces need not be made, by their full names.
type pieces struct{ made sync.Map }

// piece names a piece of the table. No stream can have the name: it has a $, which
// PostgreSQL takes in names that are not quoted.
func (t table) piece(suffix string) string {
	const longest = 63
	name := t.stream
	if most := longest - 1 - len(suffix); len(name) > most {
		name = fmt.Sprintf("%s_%08x", name[:most-9], uint32(xxh3.HashString(name)))
	}
	return name + "$" + suffix
}

// cut returns the statements that make a cut table's piece for the rest.
func (t table) cut() []string {
	if !t.split.Cuts(t.asStream()) {
		return nil
	}
	return []string{fmt.Sprintf("CREATE TABLE %s PARTITION OF %s DEFAULT", quote(t.source, t.piece(rest)), t.name())}
}

// asStream is as much of the stream as decides whether its table is cut.
func (t table) asStream() connector.Stream {
	return connector.Stream{Mode: t.mode, TimeColumn: t.timeColumn.Name}
}

// isCut reports whether the table at rest is cut by the stream's time. The server
// quotes the column's name where it must.
func (t table) isCut(is restingTable) bool {
	return is.cut == "RANGE ("+t.timeColumn.Name+")" || is.cut == "RANGE ("+quote(t.timeColumn.Name)+")"
}

// misCut says why the table at rest is not cut as wanted; empty if it is.
func (t table) misCut(is restingTable) (wrong, hint string) {
	cuts := t.split.Cuts(t.asStream())
	again := fmt.Sprintf("rename the table %s, pull, and move its rows: docs/sinks.md says how", t)
	switch {
	case cuts && is.kind == "r":
		return fmt.Sprintf("split: %s wants it cut by %s, and it is one table", t.split, t.timeColumn.Name), "remove split, or " + again
	case cuts && !t.isCut(is):
		return fmt.Sprintf("split: %s wants it cut by RANGE (%s), and it is by %s", t.split, t.timeColumn.Name, is.cut), "remove split, or " + again
	}
	return "", ""
}

// makePieces makes the pieces that the slice's window needs and the table lacks.
// Rows find their piece, or the rest, whatever becomes of it.
func (s *Sink) makePieces(ctx context.Context, a sink.Attempt) error {
	if !a.Split.Cuts(a.Stream) {
		return nil
	}
	t := newTable(a.Slice.Source, a.Stream)
	format := "2006_01"
	if a.Split == ledger.SplitYear {
		format = "2006"
	}
	for _, w := range a.Split.Pieces(a.Slice.Window) {
		if err := s.makePiece(ctx, t, t.piece(w.Since.Format(format)), w); err != nil {
			return fault(ctx, "cut "+t.String(), err)
		}
	}
	return nil
}

func (s *Sink) makePiece(ctx context.Context, t table, name string, w connector.Window) error {
	full := quote(t.source, name)
	if _, ok := s.pieces.made.Load(full); ok {
		return nil
	}
	there, err := isThere(ctx, s.pool, full)
	if err == nil && !there {
		// Before the server's lock on the table, as in a writer's transaction.
		gate := s.gates.of(t.lock())
		if err := gate.enter(ctx); err != nil {
			return err
		}
		defer gate.leave()
		err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error { return t.attach(ctx, tx, full, w) })
	}
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		switch refused.Code {
		case "42P17": // it would overlap a piece that is there
			err = nil
		case "55P03": // somebody reads the table for long; the next slice tries again
			return nil
		}
	}
	if err == nil {
		s.pieces.made.Store(full, true)
	}
	return err
}

type rowQuerier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func isThere(ctx context.Context, q rowQuerier, full string) (there bool, err error) {
	err = q.QueryRow(ctx, "SELECT to_regclass($1::text) IS NOT NULL", full).Scan(&there)
	return there, err
}

// attach makes a piece, moves there what the rest holds of it, and makes it part of
// the table. The piece is made beside the table first, so that readers are kept
// out of the rest alone, and no longer than it takes to look through it.
func (t table) attach(ctx context.Context, tx pgx.Tx, full string, w connector.Window) error {
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1::bigint)", t.lock()); err != nil {
		return err
	}
	if there, err := isThere(ctx, tx, full); err != nil || there {
		return err
	}
	var restName *string
	var columns []string
	const query = `SELECT (SELECT quote_ident(n.nspname) || '.' || quote_ident(r.relname) FROM pg_class r JOIN pg_namespace n ON n.oid = r.relnamespace WHERE r.oid = p.partdefid),
	ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = p.partrelid AND attnum > 0 AND NOT attisdropped AND attgenerated = '')
FROM pg_partitioned_table p WHERE p.partrelid = $1::text::regclass`
	if err := tx.QueryRow(ctx, query, t.name()).Scan(&restName, &columns); err != nil {
		return err
	}
	statements := []string{
		"SET LOCAL lock_timeout = '" + pieceLock + "'",
		fmt.Sprintf("CREATE TABLE %s (LIKE %s INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING CONSTRAINTS INCLUDING STORAGE)", full, t.name()),
	}
	since, until := t.bound(w.Since), t.bound(w.Until)
	if restName != nil {
		list, at := each(columns, "%[1]s", ", "), quote(t.timeColumn.Name)
		statements = append(statements,
			fmt.Sprintf("LOCK TABLE ONLY %s IN SHARE UPDATE EXCLUSIVE MODE", t.name()),
			fmt.Sprintf("LOCK TABLE %s IN ACCESS EXCLUSIVE MODE", *restName),
			fmt.Sprintf("WITH moved AS (DELETE FROM %[1]s WHERE %[2]s >= %[3]s AND %[2]s < %[4]s RETURNING %[5]s) INSERT INTO %[6]s (%[5]s) SELECT %[5]s FROM moved",
				*restName, at, since, until, list, full))
	}
	statements = append(statements, fmt.Sprintf("ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%s) TO (%s)", t.name(), full, since, until))
	for _, sql := range statements {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

// bound is a moment as a value of the time column, for SQL.
func (t table) bound(at time.Time) string {
	if t.timeColumn.Type == connector.TypeDate {
		return "'" + at.UTC().Format(time.DateOnly) + "'"
	}
	return "'" + at.UTC().Format(time.RFC3339) + "'"
}
