package main

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/winchdata/winch/internal/config"
	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/metrics"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// How old the state of streams may be when somebody reads it: a few seconds unless
// a run of this agent has ended since, and so much that reading a large ledger takes
// at most a fiftieth of the time.
const (
	streamsAge   = 5 * time.Second
	streamsShare = 50
	// streamsTimeout bounds reading the ledger, and with it the wait of whoever
	// reads metrics.
	streamsTimeout = 10 * time.Second
)

// measure lets whoever reads metrics see the streams and the queue.
func (s *server) measure() error {
	m := s.app.observed.metrics
	if err := m.WatchStreams(func(ctx context.Context) ([]metrics.StreamState, error) {
		return s.streams.read(ctx, s.store, s.config.Load())
	}); err != nil {
		return err
	}
	return m.WatchQueue(func(ctx context.Context) (waiting, running int, err error) {
		ctx, cancel := context.WithTimeout(ctx, readyTimeout)
		defer cancel()
		depth, err := s.queue.Depth(ctx)
		return depth.Waiting, depth.Running, err
	})
}

// A streamWatch knows what is held of the streams that are wanted.
type streamWatch struct {
	mu      sync.Mutex
	offered map[string][]connector.Stream // by source, as its connector last said

	reading sync.Mutex // guards what follows; a pull does not wait for it
	states  []metrics.StreamState
	readAt  time.Time
	took    time.Duration

	changed atomic.Bool // by a run, since the ledger was read
}

// learn notes what streams a source offers. Until a pull has asked its connector,
// those count that a bundled one is described with.
func (w *streamWatch) learn(source string, offered []connector.Stream) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.offered == nil {
		w.offered = map[string][]connector.Stream{}
	}
	w.offered[source] = offered
}

// read returns the state of the streams of enabled sources, which may be a few
// seconds old.
func (w *streamWatch) read(ctx context.Context, store sink.Sink, cfg *config.Config) ([]metrics.StreamState, error) {
	w.reading.Lock()
	defer w.reading.Unlock()
	age := streamsShare * w.took
	if !w.changed.Load() {
		age = max(age, streamsAge)
	}
	if !w.readAt.IsZero() && time.Since(w.readAt) < age {
		return w.states, nil
	}
	ctx, cancel := context.WithTimeout(ctx, streamsTimeout)
	defer cancel()
	began := time.Now()
	w.changed.Store(false)
	entries, err := store.Entries(ctx, "")
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	offered := maps.Clone(w.offered)
	w.mu.Unlock()
	w.states = streamStates(cfg, offered, entries, began)
	w.readAt = time.Now()
	w.took = w.readAt.Sub(began)
	return w.states, nil
}

// streamStates says what is held of the streams that are wanted, and of those in
// the ledger where it is not known what is wanted.
func streamStates(cfg *config.Config, offered map[string][]connector.Stream, entries []ledger.Entry, now time.Time) []metrics.StreamState {
	held := map[string]map[string][]ledger.Entry{}
	for _, e := range entries {
		if held[e.Slice.Source] == nil {
			held[e.Slice.Source] = map[string][]ledger.Entry{}
		}
		held[e.Slice.Source][e.Slice.Stream] = append(held[e.Slice.Source][e.Slice.Stream], e)
	}
	var states []metrics.StreamState
	for _, src := range cfg.Sources {
		if !src.Enabled {
			continue
		}
		streams, known := offered[src.Name]
		if !known {
			def, _ := bundledConnector(src.Connector)
			streams = def.Streams
		}
		all, err := wants(src, streams)
		if err != nil || len(all) == 0 {
			for name, own := range held[src.Name] {
				states = append(states, metrics.StreamState{Source: src.Name, Stream: name, Newest: ledger.Newest(own), Gaps: -1})
			}
			continue
		}
		for _, want := range all {
			own := held[src.Name][want.Stream.Name]
			states = append(states, metrics.StreamState{
				Source: src.Name, Stream: want.Stream.Name, Newest: ledger.Newest(own), Gaps: ledger.Gaps(want, own, now),
			})
		}
	}
	return states
}
