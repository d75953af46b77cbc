package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/winchdata/winch/internal/quarantine"
)

// transaction is the one in which rows, ledger row, cursor and counts become
// visible (I1). It holds the gate and the server's lock on the table, in that
// order everywhere, then takes locks on rows of the table, then on the ledger's:
// one writer changes a table at a time, and sees what the one before committed.
type transaction struct {
	gate        *gate
	empty       bool                     // the table had no rows when the lock was taken
	first       bool                     // and no slice of the stream ever landed
	bare        bare                     // the table's indexes, while they are dropped
	quarantined map[quarantine.Key]int64 // ids of the records that it set aside
	quiet       func()                   // ends the signs of life; nil if there are none
}

// Commits do wait for the disk, as the server is set up (see Open). A merge sorts
// and hashes more than the usual query.
const beginQuery = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit TO DEFAULT; SET LOCAL work_mem = '64MB'; "

// begin opens the transaction as soon as no other writer changes the table. The
// gate comes before the connection: writers with little to say then wait without
// one.
func (w *writer) begin(ctx context.Context) error {
	return w.attempt.Await(ctx, func() error {
		if err := w.gate.enter(ctx); err != nil {
			return err
		}
		err := w.connect(ctx)
		if err == nil {
			_, err = w.conn.Exec(ctx, fmt.Sprintf(beginQuery+"SELECT pg_advisory_xact_lock(%d)", w.table.lock()))
		}
		if err != nil {
			w.gate.leave()
			return err
		}
		w.tx = &transaction{gate: w.gate}
		return nil
	})
}

// longQuery lets a transaction last as long as its slice. The setting is new in
// PostgreSQL 17.
const longQuery = "SELECT set_config(name, '0', true) FROM pg_settings WHERE name = 'transaction_timeout'"

// tryBegin opens the transaction if no other writer changes the table.
func (w *writer) tryBegin(ctx context.Context) error {
	if !w.gate.tryEnter() {
		return nil
	}
	w.tx = &transaction{gate: w.gate} // left with the connection if this fails
	if _, err := w.conn.Exec(ctx, beginQuery); err != nil {
		return err
	}
	var locked bool
	if err := w.conn.QueryRow(ctx, "SELECT pg_try_advisory_xact_lock($1::bigint)", w.table.lock()).Scan(&locked); err != nil {
		return err
	}
	if locked {
		if _, err := w.conn.Exec(ctx, longQuery); err != nil {
			return err
		}
		w.tx.quiet = w.keepAlive()
		return nil
	}
	err := w.tx.end(ctx, w.conn, false)
	w.tx = nil
	return err
}

// keepAlive gives the server a sign of life while the transaction waits for the
// vendor, until the returned function is called. The server ends the transaction
// of an agent that is silent, which would otherwise hold its locks (see patience).
func (w *writer) keepAlive() (quiet func()) {
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(patience / 4)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			if w.using.TryLock() {
				_, _ = w.conn.Exec(w.ctx, "SELECT") // the next statement tells what is wrong
				w.using.Unlock()
			}
		}
	}()
	return func() { close(stop); <-ended }
}

var errRolledBack = errors.New("the server rolled the transaction back")

// end commits or rolls back, and leaves the gate.
func (tx *transaction) end(ctx context.Context, conn *pgxpool.Conn, commit bool) error {
	defer tx.leave()
	if !commit {
		_, err := conn.Exec(ctx, "ROLLBACK")
		return err
	}
	tag, err := conn.Exec(ctx, "COMMIT")
	if err == nil && tag.String() != "COMMIT" {
		return errRolledBack
	}
	return err
}

// leave ends what the transaction holds in this process.
func (tx *transaction) leave() {
	if tx.quiet != nil {
		tx.quiet()
	}
	tx.gate.leave()
}
