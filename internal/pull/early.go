package pull

// earlyBytes is how much of a slice is kept in memory before a writer is begun.
// Most slices are smaller: while they wait for the vendor, they hold no connection
// of the store.
const earlyBytes = 1 << 20

// early keeps the first records of a slice.
type early struct {
	raw  []byte
	ends []int
}

// add keeps a copy of a record and reports whether it had room for it.
func (e *early) add(raw []byte) bool {
	if len(e.raw)+len(raw) > earlyBytes {
		return false
	}
	e.raw = append(e.raw, raw...)
	e.ends = append(e.ends, len(e.raw))
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
	start := 0
	for _, end := range e.early.ends {
		if err := e.land(e.early.raw[start:end:end]); err != nil {
			return err
		}
		start = end
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
