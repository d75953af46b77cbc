package postgres

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/quarantine"
	"github.com/winchdata/winch/internal/record"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

var errClosed = errors.New("the writer is closed")

// writer lands the records of one slice. It gathers them in chunks; a chunk that
// is full is sent by its route while the next is filled (route.go). Checkpoint and
// Commit land what is left, in one transaction with the ledger (merge.go). A slice
// whose rows fit into half a chunk needs the server only then.
type writer struct {
	sink    *Sink
	attempt sink.Attempt
	table   table
	gate    *gate
	decoder *record.Decoder
	layout  layout
	ctx     context.Context // of Begin: governs what Record does
	cancel  context.CancelFunc

	row     record.Row
	mark    []byte // what the attempt's rows end with, unless it is the default
	omit    bool   // it is the default in the table that is first filled
	keyText []byte
	known   seen
	again   int64 // rows of keys that may have come before, in the whole attempt
	scope   scope
	pace    sink.Sampler
	aside   *quarantine.Set

	fresh   *chunk // of keys that come for the first time
	repeats *chunk // of others; nil before the first
	idle    *chunk // empty, to be filled while another is sent
	sending *chunk
	sent    chan error // the outcome of the sending under way; nil if there is none
	err     error      // what broke the writer: it then does nothing more

	// The sending goroutine owns what follows until its outcome was received.

	using sync.Mutex // while conn is in use
	conn  *pgxpool.Conn
	long  bool // conn is held beyond one transaction
	tx    *transaction
	route route
	ask   asking
	temps temps

	part        part
	checkpoints bool // earlier parts of the attempt are committed
	counts      ledger.Counts
}

// part is what came since the last checkpoint.
type part struct {
	staged    int64 // rows in the staging table
	settled   int64 // of them, those of which each key is there once
	again     bool  // some of them are of keys that may have come before
	direct    int64 // rows that were copied into the table itself
	unchanged int64 // rows that are at rest as they came
}

// temps says which temporary tables the connection has.
type temps struct{ staging, unchanged, spared bool }

// Begin starts writing a slice. ctx governs the writer until it is closed.
func (s *Sink) Begin(ctx context.Context, a sink.Attempt) (sink.Writer, error) {
	if err := s.makePieces(ctx, a); err != nil {
		return nil, err
	}
	if err := s.makeTimeIndex(ctx, a); err != nil {
		return nil, err
	}
	w, err := s.writer(ctx, a)
	if err != nil {
		return nil, err
	}
	if err := w.watch(ctx); err != nil {
		_ = w.Close() // which fails for no other reason
		return nil, fault(ctx, "write "+w.table.String(), err)
	}
	return w, nil
}

func (s *Sink) writer(ctx context.Context, a sink.Attempt) (*writer, error) {
	t := newTable(a.Slice.Source, a.Stream)
	op := "write " + t.String()
	decoder, err := record.NewDecoder(a.Stream)
	if err != nil {
		return nil, &sink.Error{Fault: sink.FaultSchema, Op: op, Err: err, Hint: "correct the stream's declaration"}
	}
	aside, err := quarantine.New(a.Stream, decoder)
	if err != nil {
		return nil, &sink.Error{Fault: sink.FaultSchema, Op: op, Err: err, Hint: "correct the stream's declaration"}
	}
	a.StartedAt = a.StartedAt.Truncate(time.Microsecond) // as it is stored
	w := &writer{
		sink: s, attempt: a, table: t, gate: s.gates.of(t.lock()), decoder: decoder, layout: newLayout(t.columns),
		mark: appendMark(nil, a.Run, a.StartedAt), scope: newScope(t, a.Slice), pace: a.NewSampler(), aside: aside,
		fresh: newChunk(&s.memory, s.chunk, false),
	}
	w.ctx, w.cancel = context.WithCancel(ctx)
	w.gate.open(1)
	return w, nil
}

func (w *writer) Record(raw []byte) error {
	if w.err != nil {
		return w.err
	}
	select {
	case err := <-w.sent:
		if err := w.received(err); err != nil {
			return err
		}
	default:
	}
	started := w.pace.Start()
	if err := w.decoder.Decode(raw, &w.row); err != nil {
		return err
	}
	w.keyText = w.decoder.AppendKey(w.keyText[:0], &w.row)
	c, again := w.fresh, int64(0)
	if w.known.add(w.keyText) {
		if w.repeats == nil {
			w.repeats = newChunk(&w.sink.memory, w.sink.chunk, true)
		}
		c, again = w.repeats, w.again+1
	}
	if c.rows == 0 {
		c.begin(!w.omit)
	}
	mark := w.mark
	if !c.marked {
		mark = nil
	}
	before := len(c.data)
	data, err := w.layout.appendRow(c.data, &w.row, mark, again)
	if err != nil {
		c.data = data[:before]
		return err
	}
	w.pace.End(started)
	c.data = data
	c.rows++
	if w.aside.Watching() {
		w.aside.Landed(w.keyText)
	}
	if again > 0 {
		w.again = again
	} else {
		w.scope.count(&w.row)
	}
	if len(data) < c.full {
		return nil
	}
	// To gather more is of use while the server is busy.
	if idle := w.sent == nil && c.full >= c.limit/2; !idle && c.grow() {
		return nil
	}
	return w.flush(w.ctx, c)
}

// flush starts to send a chunk, after the one before.
func (w *writer) flush(ctx context.Context, c *chunk) error {
	if err := w.wait(ctx); err != nil {
		return err
	}
	next := w.idle
	if next == nil {
		next = newChunk(c.memory, c.limit, c.repeat)
	}
	next.growTo(c.full)
	next.repeat = c.repeat
	if w.idle = nil; c.repeat {
		w.repeats = next
	} else {
		w.fresh = next
	}
	w.sending, w.sent = c, make(chan error, 1)
	go func(sent chan<- error) { // awaited by wait
		_, end := w.step(w.ctx, sink.Copying, "COPY")
		err := w.send(w.ctx, c)
		end(err)
		sent <- fault(w.ctx, "send rows to "+w.table.String(), err)
	}(w.sent)
	// The sending begins at once: else it waits until the scheduler has a thread for
	// it, which while all are busy takes milliseconds, and the server waits with it.
	runtime.Gosched()
	return nil
}

// wait returns when nothing is being sent, with what broke the writer if anything.
// If ctx ends before, the writer is broken and the rest left to Close.
func (w *writer) wait(ctx context.Context) error {
	if w.sent == nil {
		return w.err
	}
	select {
	case err := <-w.sent:
		return w.received(err)
	case <-ctx.Done():
		if w.err == nil {
			w.err = fault(ctx, "write "+w.attempt.Slice.String(), ctx.Err())
		}
		return w.err
	}
}

// received takes the outcome of a sending.
func (w *writer) received(err error) error {
	w.sent = nil
	if err != nil {
		w.disconnect() // others may wait for the table
		w.sending.drop(false)
		if w.err == nil {
			w.err = err
		}
		return w.err
	}
	w.omit = w.tx != nil && len(w.tx.bare.again) > 0
	w.sending.empty()
	if w.idle == nil {
		w.idle = w.sending
	} else {
		w.sending.drop(true)
	}
	w.sending = nil
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

// land commits what has come. A writer that failed to is broken.
func (w *writer) land(ctx context.Context, l landing) error {
	if err := w.wait(ctx); err != nil {
		return err
	}
	w.using.Lock()
	merging, end := w.step(ctx, sink.Merging, "merge")
	counts, err := w.merge(merging, l)
	end(err)
	if err == nil {
		_, end = w.step(ctx, sink.Committing, "COMMIT")
		err = w.commit(ctx)
		end(err)
	}
	w.using.Unlock()
	if err != nil {
		w.err = fault(ctx, "commit "+w.attempt.Slice.String(), err)
		w.disconnect() // others may wait for the table
		return w.err
	}
	w.counts, w.part, w.omit = counts, part{}, false
	w.emptyChunks()
	return nil
}

func (w *writer) emptyChunks() {
	w.fresh.empty()
	if w.repeats != nil {
		w.repeats.empty()
	}
}

func (w *writer) Close() error {
	if w.cancel == nil {
		return nil
	}
	// A server that does not answer must not keep us: give it some time, then
	// break the connection.
	giveUp := time.AfterFunc(endTimeout, w.cancel)
	_ = w.wait(context.Background()) // what broke the writer was told before
	giveUp.Stop()
	w.cancel()
	w.cancel = nil
	reusable := w.err == nil || errors.Is(w.err, errClosed)
	w.err = errClosed
	w.disconnect()
	for _, c := range []*chunk{w.fresh, w.repeats, w.idle, w.sending} {
		c.drop(reusable)
	}
	w.fresh, w.repeats, w.idle, w.sending = nil, nil, nil, nil
	w.gate.open(-1)
	return nil
}
