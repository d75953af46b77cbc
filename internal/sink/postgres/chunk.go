package postgres

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// chunkSize is how much a writer gathers before it is sent; half as much while
	// the server has nothing to do. While one chunk is sent the next is filled, so
	// a writer that has much holds two. Half the size costs some hundredths more
	// processor time: who reads and who writes wait for each other more often.
	chunkSize = 8 << 20
	// firstChunk is what a chunk holds before it grows: enough for most slices of
	// a vendor that answers in small pages.
	firstChunk = 64 << 10
	// growth is by how much a chunk grows that is full.
	growth = 8
	// overshoot is what there is room for beyond the size of a chunk: its last row
	// takes it there. A row that is larger moves the chunk.
	overshoot = 64 << 10
	// chunkMemory is what the chunks of all writers may grow to together. A chunk
	// that may not grow is sent as it is, so nobody waits for memory.
	chunkMemory = 40 << 20
)

// memory is what is left for chunks to grow.
type memory struct{ left atomic.Int64 }

func (m *memory) take(n int) bool {
	if m.left.Add(-int64(n)) >= 0 {
		return true
	}
	m.left.Add(int64(n))
	return false
}

// buffers keeps the memory of chunks of full size for the next writer.
var buffers = sync.Pool{New: func() any { return new(emptyData(chunkSize)) }}

// emptyData is the memory of a chunk.
func emptyData(size int) []byte { return make([]byte, 0, size+min(size/8, overshoot)) }

// A chunk is rows on their way to the server, as the data of a binary COPY.
type chunk struct {
	data   []byte // the header and the rows; no trailer yet
	rows   int64
	repeat bool      // its rows are of keys that may have come before
	marked bool      // its rows end with the mark of the attempt
	since  time.Time // when its first row came
	full   int       // it is sent when it holds so much
	limit  int       // and grows to this
	memory *memory
	taken  int // of memory
}

func newChunk(m *memory, limit int, repeat bool) *chunk {
	full := min(firstChunk, limit)
	return &chunk{data: emptyData(full), full: full, limit: limit, memory: m, repeat: repeat}
}

func (c *chunk) begin(marked bool) {
	c.marked = marked
	c.data = append(c.data[:0], copyHeader...)
	c.since = time.Now()
}

// grow makes a full chunk larger and reports whether it could.
func (c *chunk) grow() bool { return c.growTo(min(growth*c.full, c.limit)) }

// growTo makes a chunk as large as size, if it is smaller and there is memory for it.
func (c *chunk) growTo(size int) bool {
	if size <= c.full || !c.memory.take(size-c.full) {
		return false
	}
	c.taken += size - c.full
	c.full = size
	if cap(c.data) < size {
		if size == chunkSize {
			c.data = append((*buffers.Get().(*[]byte))[:0], c.data...)
		} else {
			c.data = append(emptyData(size), c.data...)
		}
	}
	return true
}

func (c *chunk) empty() { c.data, c.rows = c.data[:0], 0 }

// drop gives the memory back. The driver may still read what is in it after a
// COPY that failed; it then is not for others.
func (c *chunk) drop(reusable bool) {
	if c == nil {
		return
	}
	c.memory.left.Add(int64(c.taken))
	if reusable && cap(c.data) >= chunkSize && cap(c.data) <= 2*chunkSize { // not what one huge record needed
		data := c.data[:0]
		buffers.Put(&data)
	}
	c.data, c.taken, c.rows = nil, 0, 0
}

// eachRow calls f with the fields of each row, length words included, in order.
func (c *chunk) eachRow(f func(row []byte)) {
	for rest := c.data[len(copyHeader):]; len(rest) > 0; {
		n := rowLength(rest)
		f(rest[:n])
		rest = rest[n:]
	}
}
