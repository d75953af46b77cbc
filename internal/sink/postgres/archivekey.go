package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/winchdata/winch/internal/sink"
)

// writtenKey returns the key by which the table's rows are written. In a table that
// somebody else made it may be a unique index, and the primary key a number that
// the server gives. What Prepare demands of a key tells them apart: its columns are
// never null and its text is in the collation C. The values come from records, not
// from a default.
func writtenKey(source, name string, rest restingTable) ([]string, error) {
	var found [][]string
	for _, key := range rest.keys {
		written := !slices.ContainsFunc(key, func(column string) bool {
			c := rest.columns[column]
			return !c.NotNull || c.Filled || c.SQLType == "text" && c.Collation != "C"
		})
		known := slices.ContainsFunc(found, func(other []string) bool { return sameColumns(key, other) })
		if written && !known {
			found = append(found, key)
		}
	}
	if len(found) != 1 {
		return nil, sink.UnknownKey(source, name, len(found))
	}
	return found[0], nil
}

func sameColumns(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// readCut returns how a table is partitioned by the clause, which is empty for a
// whole one.
func readCut(ctx context.Context, tx pgx.Tx, by, table string) (cut sink.ArchivedCut, err error) {
	if by == "" {
		return cut, nil
	}
	cut.By = by
	const query = `SELECT c.relname::text, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = $1::text::regclass ORDER BY 1`
	rows, err := tx.Query(ctx, query, table)
	if err != nil {
		return cut, err
	}
	cut.Pieces, err = pgx.CollectRows(rows, pgx.RowToStructByPos[sink.ArchivedPiece])
	return cut, err
}
