package postgres

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/zeebo/xxh3"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/quarantine"
	"github.com/winchdata/winch/internal/record"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// chunkSize is how much a writer gathers before it is copied. While one chunk is
// copied the next is filled, so a writer holds two.
const chunkSize = 4 << 20

// chunks keeps the memory of chunks for the next writer.
var chunks = sync.Pool{New: func() any { return new(make([]byte, 0, chunkSize+chunkSize/8)) }}

var errClosed = errors.New("the writer is closed")

// writer stages the records of one slice in a temporary table of its connection.
// Each chunk is a COPY and a transaction of its own, so that no transaction is
// open while the vendor is slow; Checkpoint and Commit merge what is staged.
type writer struct {
	sink    *Sink
	attempt sink.Attempt
	table   table
	decoder *record.Decoder
	pace    sink.Sampler
	conn    *pgxpool.Conn
	ctx     context.Context // of Begin: governs what Record does
	cancel  context.CancelFunc

	row     record.Row
	keyText []byte
	known   seen
	again   int64 // rows of keys that may have come before, in the whole attempt

	filling *[]byte
	copying *[]byte
	copied  chan error // the outcome of the COPY under way; nil if there is none
	err     error      // what broke the writer: it then does nothing more

	part        part
	checkpoints bool // keys of earlier parts are in the table written
	counts      ledger.Counts

	aside   *quarantine.Set
	sparing bool // the table spared is there
}

// part is what was staged since the last checkpoint.
type part struct {
	staged int64
	again  bool // holds rows of keys that may have come before
}

// Begin starts writing a slice. ctx governs the writer until it is closed.
func (s *Sink) Begin(ctx context.Context, a sink.Attempt) (sink.Writer, error) {
	w, err := s.stage(ctx, a)
	if err != nil {
		return nil, err
	}
	if err := w.watch(ctx); err != nil {
		_ = w.Close() // which fails for no other reason
		return nil, fault(ctx, "stage "+w.table.String(), err)
	}
	return w, nil
}

// stage makes a writer with its staging table.
func (s *Sink) stage(ctx context.Context, a sink.Attempt) (*writer, error) {
	t := newTable(a.Slice.Source, a.Stream)
	op := "stage " + t.String()
	decoder, err := record.NewDecoder(a.Stream)
	if err != nil {
		return nil, &sink.Error{Fault: sink.FaultSchema, Op: op, Err: err, Hint: "correct the stream's declaration"}
	}
	aside, err := quarantine.New(a.Stream, decoder)
	if err != nil {
		return nil, &sink.Error{Fault: sink.FaultSchema, Op: op, Err: err, Hint: "correct the stream's declaration"}
	}
	conn, err := s.writers.Acquire(ctx)
	if err != nil {
		return nil, fault(ctx, op, err)
	}
	if _, err := conn.Exec(ctx, t.createStaging()); err != nil {
		conn.Release()
		return nil, fault(ctx, op, err)
	}
	a.StartedAt = a.StartedAt.Truncate(time.Microsecond) // as it is stored
	w := &writer{
		sink: s, attempt: a, table: t, decoder: decoder, pace: a.NewSampler(), conn: conn, aside: aside,
		filling: chunks.Get().(*[]byte), copying: chunks.Get().(*[]byte),
	}
	w.ctx, w.cancel = context.WithCancel(ctx)
	return w, nil
}

func (w *writer) Record(raw []byte) error {
	if w.err != nil {
		return w.err
	}
	select {
	case err := <-w.copied:
		w.copied = nil
		if err != nil {
			w.err = err
			return err
		}
	default:
	}
	started := w.pace.Start()
	if err := w.decoder.Decode(raw, &w.row); err != nil {
		return err
	}
	w.keyText = w.decoder.AppendKey(w.keyText[:0], &w.row)
	again := int64(0)
	if w.known.add(xxh3.Hash(w.keyText)) {
		again = w.again + 1
	}
	chunk := *w.filling
	if len(chunk) == 0 {
		chunk = append(chunk, copyHeader...)
	}
	row, err := appendRow(chunk, w.table.columns, &w.row, again)
	if err != nil {
		*w.filling = row[:len(chunk)]
		return err
	}
	*w.filling = row
	w.pace.End(started)
	w.part.staged++
	if w.aside.Watching() {
		w.aside.Landed(w.keyText)
	}
	if again > 0 {
		w.again, w.part.again = again, true
	}
	if len(row) >= chunkSize {
		return w.flush(w.ctx)
	}
	return nil
}

// flush starts to copy the chunk that was filled, after the one before.
func (w *writer) flush(ctx context.Context) error {
	if err := w.wait(ctx); err != nil {
		return err
	}
	if len(*w.filling) == 0 {
		return nil
	}
	w.filling, w.copying = w.copying, w.filling
	w.copied = make(chan error, 1)
	go func(chunk *[]byte, copied chan<- error) { // awaited by wait
		*chunk = append(*chunk, copyTrailer...)
		_, end := w.step(w.ctx, sink.Copying, "COPY")
		_, err := w.conn.Conn().PgConn().CopyFrom(w.ctx, bytes.NewReader(*chunk), w.table.copyIn())
		if *chunk = (*chunk)[:0]; err != nil {
			*chunk = nil // the driver may still read it for a moment
		}
		end(err)
		copied <- fault(w.ctx, "copy into the staging table of "+w.table.String(), err)
	}(w.copying, w.copied)
	return nil
}

// wait returns when no COPY is under way, with what broke the writer if anything.
// If ctx ends before, the writer is broken and the COPY left to Close.
func (w *writer) wait(ctx context.Context) error {
	if w.copied == nil {
		return w.err
	}
	var err error
	select {
	case err = <-w.copied:
		w.copied = nil
	case <-ctx.Done():
		err = fault(ctx, "write "+w.attempt.Slice.String(), ctx.Err())
	}
	if w.err == nil {
		w.err = err
	}
	return w.err
}

func (w *writer) Checkpoint(ctx context.Context, c connector.Cursor, usage connector.Usage) error {
	if w.attempt.Stream.Mode == connector.ModeSnapshot {
		return &sink.Error{
			Fault: sink.FaultOther, Op: "checkpoint " + w.table.String(), Err: errors.New("a snapshot stream has no checkpoints"),
			Hint: "this is a defect of the connector: tell its author",
		}
	}
	return w.land(ctx, landing{state: ledger.Partial, cursor: c, usage: usage})
}

func (w *writer) Commit(ctx context.Context, usage connector.Usage) (ledger.Counts, error) {
	if err := w.land(ctx, landing{state: ledger.Held, usage: usage}); err != nil {
		return ledger.Counts{}, err
	}
	w.err = errClosed
	return w.counts, nil
}

// land merges what is staged. A writer that failed to is broken.
func (w *writer) land(ctx context.Context, l landing) error {
	if err := w.flush(ctx); err != nil {
		return err
	}
	if err := w.wait(ctx); err != nil {
		return err
	}
	counts, err := w.merge(ctx, l)
	if err != nil {
		w.err = fault(ctx, "commit "+w.attempt.Slice.String(), err)
		return w.err
	}
	w.counts, w.part = counts, part{}
	return nil
}

func (w *writer) Close() error {
	if w.conn == nil {
		return nil
	}
	// A server that does not answer must not keep us: give the COPY some time,
	// then break the connection.
	giveUp := time.AfterFunc(endTimeout, w.cancel)
	_ = w.wait(context.Background()) // what broke the writer was told before
	giveUp.Stop()
	w.cancel()
	w.err = errClosed
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	conn := w.conn
	w.conn = nil
	if _, err := conn.Exec(ctx, "DROP TABLE IF EXISTS "+staging+", "+written+", "+spared); err != nil {
		closeConn(ctx, conn.Conn()) // the tables go with the session
	}
	conn.Release()
	for _, chunk := range []*[]byte{w.filling, w.copying} {
		if c := cap(*chunk); c > 0 && c <= 2*chunkSize { // not what one huge record needed
			*chunk = (*chunk)[:0]
			chunks.Put(chunk)
		}
	}
	return nil
}
