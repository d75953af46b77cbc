// Package sqlite is the embedded sink: one SQLite file, no server, no C.
//
// A stream's table is named source.stream, with the dot, and the agent's own
// tables are winch.slices, winch.runs and winch.reads; SQL quotes such names:
//
//	SELECT * FROM "shop_se.customers"
//
// Anybody may read the file at any time, also while it is written: readers see
// whole slices (I5). One agent at a time pulls into it.
//
// What SQLite has no type for is text that people can read and that sorts: a
// numeric as its exact literal, a date as 2006-01-02, a timestamptz in UTC as
// 2006-01-02T15:04:05.000000Z, json as JSON text. A boolean is 0 or 1. The declared
// type of a column says which it is, see columnTypes.
package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	_ "modernc.org/sqlite" // registers the driver

	"github.com/winchdata/winch/internal/sink"
)

// Options of a sink; the zero value is what most want.
type Options struct {
	// Patience is how long to wait while another process writes the file; 0 means
	// 30 s.
	Patience time.Duration
	// Logger is told when a reader lets the write-ahead log grow; nil: nobody is.
	Logger *slog.Logger
	// LongLog is from how many bytes on; 0 means 1 GiB.
	LongLog int64
}

const defaultPatience = 30 * time.Second

// A Sink is an open SQLite file.
type Sink struct {
	path    string // absolute
	readers *sql.DB
	writers *sql.DB
	// write holds one token: SQLite has one writer at a time, and waiting here is
	// fair and ends with the context.
	write chan struct{}
	locks locks
	wal   walWatch
}

var _ sink.Sink = (*Sink)(nil)

// Open opens the file at a path and creates it if it is not there; its directory
// must be. Errors are of type *sink.Error.
func Open(ctx context.Context, path string, o Options) (*Sink, error) {
	op := "open " + path
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, fault(ctx, op, err)
	}
	if _, err := os.Stat(filepath.Dir(absolute)); errors.Is(err, fs.ErrNotExist) {
		return nil, &sink.Error{
			Fault: sink.FaultDenied, Op: op, Err: errors.New("its directory does not exist"),
			Hint: "create it: mkdir -p " + filepath.Dir(path),
		}
	}
	s := &Sink{path: absolute, write: make(chan struct{}, 1), locks: locks{path: absolute + ".lock", held: map[string]*hold{}}}
	s.wal.logger, s.wal.long = o.Logger, cmp.Or(o.LongLog, longLog)
	patience := o.Patience
	if patience == 0 {
		patience = defaultPatience
	}
	wait := "busy_timeout(" + strconv.FormatInt(patience.Milliseconds(), 10) + ")"
	// A kill loses nothing with synchronous NORMAL; a power cut may lose the last
	// commits, but always rows and ledger together, so they are read again.
	s.writers, err = sql.Open("sqlite", dsn(absolute, "immediate", wait,
		"synchronous(normal)", "foreign_keys(1)", "cache_size(-16384)", "journal_size_limit(67108864)"))
	if err != nil {
		return nil, fault(ctx, op, err)
	}
	s.writers.SetMaxIdleConns(1)
	s.readers, err = sql.Open("sqlite", dsn(absolute, "deferred", wait, "query_only(1)"))
	if err != nil {
		return nil, fault(ctx, op, errors.Join(err, s.writers.Close()))
	}
	if err := s.examine(ctx); err != nil {
		return nil, fault(ctx, op, errors.Join(err, s.Close()))
	}
	return s, nil
}

// examine sees that the file is a database, and has it write ahead to a log, which
// is what lets readers and the writer alone.
func (s *Sink) examine(ctx context.Context) error {
	var mode string
	if err := s.writers.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode); err != nil {
		return err
	}
	if mode == "wal" {
		return nil
	}
	if err := s.writers.QueryRowContext(ctx, "PRAGMA journal_mode = wal").Scan(&mode); err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("journal mode is %s, want wal: the file system lacks shared memory", mode)
	}
	return nil
}

// dsn is the driver's name for a file with the settings of its connections.
func dsn(path, txlock string, pragmas ...string) string {
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // file:/C:/...
	}
	query := url.Values{"_txlock": {txlock}, "_pragma": pragmas, "_dqs": {"0"}, "_error_rc": {"1"}}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + query.Encode()
}

// Location returns the path of the file.
func (s *Sink) Location() string { return s.path }

// Close lets go of all sources and ends all connections. Writers must be closed
// before.
func (s *Sink) Close() error {
	s.locks.releaseAll()
	return errors.Join(s.readers.Close(), s.writers.Close())
}

// turn waits for this sink's other writers.
func (s *Sink) turn(ctx context.Context) (done func(), err error) {
	select {
	case s.write <- struct{}{}:
		return sync.OnceFunc(func() { <-s.write }), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// update runs a short transaction that writes.
func (s *Sink) update(ctx context.Context, op string, do func(*sql.Tx) error) error {
	done, err := s.turn(ctx)
	if err != nil {
		return fault(ctx, op, err)
	}
	defer done()
	tx, err := s.writers.BeginTx(ctx, nil)
	if err != nil {
		return fault(ctx, op, err)
	}
	defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to roll back
	if err := do(tx); err != nil {
		return fault(ctx, op, err)
	}
	return fault(ctx, op, tx.Commit())
}

// discard closes a connection for good: with it go its temporary tables and
// whatever transaction it is in.
func discard(conn *sql.Conn) error {
	if err := conn.Raw(func(any) error { return driver.ErrBadConn }); err != nil && !errors.Is(err, driver.ErrBadConn) && !errors.Is(err, sql.ErrConnDone) {
		return err
	}
	if err := conn.Close(); err != nil && !errors.Is(err, sql.ErrConnDone) {
		return err
	}
	return nil
}

// quote returns a name as SQL writes it.
func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// tableName is what a stream's table is called.
func tableName(source, stream string) string { return source + "." + stream }
