package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/quarantine"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// A landing is what becomes of a slice with a merge.
type landing struct {
	state  ledger.State
	cursor connector.Cursor
	usage  connector.Usage
	// instead of the ledger, for rows that come from no reading
	instead func(context.Context, pgx.Tx) error
}

// merge brings the staged rows into the table and the ledger row with them, in
// one transaction, and returns the counts of the attempt so far. It leaves the
// staging table empty for the next part.
func (w *writer) merge(ctx context.Context, l landing) (ledger.Counts, error) {
	_, end := w.step(ctx, sink.Merging, "merge")
	staged, err := w.settle(ctx)
	if err != nil {
		end(err)
		return w.counts, err
	}
	counts := w.counts
	var ids map[quarantine.Key]int64
	err = pgx.BeginTxFunc(ctx, w.conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		if err := w.begin(ctx, tx); err != nil {
			return err
		}
		merged, err := w.mergeRows(ctx, tx, staged)
		if err != nil {
			return err
		}
		counts = counts.Add(merged)
		if l.instead != nil {
			return l.instead(ctx, tx)
		}
		n, heldIDs, err := w.setAside(ctx, tx)
		if err != nil {
			return err
		}
		ids = heldIDs
		counts.Quarantined += n
		if l.state == ledger.Held {
			if counts.Deleted, err = w.removeVanished(ctx, tx); err != nil {
				return err
			}
			if err := w.attempt.Brake.Hold(w.table.mode, counts); err != nil {
				return err
			}
			if err := w.replaceQuarantined(ctx, tx); err != nil {
				return err
			}
		} else if err := w.keepKeys(ctx, tx); err != nil {
			return err
		}
		// I1: rows, ledger row, cursor and counts are one transaction.
		if err := w.record(ctx, tx, l, counts); err != nil {
			return err
		}
		end(nil)
		_, end = w.step(ctx, sink.Committing, "COMMIT")
		return nil
	})
	end(err)
	if err != nil {
		return counts, err
	}
	w.aside.Committed(ids)
	w.checkpoints = w.checkpoints || l.state == ledger.Partial
	return counts, nil
}

// settle makes the staged rows ready before any lock is held: each key once, and
// the planner informed. It returns how many rows are left.
func (w *writer) settle(ctx context.Context) (int64, error) {
	staged := w.part.staged
	if staged > 0 {
		if _, err := w.conn.Exec(ctx, w.table.analyze(staging)); err != nil {
			return 0, err
		}
	}
	if w.part.again {
		tag, err := w.conn.Exec(ctx, w.table.dedupe())
		if err != nil {
			return 0, err
		}
		staged -= tag.RowsAffected()
	}
	return staged, nil
}

// begin takes the transaction's locks, in the same order everywhere: the table's
// advisory lock, then rows of the table, then the ledger's. One slice of a stream
// is merged at a time; its statements then see what the one before committed.
func (w *writer) begin(ctx context.Context, tx pgx.Tx) error {
	// Commits do wait for the disk, as the server is set up (see Open). A merge
	// sorts and hashes more than the usual query.
	if _, err := tx.Exec(ctx, "SET LOCAL synchronous_commit TO DEFAULT; SET LOCAL work_mem = '64MB'"); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1::bigint)", w.table.lock()); err != nil {
		return err
	}
	return w.sink.stillHeld(ctx, tx, w.attempt.Slice.Source)
}

func (w *writer) mergeRows(ctx context.Context, tx pgx.Tx, staged int64) (c ledger.Counts, err error) {
	if staged == 0 {
		return c, nil
	}
	run, startedAt := w.attempt.Run, w.attempt.StartedAt
	var empty bool
	if err := tx.QueryRow(ctx, fmt.Sprintf("SELECT NOT EXISTS (SELECT FROM %s)", w.table.name())).Scan(&empty); err != nil {
		return c, err
	}
	// Rows that an earlier checkpoint of this attempt counted are not counted
	// again: as inserted or updated if that was so, else as what they are now.
	var counted, rewritten int64
	if w.checkpoints && w.part.again {
		if _, err := tx.Exec(ctx, w.table.analyze(written)); err != nil {
			return c, err
		}
		if err := tx.QueryRow(ctx, w.table.recount(), run, startedAt).Scan(&counted, &rewritten); err != nil {
			return c, err
		}
	}
	if !empty {
		tag, err := tx.Exec(ctx, w.table.update(), run, startedAt)
		if err != nil {
			return c, err
		}
		c.Updated = tag.RowsAffected()
	}
	if c.Updated < staged {
		tag, err := tx.Exec(ctx, w.table.insert(empty), run, startedAt)
		if err != nil {
			return c, err
		}
		c.Inserted = tag.RowsAffected()
	}
	c.Unchanged = staged - c.Inserted - c.Updated - (counted - rewritten)
	c.Updated -= rewritten
	c.Rows = staged - counted
	return c, nil
}

// removeVanished deletes, or marks, the rows that the slice should hold and the
// attempt did not write.
//
// A resumed attempt does not know what was written before it. Nor is anything
// removed for a slice of a partition that no column tells, or where the key of a
// record that was set aside is unknown.
func (w *writer) removeVanished(ctx context.Context, tx pgx.Tx) (int64, error) {
	if w.attempt.Resumed || w.aside.Blind() || w.attempt.Slice.Partition != "" && w.table.partition == "" {
		return 0, nil
	}
	var (
		sql  string
		args []any
	)
	switch {
	case w.table.mode == connector.ModeSnapshot:
		sql, args = w.table.markVanished(), []any{w.attempt.Slice.Partition, w.attempt.StartedAt}
	case w.table.timeColumn.Name != "":
		if w.checkpoints {
			if _, err := tx.Exec(ctx, w.table.analyze(written)); err != nil {
				return 0, err
			}
		}
		since, until := w.bounds()
		sql, args = w.table.deleteVanished(w.checkpoints), []any{w.attempt.Slice.Partition, since, until}
	default:
		return 0, nil
	}
	// The planner may not have heard of the window's rows yet and expect one;
	// comparing it with each staged row would then be quadratic. To hash is right
	// however many there are.
	if _, err := tx.Exec(ctx, "SET LOCAL enable_nestloop = off"); err != nil {
		return 0, err
	}
	tag, err := tx.Exec(ctx, sql+w.notSpared(), args...)
	return tag.RowsAffected(), err
}

// bounds returns the slice's window as values of the time column. A date lies
// where its first instant lies, in the location of the window:
//
//	dates    ...|  1st  |  2nd  |  3rd  |...
//	window        [--------------)          from noon of the 1st to noon of the 2nd
//	bounds              [2nd    )3rd        holds the 2nd alone
func (w *writer) bounds() (since, until any) {
	window := w.attempt.Slice.Window
	if w.table.timeColumn.Type != connector.TypeDate {
		return window.Since, window.Until
	}
	return firstDate(window.Since), firstDate(window.Until)
}

// firstDate returns the first date that begins at t or later.
func firstDate(t time.Time) string {
	y, m, d := t.Date()
	if time.Date(y, m, d, 0, 0, 0, 0, t.Location()).Before(t) {
		d++
	}
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
}

// keepKeys moves the keys of the part that is being committed to where later
// parts of the attempt find them.
func (w *writer) keepKeys(ctx context.Context, tx pgx.Tx) error {
	if w.part.staged == 0 && w.checkpoints {
		return nil
	}
	if !w.checkpoints {
		if _, err := tx.Exec(ctx, w.table.createWritten()); err != nil {
			return err
		}
	}
	// Those that may have come before first, so that they are not compared with
	// this part's own.
	if w.part.again {
		if _, err := tx.Exec(ctx, w.table.remember(true)); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(ctx, w.table.remember(false)); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "TRUNCATE "+staging)
	return err
}
