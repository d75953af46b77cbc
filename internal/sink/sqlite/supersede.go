package sqlite

import (
	"context"

	"github.com/winchdata/winch/internal/ledger"
)

// supersede deletes the other rows of the ledger that a slice with a window makes
// obsolete when it is held. Each statement looks into a short piece of an index:
// rows that begin in the window, and rows that began before it and are not held.
func supersede(ctx context.Context, to execer, s ledger.Slice) error {
	if s.Window.IsZero() {
		return nil
	}
	const within = `DELETE FROM "winch.slices"
		WHERE source = ?1 AND stream = ?2 AND "partition" = ?3 AND since >= ?4 AND since < ?5
			AND (until <= ?5 OR state <> 'held') AND (since, until) <> (?4, ?5)`
	const before = `DELETE FROM "winch.slices"
		WHERE source = ?1 AND stream = ?2 AND "partition" = ?3 AND since > '' AND since < ?4
			AND until > ?4 AND state <> 'held'`
	args := sliceArgs(s)
	if _, err := to.ExecContext(ctx, within, args...); err != nil {
		return err
	}
	_, err := to.ExecContext(ctx, before, args[:4]...)
	return err
}
