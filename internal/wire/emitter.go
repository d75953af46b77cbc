package wire

import (
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/winchdata/winch/pkg/connector"
)

// flushEvery is how long a record may wait in the connector for company.
const flushEvery = time.Second

// frameBytes is what a record costs in a message beside its own bytes: its
// length as a varint, which takes four bytes only for records that travel alone.
const frameBytes = 3

// An emitter sends what a pull produces, in batches. It copies each record once,
// into the buffer that is sent.
type emitter struct {
	rpc    grpc.ServerStream
	stream string
	usage  *connector.UsageRecorder

	stop chan struct{}
	done chan struct{} // closed when the timer's goroutine has ended

	mu    sync.Mutex // between the connector and the timer
	batch batch
	size  int             // of batch, in bytes
	told  connector.Usage // part of usage that has been sent
	err   error           // the first error; P3: nothing is sent after it
}

var _ connector.Emitter = (*emitter)(nil)

func newEmitter(rpc grpc.ServerStream, stream string, usage *connector.UsageRecorder) *emitter {
	e := &emitter{rpc: rpc, stream: stream, usage: usage, stop: make(chan struct{}), done: make(chan struct{})}
	go e.flushByTime()
	return e
}

func (e *emitter) flushByTime() {
	defer close(e.done)
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-e.stop:
			return
		case <-tick.C:
			e.mu.Lock()
			_ = e.flush() // kept in e.err
			e.mu.Unlock()
		}
	}
}

// Record takes one record.
func (e *emitter) Record(raw []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(raw) > maxRecord && e.err == nil {
		e.err = &connector.Error{
			Kind: connector.KindBadResponse, Op: e.stream, Err: fmt.Errorf("a record of %d bytes, at most %d are possible", len(raw), maxRecord),
			Hint: "ask the vendor for fewer fields, or leave out what makes the record so large before it is emitted",
		}
	}
	if e.size+len(raw)+frameBytes > maxBatch {
		_ = e.flush() // kept in e.err
	}
	if e.err != nil {
		return e.err
	}
	if e.batch.buffer == nil {
		e.batch.buffer = buffers.Get(max(bufferSize, len(raw)))
		e.batch.records = (*e.batch.buffer)[:0]
	}
	e.batch.records = append(e.batch.records, raw...)
	e.batch.lengths = append(e.batch.lengths, uint32(len(raw)))
	e.size += len(raw) + frameBytes
	return nil
}

// Checkpoint sends all records before it, and then itself.
func (e *emitter) Checkpoint(c connector.Cursor) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(c) > maxCursor && e.err == nil {
		e.err = &connector.Error{Op: e.stream, Err: fmt.Errorf("a cursor of %d bytes, at most %d are possible", len(c), maxCursor)}
	}
	if e.err != nil {
		return e.err
	}
	e.batch.checkpoint = append([]byte{}, c...) // P1; present also when empty
	return e.flush()
}

// end sends what is left and returns the error of the pull: the emitter's own if
// it had one, also when the connector did not pass it on (P3). Records that come
// after the last checkpoint of a pull that failed are sent all the same: the
// agent knows what they are worth.
func (e *emitter) end(pulled error) error {
	close(e.stop)
	<-e.done
	e.mu.Lock()
	defer e.mu.Unlock()
	_ = e.flush() // kept in e.err
	if pulled == nil {
		return e.err
	}
	return pulled
}

// flush sends the batch, if there is anything to tell.
func (e *emitter) flush() error {
	if e.err != nil {
		return e.err
	}
	total := e.usage.Total()
	e.batch.usage = total.Sub(e.told)
	if len(e.batch.lengths) == 0 && e.batch.checkpoint == nil && e.batch.usage == (connector.Usage{}) {
		return nil
	}
	if err := e.rpc.SendMsg(&e.batch); err != nil {
		e.err = err
		if ended := e.rpc.Context().Err(); ended != nil {
			e.err = ended // P4: the connector passes on an error that wraps it
		}
		return e.err
	}
	e.told = total
	e.batch.lengths, e.batch.checkpoint, e.size = e.batch.lengths[:0], nil, 0
	return nil
}
