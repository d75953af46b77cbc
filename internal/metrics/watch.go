package metrics

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/winchdata/winch/internal/tracing"
)

// A StreamState is what is held of a stream.
type StreamState struct {
	Source, Stream string
	// Newest is when the newest held window ended, or a stream without windows was
	// last read; zero if nothing is held.
	Newest time.Time
	// Gaps is how many wanted windows are not held; -1 if it is not known what is
	// wanted.
	Gaps int
}

// WatchStreams asks for the state of streams whenever the numbers are read.
func (m *Metrics) WatchStreams(read func(context.Context) ([]StreamState, error)) error {
	if m == nil {
		return nil
	}
	_, err := m.meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		states, err := read(ctx)
		for _, s := range states {
			if !s.Newest.IsZero() {
				o.ObserveFloat64(m.freshness, time.Since(s.Newest).Seconds(), of(s.Source, s.Stream))
			}
			if s.Gaps >= 0 {
				o.ObserveInt64(m.gaps, int64(s.Gaps), of(s.Source, s.Stream))
			}
		}
		return err
	}, m.freshness, m.gaps)
	return err
}

// WatchQueue asks for the jobs of the queue whenever the numbers are read.
func (m *Metrics) WatchQueue(read func(context.Context) (waiting, running int, err error)) error {
	if m == nil {
		return nil
	}
	_, err := m.meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		waiting, running, err := read(ctx)
		if err != nil {
			return err
		}
		o.ObserveInt64(m.queueDepth, int64(waiting), metric.WithAttributes(QueueState.String("waiting")))
		o.ObserveInt64(m.queueDepth, int64(running), metric.WithAttributes(QueueState.String("running")))
		return nil
	}, m.queueDepth)
	return err
}

// WatchConnector measures the memory of a connector's process, in bytes, until
// ended is called with the most that it ever had. Zero means that the system does
// not tell.
func (m *Metrics) WatchConnector(source, connectorName string, memory func() int64) (ended func(peak int64)) {
	if m == nil {
		return func(int64) {}
	}
	name := connectorOf{source, connectorName}
	m.restarts.Add(context.Background(), 0, metric.WithAttributeSet(name.attributes()))
	stop := m.connectors.add(name, memory)
	return func(peak int64) {
		stop()
		if peak > 0 {
			m.memoryPeak.Record(context.Background(), peak, metric.WithAttributeSet(name.attributes()))
		}
	}
}

// connectorOf names the connector of a source.
type connectorOf struct{ source, connector string }

func (c connectorOf) attributes() attribute.Set {
	return attribute.NewSet(tracing.Source.String(c.source), tracing.Connector.String(c.connector))
}

// running are the connectors' processes that run.
type running struct {
	mu        sync.Mutex
	next      int
	processes map[int]process
}

type process struct {
	connectorOf
	memory func() int64
}

func (r *running) add(name connectorOf, memory func() int64) (stop func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.processes == nil {
		r.processes = map[int]process{}
	}
	r.next++
	key := r.next
	r.processes[key] = process{name, memory}
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.processes, key)
	}
}

// memory sums what the processes of a connector have.
func (r *running) memory() map[connectorOf]int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	sums := map[connectorOf]int64{}
	for _, p := range r.processes {
		if bytes := p.memory(); bytes > 0 {
			sums[p.connectorOf] += bytes
		}
	}
	return sums
}
