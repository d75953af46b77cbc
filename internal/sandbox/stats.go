package sandbox

import (
	"maps"
	"net/http"
	"sync"
)

// Stats counts since the start or the last reset.
type Stats struct {
	// Requests is by path and status; status 0 is a connection that was reset.
	Requests map[string]map[int]int64 `json:"requests"`
	// Tokens issued, by vendor, since the start.
	Tokens map[string]int64 `json:"tokens"`
	// Faults is how many requests each kind has struck.
	Faults map[FaultKind]int64 `json:"faults"`
	// Bytes is the length of all bodies, as far as they were written.
	Bytes int64 `json:"bytes"`
	// Peak is the largest number of requests that were served at the same time.
	Peak int `json:"peak"`
}

// Stats returns a copy of the counts.
func (s *Sandbox) Stats() Stats {
	stats := s.counts.stats()
	for _, api := range s.apis {
		stats.Tokens[api.Name()] = api.Tokens().Issued()
	}
	return stats
}

// ResetStats begins counting anew, apart from tokens.
func (s *Sandbox) ResetStats() { s.counts.reset() }

// maxPaths bounds the paths that are told apart; others count as "other".
const maxPaths = 1000

type counter struct {
	mu       sync.Mutex
	requests map[string]map[int]int64
	faults   map[FaultKind]int64
	bytes    int64
	now      int
	peak     int
}

func newCounter() *counter {
	c := &counter{}
	c.reset()
	return c
}

func (c *counter) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests, c.faults = map[string]map[int]int64{}, map[FaultKind]int64{}
	c.bytes, c.peak = 0, c.now
}

func (c *counter) stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Stats{
		Requests: map[string]map[int]int64{}, Tokens: map[string]int64{},
		Faults: maps.Clone(c.faults), Bytes: c.bytes, Peak: c.peak,
	}
	for path, statuses := range c.requests {
		s.Requests[path] = maps.Clone(statuses)
	}
	return s
}

// A counted response is counted when its status goes out, so that whoever has
// read an answer finds it in the counts.
type counted struct {
	http.ResponseWriter
	c    *counter
	path string
	sent bool
}

func (c *counter) begin(w http.ResponseWriter, path string) *counted {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now++
	c.peak = max(c.peak, c.now)
	return &counted{ResponseWriter: w, c: c, path: path}
}

func (w *counted) end() {
	w.send(0)
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	w.c.now--
}

// struck counts a fault; a connection that is to be reset has no status to come.
func (w *counted) struck(kind FaultKind) {
	if kind == FaultReset {
		w.send(0)
	}
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	w.c.faults[kind]++
}

func (w *counted) send(status int) {
	if w.sent {
		return
	}
	w.sent = true
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	path := w.path
	if w.c.requests[path] == nil && len(w.c.requests) >= maxPaths {
		path = "other"
	}
	if w.c.requests[path] == nil {
		w.c.requests[path] = map[int]int64{}
	}
	w.c.requests[path][status]++
}

func (w *counted) WriteHeader(status int) {
	w.send(status)
	w.ResponseWriter.WriteHeader(status)
}

func (w *counted) Write(b []byte) (int, error) {
	w.send(http.StatusOK)
	w.c.mu.Lock()
	w.c.bytes += int64(len(b))
	w.c.mu.Unlock()
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *counted) Unwrap() http.ResponseWriter { return w.ResponseWriter }
