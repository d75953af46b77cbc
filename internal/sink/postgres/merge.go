package postgres

import (
	"context"
	"time"

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
	instead func(context.Context) error
}

// merge brings what has come into the table and the ledger row with it, in the
// transaction that commit ends, and returns the counts of the attempt so far.
func (w *writer) merge(ctx context.Context, l landing) (ledger.Counts, error) {
	if err := w.prepareMerge(ctx); err != nil {
		return w.counts, err
	}
	// The lease stays locked until the transaction ends (I3); one that is open
	// while the slice is read takes it only now.
	if err := w.sink.stillHeld(ctx, w.conn, w.attempt.Slice.Source); err != nil {
		return w.counts, err
	}
	// Written or read by this attempt outside of the gate since it began to:
	// what is known of the table may be out of date.
	if w.gate.commits.Load() != w.ask.commits {
		w.ask.disturbed = w.ask.disturbed || w.ask.began
	}
	if w.route == undecided {
		if err := w.choose(ctx); err != nil {
			return w.counts, err
		}
	}
	repeats := int64(0)
	if w.repeats != nil {
		repeats = w.repeats.rows
	}
	if err := w.placeRest(ctx); err != nil {
		return w.counts, err
	}
	if err := w.dress(ctx); err != nil {
		return w.counts, err
	}
	merged, err := w.mergeRows(ctx)
	if err != nil {
		return w.counts, err
	}
	counts := w.counts.Add(merged)
	var ids map[quarantine.Key]int64
	if l.instead != nil {
		err = l.instead(ctx)
	} else {
		counts, ids, err = w.enter(ctx, l, counts, repeats)
	}
	if err != nil {
		return counts, err
	}
	w.tx.quarantined = ids
	return counts, nil
}

// commit makes visible what a merge has done.
func (w *writer) commit(ctx context.Context) error {
	tx := w.tx
	w.gate.commits.Add(1)
	w.ask.began, w.ask.commits = true, w.gate.commits.Load()
	w.tx = nil
	if err := tx.end(ctx, w.conn, true); err != nil {
		return err
	}
	w.gate.leaveIndex(tx.bare.later)
	w.aside.Committed(tx.quarantined)
	w.checkpoints = true
	if !w.long {
		w.temps = temps{} // they went with the transaction
		w.conn.Release()
		w.conn = nil
	}
	return nil
}

// enter writes what a reading leaves beside its rows: what was set aside, what
// vanished, and the ledger row (I1).
func (w *writer) enter(ctx context.Context, l landing, counts ledger.Counts, repeats int64) (ledger.Counts, map[quarantine.Key]int64, error) {
	n, ids, err := w.setAside(ctx)
	if err != nil {
		return counts, nil, err
	}
	counts.Quarantined += n
	if l.state == ledger.Held {
		if counts.Deleted, err = w.removeVanished(ctx); err == nil {
			err = w.attempt.Brake.Hold(w.table.mode, counts)
		}
		if err == nil {
			err = w.replaceQuarantined(ctx)
		}
	} else {
		err = w.keepKeys(ctx, repeats)
	}
	if err != nil {
		return counts, nil, err
	}
	return counts, ids, w.record(ctx, l, counts)
}

// prepareMerge opens the transaction of a merge, if none is open. What needs no
// lock is done before.
func (w *writer) prepareMerge(ctx context.Context) error {
	aside, _ := w.aside.Pending()
	if len(w.ask.unchanged) > keptKeys || len(aside) > 0 { // whose keys are needed to the end
		if err := w.settleIn(ctx); err != nil {
			return err
		}
	}
	if w.tx != nil {
		return nil
	}
	if w.long && (w.part.staged > 0 || w.route == asked) {
		if err := w.placeRest(ctx); err != nil {
			return err
		}
		w.emptyChunks()
		if err := w.settle(ctx); err != nil {
			return err
		}
	}
	return w.begin(ctx)
}

// placeRest copies the chunks that are not full.
func (w *writer) placeRest(ctx context.Context) error {
	_, end := w.step(ctx, sink.Copying, "COPY")
	err := w.place(ctx, w.fresh)
	if err == nil && w.repeats != nil {
		err = w.place(ctx, w.repeats)
	}
	end(err)
	return err
}

// settle makes the staged rows ready: each key once (I2), and the planner
// informed.
func (w *writer) settle(ctx context.Context) error {
	if w.part.staged == w.part.settled {
		return nil
	}
	if _, err := w.conn.Exec(ctx, w.table.analyze(staging)); err != nil {
		return err
	}
	if w.part.again {
		tag, err := w.conn.Exec(ctx, w.table.dedupe())
		if err != nil {
			return err
		}
		w.part.staged -= tag.RowsAffected()
	}
	w.part.settled = w.part.staged
	return nil
}

// mergeRows merges the staged rows, and counts all of the part.
func (w *writer) mergeRows(ctx context.Context) (c ledger.Counts, err error) {
	if err := w.settle(ctx); err != nil {
		return c, err
	}
	c.Inserted, c.Unchanged = w.part.direct, w.part.unchanged
	c.Rows = c.Inserted + c.Unchanged
	staged := w.part.staged
	if staged == 0 {
		return c, nil
	}
	// Rows that the attempt counted before are not counted again: as inserted or
	// updated if that was so, else as what they are now.
	var counted, rewritten int64
	if w.part.again && (w.checkpoints || c.Rows > 0) {
		if err := w.spill(ctx); err != nil {
			return c, err
		}
		sql := w.table.recount(w.temps.unchanged)
		if err := w.conn.QueryRow(ctx, sql, w.attempt.Run, w.attempt.StartedAt).Scan(&counted, &rewritten); err != nil {
			return c, err
		}
	}
	empty := w.tx.empty && w.part.direct == 0
	if !w.tx.empty && w.part.direct == 0 {
		sql := "SELECT NOT EXISTS (SELECT FROM " + w.table.name() + ")"
		if err := w.conn.QueryRow(ctx, sql).Scan(&empty); err != nil {
			return c, err
		}
	}
	var updated, inserted int64
	if !empty {
		tag, err := w.conn.Exec(ctx, w.table.update())
		if err != nil {
			return c, err
		}
		updated = tag.RowsAffected()
	}
	if updated < staged {
		tag, err := w.conn.Exec(ctx, w.table.insert(empty))
		if err != nil {
			return c, err
		}
		inserted = tag.RowsAffected()
	}
	c.Rows += staged - counted
	c.Inserted += inserted
	c.Updated += updated - rewritten
	c.Unchanged += staged - inserted - updated - (counted - rewritten)
	return c, nil
}

// removeVanished deletes, or marks, the rows that the slice should hold and the
// attempt did not report.
//
// A resumed attempt does not know what was reported before it. Nor is anything
// removed for a slice of a partition that no column tells, or where the key of a
// record that was set aside is unknown.
func (w *writer) removeVanished(ctx context.Context) (int64, error) {
	t, slice := w.table, w.attempt.Slice
	if w.attempt.Resumed || w.aside.Blind() || slice.Partition != "" && t.partition == "" {
		return 0, nil
	}
	args := []any{w.attempt.Run, w.attempt.StartedAt, slice.Partition}
	switch {
	case t.mode == connector.ModeSnapshot:
	case t.timeColumn.Name != "":
		since, until := bounds(t, slice.Window)
		if t.timeColumn.Type == connector.TypeDate {
			args = append(args, since.Format(time.DateOnly), until.Format(time.DateOnly))
		} else {
			args = append(args, since, until)
		}
	default:
		return 0, nil
	}
	if w.tx.empty && !w.checkpoints {
		return 0, nil // there was nothing that could vanish
	}
	// To count is cheaper than to compare keys, and mostly enough.
	if w.scope.exact && w.again == 0 && !w.ask.disturbed {
		var rows int64
		if err := w.conn.QueryRow(ctx, t.countScope(), args...).Scan(&rows); err != nil {
			return 0, err
		}
		if rows == w.scope.rows {
			return 0, nil
		}
	}
	if err := w.spill(ctx); err != nil {
		return 0, err
	}
	if w.temps.unchanged {
		if _, err := w.conn.Exec(ctx, t.analyze(unchanged)); err != nil {
			return 0, err
		}
	}
	// The planner may not have heard of the window's rows yet and expect one;
	// comparing it with each staged row would then be quadratic. To hash is right
	// however many there are.
	if _, err := w.conn.Exec(ctx, "SET LOCAL enable_nestloop = off"); err != nil {
		return 0, err
	}
	tag, err := w.conn.Exec(ctx, t.removeVanished(w.temps.staging, w.temps.unchanged)+w.notSpared(), args...)
	return tag.RowsAffected(), err
}

// keepKeys keeps what later parts of the attempt have to know about this one: the
// keys that were reported and are not marked as written by the attempt. repeats
// are the rows of the last chunk of repeats.
func (w *writer) keepKeys(ctx context.Context, repeats int64) error {
	if !w.temps.staging {
		return nil
	}
	if !w.long {
		// All other staged rows were found to differ under this lock, so they
		// are marked.
		if repeats > 0 {
			w.ask.keep(w.table, w.repeats)
		}
		return nil
	}
	if w.part.staged > 0 {
		if err := w.createUnchanged(ctx); err != nil {
			return err
		}
		if _, err := w.conn.Exec(ctx, w.table.keepUnchanged(), w.attempt.Run, w.attempt.StartedAt); err != nil {
			return err
		}
	}
	_, err := w.conn.Exec(ctx, "TRUNCATE "+staging)
	return err
}
