package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// Declarations implements sink.Declarations.
func (s *Sink) Declarations(ctx context.Context, source string) (map[string]ledger.Declaration, error) {
	const op = "read the declarations"
	rows, err := s.readers.QueryContext(ctx, `SELECT stream, mode, primary_key, columns, slice, timezone, since
		FROM "winch.declarations" WHERE source = ?`, source)
	if err != nil {
		return nil, fault(ctx, op, err)
	}
	defer rows.Close()
	all := map[string]ledger.Declaration{}
	for rows.Next() {
		d, err := scanDeclaration(rows)
		if err != nil {
			return nil, fault(ctx, op, err)
		}
		all[d.Stream] = d
	}
	return all, fault(ctx, op, rows.Err())
}

func scanDeclaration(rows *sql.Rows) (d ledger.Declaration, err error) {
	var (
		key, columns, slice string
		since               *string
	)
	if err := rows.Scan(&d.Stream, &d.Mode, &key, &columns, &slice, &d.TimeZone, &since); err != nil {
		return d, err
	}
	if err := json.Unmarshal([]byte(key), &d.PrimaryKey); err != nil {
		return d, err
	}
	if err := json.Unmarshal([]byte(columns), &d.Columns); err != nil {
		return d, err
	}
	if slice != "" {
		if d.Slice, err = connector.ParseSpan(slice); err != nil {
			return d, err
		}
	}
	d.Since, err = parseTimestamp(since)
	return d, err
}

// declare records what the stream is read as, in the transaction of its first rows
// that were read so.
func declare(ctx context.Context, to execer, a sink.Attempt) error {
	if a.Declared == nil {
		return nil
	}
	d := a.Declared
	key, err := json.Marshal(d.PrimaryKey)
	if err != nil {
		return err
	}
	columns, err := json.Marshal(d.Columns)
	if err != nil {
		return err
	}
	slice, since := "", (*string)(nil)
	if !d.Slice.IsZero() {
		slice = d.Slice.String()
	}
	if !d.Since.IsZero() {
		text := timestamp(d.Since)
		since = &text
	}
	_, err = to.ExecContext(ctx, `INSERT INTO "winch.declarations" (source, stream, mode, primary_key, columns, slice, timezone, since, run)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET (mode, primary_key, columns, slice, timezone, since, run) =
			(excluded.mode, excluded.primary_key, excluded.columns, excluded.slice, excluded.timezone, excluded.since, excluded.run)`,
		a.Slice.Source, d.Stream, string(d.Mode), string(key), string(columns), slice, d.TimeZone, since, a.Run)
	return err
}

// Reset implements sink.Declarations.
func (s *Sink) Reset(ctx context.Context, source, stream, aside string, dryRun bool) (had sink.Started, err error) {
	name := tableName(source, stream)
	err = s.update(ctx, fmt.Sprintf("reset %s/%s", source, stream), func(tx *sql.Tx) error {
		for _, query := range []struct {
			sql   string
			args  []any
			value any
		}{
			{`SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?)`, []any{name}, &had.Table},
			{`SELECT count(*) FROM "winch.quarantine" WHERE source = ? AND stream = ? AND state = 'held'`, []any{source, stream}, &had.Quarantined},
		} {
			if err := tx.QueryRowContext(ctx, query.sql, query.args...).Scan(query.value); err != nil {
				return err
			}
		}
		if had.Table {
			if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM "+quote(name)).Scan(&had.Rows); err != nil {
				return err
			}
		}
		for _, step := range []struct {
			table string
			count *int64
		}{{"slices", &had.Slices}, {"reads", &had.Reads}, {"quarantine", new(int64)}, {"declarations", new(int64)}} {
			n, err := rowsAffected(tx.ExecContext(ctx, "DELETE FROM "+quote(ownPrefix+step.table)+" WHERE source = ? AND stream = ?", source, stream))
			if err != nil {
				return err
			}
			*step.count = n
		}
		switch {
		case dryRun:
			return errOnlyCounted
		case !had.Table:
			return nil
		case aside == "":
			_, err := tx.ExecContext(ctx, "DROP TABLE "+quote(name))
			return err
		}
		return setAside(ctx, tx, name, tableName(source, aside))
	})
	if errors.Is(err, errOnlyCounted) {
		err = nil
	}
	return had, err
}

// setAside renames a table. Its index, whose name the next table of the stream
// needs, goes.
func setAside(ctx context.Context, tx *sql.Tx, name, aside string) error {
	indexes, err := column(ctx, tx, `SELECT name FROM sqlite_schema
		WHERE type = 'index' AND tbl_name = ?1 AND substr(name, 1, length(?1) + 1) = ?1 || '.'`, name)
	if err != nil {
		return err
	}
	for _, index := range indexes {
		if _, err := tx.ExecContext(ctx, "DROP INDEX "+quote(index)); err != nil {
			return err
		}
	}
	_, err = tx.ExecContext(ctx, "ALTER TABLE "+quote(name)+" RENAME TO "+quote(aside))
	return err
}
