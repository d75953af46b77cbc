package postgres

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/winchdata/winch/pkg/connector"
)

// A route is how rows reach the table. It is chosen by what the store knows about
// the slice and changed by what the rows turn out to be.
type route int

const (
	undecided route = iota
	// direct is COPY into the table itself, for rows that are new. It needs the
	// transaction that the ledger row is then written in.
	direct
	// asked is to ask the server which rows differ from what is at rest, and to
	// stage these. Nothing is written for the others.
	asked
)

// briskChunk is how long a full chunk may take to come for its slice to be copied
// directly. The transaction is open until the slice ends, and a slow vendor must
// not hold it for long: what is slow is staged, outside of any transaction.
const briskChunk = 4 * time.Second

// send brings a full chunk to the server.
func (w *writer) send(ctx context.Context, c *chunk) error {
	w.using.Lock()
	defer w.using.Unlock()
	if err := w.settleIn(ctx); err != nil {
		return err
	}
	fast := time.Since(c.since) <= w.sink.brisk*time.Duration(len(c.data))/time.Duration(c.limit)
	if w.tx == nil && w.route != asked && fast {
		if err := w.tryBegin(ctx); err != nil {
			return err
		}
	}
	if w.route == undecided {
		if err := w.choose(ctx); err != nil {
			return err
		}
		if w.tx != nil && w.tx.first {
			if err := w.undress(ctx); err != nil {
				return err
			}
		}
	}
	copied, err := w.tryDirect(ctx, c)
	if copied || err != nil {
		return err
	}
	if w.route == asked && w.tx != nil && w.part == (part{}) {
		// Nothing was written: the transaction is of no use.
		tx := w.tx
		w.tx = nil
		if err := tx.end(ctx, w.conn, false); err != nil {
			return err
		}
	}
	return w.place(ctx, c)
}

// choose finds out whether rows of the slice are at rest.
func (w *writer) choose(ctx context.Context) error {
	const query = `, COALESCE((SELECT rows = 0 OR inserted = rows AND ($6 OR state = 'partial') FROM winch.slices
WHERE source = $1 AND stream = $2 AND partition = $3 AND since = $4 AND until = $5 AND first_read_at IS NOT NULL), true),
NOT EXISTS (SELECT FROM winch.slices WHERE source = $1 AND stream = $2 AND first_read_at IS NOT NULL)`
	var empty, fresh, first bool
	args := append(sliceValues(w.attempt.Slice), w.table.mode == connector.ModeCursor)
	err := w.conn.QueryRow(ctx, "SELECT NOT EXISTS (SELECT FROM "+w.table.name()+")"+query, args...).Scan(&empty, &fresh, &first)
	if err != nil {
		return err
	}
	if w.route = asked; empty || fresh {
		w.route = direct
	}
	if w.tx != nil {
		w.tx.empty, w.tx.first = empty, empty && first
	}
	return nil
}

// place copies a chunk by the writer's route.
func (w *writer) place(ctx context.Context, c *chunk) error {
	if c.rows == 0 {
		return nil
	}
	copied, err := w.tryDirect(ctx, c)
	if copied || err != nil {
		return err
	}
	if w.route == asked && !c.repeat && (!w.long || w.ask.worthwhile()) {
		if err := w.keepDiffering(ctx, c); err != nil || c.rows == 0 {
			return err
		}
	}
	return w.stage(ctx, c)
}

// tryDirect copies a chunk into the table itself if that is its route. If the
// table does not take it there are rows at rest after all, and the route changes.
func (w *writer) tryDirect(ctx context.Context, c *chunk) (copied bool, err error) {
	if w.route != direct || w.tx == nil || c.repeat {
		return false, nil
	}
	if copied, err = w.copyDirect(ctx, c); !copied {
		w.route = asked
		if err == nil {
			err = w.dress(ctx)
		}
	}
	return copied, err
}

// copyDirect copies a chunk into the table itself. It reports false, and has
// changed nothing, if the table does not take the rows as they are: most often
// because one of the keys is there.
func (w *writer) copyDirect(ctx context.Context, c *chunk) (bool, error) {
	// As one query: between chunks the server has nothing to do, and each answer
	// that it waits for costs as much as thousands of rows.
	err := w.copy(ctx, c, "SAVEPOINT chunk; "+w.table.copyInto(w.table.name(), c.marked, false)+"; RELEASE SAVEPOINT chunk")
	var refused *pgconn.PgError
	switch {
	case err == nil:
		w.part.direct += c.rows
		return true, nil
	case errors.As(err, &refused) && refusesRows(refused):
		_, err = w.conn.Exec(ctx, "ROLLBACK TO SAVEPOINT chunk; RELEASE SAVEPOINT chunk")
		return false, err
	}
	return false, err
}

// refusesRows reports whether a COPY failed because of the rows or the table, such
// as a key that is there, a column of another type, or row-level security; to
// stage and merge the rows may then do, or fails with the better error.
func refusesRows(err *pgconn.PgError) bool {
	switch err.Code[:2] {
	case "0A", "22", "23", "42":
		return true
	}
	return false
}

// stage copies a chunk into the staging table.
func (w *writer) stage(ctx context.Context, c *chunk) error {
	if !w.temps.staging {
		if _, err := w.conn.Exec(ctx, w.table.createStaging(w.attempt.Run, w.attempt.StartedAt, w.long)); err != nil {
			return err
		}
		w.temps.staging = true
	}
	w.part.staged += c.rows
	w.part.again = w.part.again || c.repeat
	return w.copy(ctx, c, w.table.copyInto(staging, c.marked, c.repeat))
}

func (w *writer) copy(ctx context.Context, c *chunk, sql string) error {
	end := len(c.data)
	c.data = append(c.data, copyTrailer...)
	_, err := w.conn.Conn().PgConn().CopyFrom(ctx, bytes.NewReader(c.data), sql)
	c.data = c.data[:end]
	return err
}

// settleIn takes a connection for the rest of the attempt.
func (w *writer) settleIn(ctx context.Context) error {
	if w.long {
		return nil
	}
	return w.attempt.Await(ctx, func() error {
		if err := w.gate.unclaimed(ctx); err != nil {
			return err
		}
		select {
		case w.sink.settled <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		w.long = true
		return w.connect(ctx)
	})
}

func (w *writer) connect(ctx context.Context) (err error) {
	if w.conn == nil {
		w.conn, err = w.sink.writers.Acquire(ctx)
	}
	return err
}

// disconnect gives back the connection and all that hangs on it.
func (w *writer) disconnect() {
	w.using.Lock()
	defer w.using.Unlock()
	if w.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
		defer cancel()
		conn := w.conn
		w.conn = nil
		sql := ""
		if w.tx != nil {
			sql = "ROLLBACK;"
		}
		if w.temps != (temps{}) {
			sql += "DROP TABLE IF EXISTS " + staging + ", " + unchanged + ", " + spared
		}
		if sql != "" {
			if _, err := conn.Exec(ctx, sql); err != nil {
				closeConn(ctx, conn.Conn()) // the tables go with the session
			}
		}
		conn.Release()
	}
	if w.tx != nil {
		w.tx.leave()
		w.tx = nil
	}
	if w.long {
		<-w.sink.settled
		w.long = false
	}
	w.temps = temps{}
}
