package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/sink"
)

// serverError is what the server said, on one line. Details are left out: they
// quote rows.
type serverError struct{ *pgconn.PgError }

func (e serverError) Error() string {
	message := e.Message
	if strings.ContainsAny(message, "\r\n") {
		message = strings.Join(strings.Fields(message), " ")
	}
	return message + " (SQLSTATE " + e.Code + ")"
}

func (e serverError) Unwrap() error { return e.PgError }

// fault turns an error of the driver into a *sink.Error. A cancelled context is
// nobody's fault and stays what it is.
func fault(ctx context.Context, op string, err error) error {
	var known *sink.Error
	var vanished *ledger.Vanished
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", op, ctx.Err())
	case errors.As(err, &known):
		return err
	case errors.As(err, &vanished):
		return fmt.Errorf("%s: %w", op, err) // the vendor's fault, not the store's
	}
	var server *pgconn.PgError
	if errors.As(err, &server) {
		class, hint := classify(server)
		return &sink.Error{Fault: class, Op: op, Err: serverError{server}, Hint: hint}
	}
	class, hint := sink.FaultOther, ""
	if lost(err) {
		class, hint = sink.FaultUnreachable, "see the server's log for why the connection ended"
		var dial *pgconn.ConnectError
		if errors.As(err, &dial) {
			hint = "see that PostgreSQL runs and can be reached at this address from here"
			err = cause(dial)
		}
	}
	return &sink.Error{Fault: class, Op: op, Err: err, Hint: hint}
}

// cause returns why a connection attempt failed, without the driver's repetition
// of the address: of several addresses the first's.
func cause(err error) error {
	for {
		switch e := err.(type) { //nolint:errorlint // it walks the tree itself
		case interface{ Unwrap() []error }:
			err = e.Unwrap()[0]
		case *net.OpError:
			return e.Err
		case interface{ Unwrap() error }:
			inner := e.Unwrap()
			if inner == nil {
				return err
			}
			err = inner
		default:
			return err
		}
	}
}

// lost reports whether there is no connection, or no longer.
func lost(err error) bool {
	var (
		dial    *pgconn.ConnectError
		network net.Error
	)
	return errors.As(err, &dial) || errors.As(err, &network) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) ||
		strings.Contains(err.Error(), "conn closed") // pgconn keeps that error to itself
}

// panicked reports whether the server ended all sessions after the error. It then
// starts again, or tries to.
func panicked(e *pgconn.PgError) bool { return e.SeverityUnlocalized == "PANIC" }

// classify reads an SQLSTATE, see appendix A of the PostgreSQL manual.
func classify(e *pgconn.PgError) (f sink.Fault, hint string) {
	switch {
	case panicked(e) && e.Code == "53100":
		return sink.FaultUnreachable, "free disk space on the database server, where its log (pg_wal) is, and start it if it does not run; nothing of this slice was kept"
	case panicked(e):
		return sink.FaultUnreachable, "the database server has crashed: see its log, and start it if it does not run"
	}
	switch e.Code {
	case "28P01", "28000":
		return sink.FaultDenied, "check user and password in sink.url, and the server's pg_hba.conf"
	case "3D000":
		return sink.FaultDenied, "create the database, or correct its name in sink.url"
	case "42501":
		return sink.FaultDenied, "let the database's owner grant it: GRANT CREATE, TEMPORARY ON DATABASE ... TO the user of sink.url, who must own the tables of its sources"
	case "53100":
		return sink.FaultFull, "free disk space on the database server; nothing of this slice was kept"
	case "53400":
		return sink.FaultFull, "raise the server's limit (temp_file_limit), or read smaller slices"
	case "25006":
		return sink.FaultReadOnly, "sink.url points at a standby or a read-only database: use the primary's address"
	case "53300":
		return sink.FaultUnreachable, "the server has no connection left: close some, or raise max_connections"
	case "23502", "23503", "23514", "23P01":
		return sink.FaultSchema, "a constraint that somebody added to the table refuses the rows: change or drop it"
	case "23505":
		if !strings.HasSuffix(e.ConstraintName, "_pkey") {
			return sink.FaultSchema, "if somebody added a unique index to the table, it refuses the rows: change or drop it"
		}
		return sink.FaultTransient, "somebody else inserted the same key meanwhile; the slice is read again"
	case "0A000", "2BP01", "428C9":
		return sink.FaultSchema, "the table cannot take the change: see whether something that somebody made depends on it"
	case "40001", "40P01", "55P03":
		return sink.FaultTransient, "something else works on the same tables; the slice is read again"
	case "XX000":
		// The server has no code for a limit on the size of files, which it meets
		// where it makes one longer (md.c).
		if e.Routine == "mdextend" || e.Routine == "mdzeroextend" {
			return sink.FaultFull, "free disk space on the database server, or raise its limit on the size of files; nothing of this slice was kept"
		}
		// Nor for its disk being full when a session begins (relcache.c).
		if e.Routine == "write_item" || e.Routine == "write_relcache_init_file" {
			return sink.FaultFull, "free disk space on the database server"
		}
	case "57014":
		return sink.FaultOther, "the server stopped the statement: raise statement_timeout for this user"
	case "25P03":
		return sink.FaultUnreachable, "this machine was too busy, or was suspended, in the middle of a transaction"
	case "57P01", "57P02", "57P03":
		return sink.FaultUnreachable, "the database server is restarting, or another agent has taken over from this one"
	case "3F000", "42P01", "42703":
		return sink.FaultSchema, "tables are missing: run winch migrate, and see that nobody changes the tables of sources meanwhile"
	}
	switch e.Code[:min(2, len(e.Code))] {
	case "08":
		return sink.FaultUnreachable, "see the server's log for why the connection ended"
	case "28":
		return sink.FaultDenied, "check user and password in sink.url"
	case "42":
		return sink.FaultSchema, "the table does not fit the declared stream: see whether somebody changed it"
	}
	return sink.FaultOther, "see the server's log"
}
