package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strings"
	"time"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/quarantine"
	"github.com/winchdata/winch/internal/record"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// stagedRows is how many rows one statement stages, at most: enough that the
// statement's own cost does not show. batchBytes bounds their text.
const (
	stagedRows = 32
	batchBytes = 1 << 20
	// maxParameters is SQLite's limit for one statement.
	maxParameters = 32766
)

// A writer stages the rows of one slice in a temporary table of its own
// connection, in the order they come, and merges them when they are committed.
// Until then it keeps nobody from writing.
type writer struct {
	sink    *Sink
	attempt sink.Attempt
	table   table
	sql     statements
	decoder *record.Decoder
	pace    sink.Sampler
	ctx     context.Context // of Begin: it bounds what Record does
	conn    *sql.Conn
	err     error // what ended the attempt; nil while it goes on

	row   record.Row
	key   []bool // by column: part of the primary key
	batch batch
	full  driver.Stmt // stages a full batch

	stagedSince time.Time // of the first batch since the last commit

	staged bool          // the staging table is not empty
	seen   bool          // the table of keys of earlier checkpoints is not empty
	counts ledger.Counts // of the checkpoints

	aside   *quarantine.Set
	keyText []byte
}

// errClosed is what becomes of a writer after Commit or Close.
var errClosed = errors.New("the writer is closed")

// Begin implements sink.Sink.
func (s *Sink) Begin(ctx context.Context, a sink.Attempt) (sink.Writer, error) {
	w, err := s.stage(ctx, a)
	if err != nil {
		return nil, err
	}
	if err := w.watch(ctx); err != nil {
		return nil, fault(ctx, w.op("write"), errors.Join(err, w.Close()))
	}
	return w, nil
}

// stage makes a writer with its temporary tables.
func (s *Sink) stage(ctx context.Context, a sink.Attempt) (*writer, error) {
	op := "write " + tableName(a.Slice.Source, a.Slice.Stream)
	decoder, err := record.NewDecoder(a.Stream)
	if err != nil {
		return nil, &sink.Error{Fault: sink.FaultSchema, Op: op, Err: err, Hint: "correct the connector's declaration"}
	}
	aside, err := quarantine.New(a.Stream, decoder)
	if err != nil {
		return nil, &sink.Error{Fault: sink.FaultSchema, Op: op, Err: err, Hint: "correct the connector's declaration"}
	}
	t := newTable(a.Slice.Source, a.Stream)
	w := &writer{
		sink: s, attempt: a, table: t, sql: newStatements(t), decoder: decoder, pace: a.NewSampler(), ctx: ctx, aside: aside,
		key: make([]bool, len(decoder.Columns())),
	}
	for _, i := range decoder.KeyColumns() {
		w.key[i] = true
	}
	w.batch = newBatch(len(t.columns) + 2)
	if w.conn, err = s.writers.Conn(ctx); err != nil {
		return nil, fault(ctx, op, err)
	}
	for _, query := range []string{w.sql.createStage, w.sql.createSeen, w.sql.createSpared} {
		if err := w.exec(ctx, query); err != nil {
			return nil, fault(ctx, op, errors.Join(err, discard(w.conn)))
		}
	}
	return w, nil
}

func (w *writer) op(verb string) string { return verb + " " + w.table.name }

// end makes err the end of the attempt.
func (w *writer) end(ctx context.Context, verb string, err error) error {
	w.err = fault(ctx, w.op(verb), err)
	return w.err
}

// Record implements sink.Writer.
func (w *writer) Record(raw []byte) error {
	if w.err != nil {
		return w.err
	}
	started := w.pace.Start()
	if err := w.decoder.Decode(raw, &w.row); err != nil {
		return err
	}
	w.landed()
	b := &w.batch
	for i, c := range w.table.columns {
		b.add(c, &w.row.Values[i], w.key[i])
	}
	b.blob(w.row.Hash[:])
	if w.row.Extra == nil {
		b.null()
	} else {
		b.text(append(b.buf, w.row.Extra...))
	}
	w.pace.End(started)
	if b.rows++; b.rows == b.capacity || len(b.buf) >= batchBytes {
		return w.flush()
	}
	return nil
}

// flush stages the batch.
func (w *writer) flush() error {
	if w.batch.rows == 0 {
		return nil
	}
	if err := w.ctx.Err(); err != nil {
		return w.end(w.ctx, "stage rows of", err)
	}
	if w.stagedSince.IsZero() {
		w.stagedSince = time.Now()
	}
	w.attempt.Clock.Start(sink.Copying)
	defer w.attempt.Clock.Stop(sink.Copying)
	args := w.batch.take()
	err := w.conn.Raw(func(conn any) error {
		// The context is looked at once a batch: the driver watches one with a
		// goroutine of its own for each statement.
		ctx := context.WithoutCancel(w.ctx)
		stmt, err := w.staging(ctx, conn.(driver.ConnPrepareContext), len(args))
		if err != nil {
			return err
		}
		_, err = stmt.(driver.StmtExecContext).ExecContext(ctx, args)
		if stmt != w.full {
			err = errors.Join(err, stmt.Close())
		}
		return err
	})
	w.batch.reset()
	if err != nil {
		return w.end(w.ctx, "stage rows of", err)
	}
	w.staged = true
	return nil
}

// staging returns the statement that stages so many values. That of a full batch
// is kept.
func (w *writer) staging(ctx context.Context, conn driver.ConnPrepareContext, values int) (driver.Stmt, error) {
	rows := values / w.batch.width
	if rows == w.batch.capacity && w.full != nil {
		return w.full, nil
	}
	one := "(" + strings.TrimSuffix(strings.Repeat("?,", w.batch.width), ",") + ")"
	stmt, err := conn.PrepareContext(ctx, w.sql.stage+strings.TrimSuffix(strings.Repeat(one+",", rows), ","))
	if err == nil && rows == w.batch.capacity {
		w.full = stmt
	}
	return stmt, err
}

// Close implements sink.Writer.
func (w *writer) Close() error {
	if w.conn == nil {
		return nil
	}
	if w.err == nil {
		w.err = errClosed
	}
	var err error
	if w.full != nil {
		if rawErr := w.conn.Raw(func(any) error { return w.full.Close() }); !errors.Is(rawErr, driver.ErrBadConn) {
			err = rawErr
		}
	}
	err = errors.Join(err, discard(w.conn))
	w.conn = nil
	return fault(context.WithoutCancel(w.ctx), w.op("close writer of"), err)
}

// A batch is the rows of one statement. All its text is one string.
type batch struct {
	width, capacity int
	rows            int
	args            []driver.NamedValue
	n               int // of args in use
	buf             []byte
	texts           []span // args that are buf[start:end]
}

type span struct{ arg, start, end int }

func newBatch(width int) batch {
	capacity := max(1, min(stagedRows, maxParameters/width))
	args := make([]driver.NamedValue, width*capacity)
	for i := range args {
		args[i].Ordinal = i + 1
	}
	return batch{width: width, capacity: capacity, args: args}
}

// add adds a column's value as it stands in the file.
func (b *batch) add(c connector.Column, v *record.Value, inKey bool) {
	switch {
	case v.Null:
		b.null()
	case c.Type == connector.TypeText, c.Type == connector.TypeJSON:
		b.text(append(b.buf, v.Bytes...))
	case c.Type == connector.TypeNumeric && inKey:
		b.text(appendKeyNumeric(b.buf, v.Bytes))
	case c.Type == connector.TypeNumeric:
		b.text(append(b.buf, v.Bytes...))
	case c.Type == connector.TypeDouble:
		b.value(v.Float)
	case c.Type == connector.TypeDate:
		b.text(appendDate(b.buf, v.Int))
	case c.Type == connector.TypeTimestamp:
		b.text(appendTimestamp(b.buf, v.Int))
	default:
		b.value(v.Int)
	}
}

func (b *batch) null()       { b.value(nil) }
func (b *batch) value(v any) { b.args[b.n].Value = v; b.n++ }

// blob adds bytes that nobody may change before the batch is taken, so it copies.
func (b *batch) blob(v []byte) { b.value(append([]byte(nil), v...)) }

// text adds what was appended to buf.
func (b *batch) text(buf []byte) {
	b.texts = append(b.texts, span{b.n, len(b.buf), len(buf)})
	b.buf = buf
	b.n++
}

// take returns the arguments of the rows.
func (b *batch) take() []driver.NamedValue {
	all := string(b.buf)
	for _, s := range b.texts {
		b.args[s.arg].Value = all[s.start:s.end]
	}
	return b.args[:b.n]
}

func (b *batch) reset() {
	b.rows, b.n, b.texts = 0, 0, b.texts[:0]
	if cap(b.buf) > 2*batchBytes {
		b.buf = nil // one huge record should not be remembered
	}
	b.buf = b.buf[:0]
}

// Checkpoint implements sink.Writer.
func (w *writer) Checkpoint(ctx context.Context, c connector.Cursor, usage connector.Usage) error {
	if w.err != nil {
		return w.err
	}
	if w.attempt.Stream.Mode == connector.ModeSnapshot {
		return w.end(ctx, "checkpoint", errors.New("a snapshot stream has no checkpoints"))
	}
	counts, err := w.merge(ctx, entry{state: ledger.Partial, cursor: c, usage: usage})
	if err != nil {
		return w.end(ctx, "commit", err)
	}
	w.counts = counts
	return nil
}

// Commit implements sink.Writer.
func (w *writer) Commit(ctx context.Context, usage connector.Usage) (ledger.Counts, error) {
	if w.err != nil {
		return ledger.Counts{}, w.err
	}
	e := entry{state: ledger.Held, usage: usage, keepCursor: w.attempt.Stream.Mode == connector.ModeCursor}
	counts, err := w.merge(ctx, e)
	if err != nil {
		return ledger.Counts{}, w.end(ctx, "commit", err)
	}
	w.err = errClosed
	w.sink.wal.look(ctx, w.sink.path)
	return counts, nil
}

// rowsAffected is the number of rows a statement wrote.
func rowsAffected(r sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}
