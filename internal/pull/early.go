package pull

// earlyBytes is how much of a slice is kept in memory before a writer is begun.
// Most slices are smaller: while they wait for the vendor, they hold no connection
// of the store.
const earlyBytes = 1 << 20

// Memory for them is taken in blocks, each as large as all before it together, within
// these bounds: so no record is moved again.
const (
	leastBlock = 4 << 10
	mostBlock  = 64 << 10
)

// early keeps the first records of a slice.
type early struct {
	records [][]byte
	bytes   int    // of all records
	block   []byte // what is left of the last one
}

// add keeps a copy of a record and reports whether it had room for it.
func (e *early) add(raw []byte) bool {
	if e.bytes+len(raw) > earlyBytes {
		return false
	}
	if len(raw) > len(e.block) {
		e.block = make([]byte, max(len(raw), min(max(e.bytes, leastBlock), mostBlock)))
	}
	n := copy(e.block, raw)
	e.records = append(e.records, e.block[:n:n])
	e.block = e.block[n:]
	e.bytes += n
	return true
}

// begin begins the writer, unless there is one, and hands it what was kept.
func (e *emitter) begin() error {
	if e.writer != nil {
		return nil
	}
	e.watch.enter()
	writer, err := e.run.Sink.Begin(e.ctx, e.attempt)
	e.watch.leave()
	if err != nil {
		e.err = err
		return err
	}
	e.writer = writer
	for _, raw := range e.early.records {
		if err := e.land(raw); err != nil {
			return err
		}
	}
	e.early = early{}
	return nil
}

// land hands a record to the writer.
func (e *emitter) land(raw []byte) error {
	e.watch.step()
	// Where this takes its time, the clock runs.
	if err := e.writer.Record(raw); err != nil {
		e.err = e.quarantine(raw, err)
	}
	return e.err
}
