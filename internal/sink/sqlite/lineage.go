package sqlite

import (
	"context"
	"database/sql"
	"net/url"
	"path/filepath"

	"github.com/winchdata/winch/internal/sink"
)

// BeginLineage implements sink.Lineage.
func (s *Sink) BeginLineage(ctx context.Context, run int64, streams ...string) error {
	return s.update(ctx, "begin lineage", func(tx *sql.Tx) error {
		for _, stream := range streams {
			if _, err := tx.ExecContext(ctx, `INSERT INTO "winch.lineage" (run, stream) VALUES (?, ?) ON CONFLICT DO NOTHING`, run, stream); err != nil {
				return err
			}
		}
		return nil
	})
}

// EndLineage implements sink.Lineage.
func (s *Sink) EndLineage(ctx context.Context, run int64) (streams []string, err error) {
	err = s.update(ctx, "end lineage", func(tx *sql.Tx) error {
		streams, err = endLineage(ctx, tx, run)
		return err
	})
	return streams, err
}

func endLineage(ctx context.Context, tx *sql.Tx, run int64) (streams []string, err error) {
	rows, err := tx.QueryContext(ctx, `SELECT stream FROM "winch.lineage" WHERE run = ? ORDER BY stream`, run)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var stream string
		if err := rows.Scan(&stream); err != nil {
			return nil, err
		}
		streams = append(streams, stream)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM "winch.lineage" WHERE run = ?`, run)
	return streams, err
}

// LoseLineage implements sink.Lineage.
func (s *Sink) LoseLineage(ctx context.Context, source string) (lost []sink.LostLineage, err error) {
	err = s.update(ctx, "end lineage of lost runs", func(tx *sql.Tx) error {
		lost, err = lostLineage(ctx, tx, source)
		for i := range lost {
			if err == nil {
				lost[i].Streams, err = endLineage(ctx, tx, lost[i].Run)
			}
		}
		return err
	})
	return lost, err
}

func lostLineage(ctx context.Context, tx *sql.Tx, source string) (lost []sink.LostLineage, err error) {
	rows, err := tx.QueryContext(ctx, `SELECT id, "trigger", started_at FROM "winch.runs"
		WHERE source = ? AND outcome = 'lost' AND id IN (SELECT run FROM "winch.lineage") ORDER BY id`, source)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var (
			one     sink.LostLineage
			started string
		)
		if err := rows.Scan(&one.Run, &one.Trigger, &started); err != nil {
			return nil, err
		}
		if one.StartedAt, err = parseTimestamp(&started); err != nil {
			return nil, err
		}
		lost = append(lost, one)
	}
	return lost, rows.Err()
}

// Dataset names the table by its file. OpenLineage has no names for SQLite.
func (s *Sink) Dataset(source, stream string) sink.Dataset {
	file := url.URL{Scheme: "sqlite", Path: filepath.ToSlash(s.path)}
	return sink.Dataset{Namespace: "sqlite", Name: s.path + "." + tableName(source, stream), URI: file.String()}
}
