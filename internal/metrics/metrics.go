// Package metrics names what Winch counts and measures. It uses the OpenTelemetry
// API alone: who reads the numbers is decided elsewhere.
//
// What a number is told apart by is bounded by the configuration: sources,
// streams, and words that are listed here. Partitions, windows and texts never are
// attributes.
package metrics

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/internal/tracing"
	"github.com/winchdata/winch/pkg/connector"
)

// The attributes that only metrics have; the others are those of spans.
const (
	RowKind    = attribute.Key("winch.row.kind")
	Status     = attribute.Key("winch.status_class")
	WaitKind   = attribute.Key("winch.wait.kind")
	Stage      = attribute.Key("winch.sink.stage")
	QueueState = attribute.Key("winch.queue.state")
	Decision   = attribute.Key("winch.tick.decision")
	Alert      = attribute.Key("winch.alert")
)

// Bounds of histograms, in seconds: a stage of a small slice takes milliseconds, a
// run that catches up half a day.
var (
	shortTimes = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}
	longTimes  = []float64{.5, 1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 43200}
)

// Metrics are the instruments. A nil Metrics measures nothing.
type Metrics struct {
	meter metric.Meter

	rows        metric.Int64Counter
	slices      metric.Int64Counter
	requests    metric.Int64Counter
	retries     metric.Int64Counter
	bytes       metric.Int64Counter
	waited      metric.Float64Counter
	tokens      metric.Int64Counter
	renewals    metric.Int64Counter
	sinkTime    metric.Float64Histogram
	runTime     metric.Float64Histogram
	lateness    metric.Float64Histogram
	restarts    metric.Int64Counter
	alerts      metric.Int64Counter
	memoryPeak  metric.Int64Gauge
	connectors  running
	freshness   metric.Float64ObservableGauge
	gaps        metric.Int64ObservableGauge
	queueDepth  metric.Int64ObservableGauge
	memoryUsage metric.Int64ObservableGauge
}

// New makes the instruments of a provider.
func New(provider metric.MeterProvider) (*Metrics, error) {
	m := &Metrics{meter: provider.Meter(tracing.Scope)}
	newly := maker{meter: m.meter}
	m.rows = newly.counter("winch.rows", "{row}", "Rows that slices landed, by what became of them; quarantined records never became rows.")
	m.slices = newly.counter("winch.slices", "{slice}", "Slices that were read to their end, by outcome.")
	m.requests = newly.counter("winch.vendor.requests", "{request}", "Requests to the vendor, by the class of the answer's status; none: no whole answer.")
	m.retries = newly.counter("winch.vendor.retries", "{request}", "Requests that repeated an earlier one.")
	m.bytes = newly.counter("winch.vendor.io", "By", "Bytes of the vendor's answers.")
	m.waited = newly.seconds("winch.vendor.wait", "Time lost waiting, summed over what ran side by side: for rate limits, or for backoff and others.")
	m.tokens = newly.counter("winch.token.fetches", "{token}", "Tokens that the vendor granted.")
	m.renewals = newly.counter("winch.token.renewals", "{token}", "Tokens renewed because the vendor answered 401 although they should have been good.")
	m.sinkTime = newly.histogram("winch.sink.duration", "Time that the store took for a slice, by stage.", shortTimes)
	m.runTime = newly.histogram("winch.run.duration", "Time that runs took, by outcome.", longTimes)
	m.lateness = newly.histogram("winch.schedule.lateness", "How long after they were due ticks were decided.", longTimes)
	m.restarts = newly.counter("winch.connector.restarts", "{restart}", "Connectors that were started again within a run because their process had ended.")
	m.alerts = newly.counter("winch.alerts", "{message}", "Messages that webhooks took, or refused for good.")
	m.memoryPeak = newly.gauge("winch.connector.memory.peak", "By", "Most memory that the connector's last ended process had resident.")
	m.freshness = newly.observedSeconds("winch.stream.freshness", "Time since the newest held window ended; of a stream without windows, since it was last read.")
	m.gaps = newly.observed("winch.stream.gaps", "{window}", "Windows that are wanted and not held.")
	m.queueDepth = newly.observed("winch.queue.depth", "{job}", "Jobs of the queue, by state.")
	m.memoryUsage = newly.observed("winch.connector.memory.usage", "By", "Memory that the connector's processes have resident.")
	if newly.err != nil {
		return nil, newly.err
	}
	_, err := m.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for of, bytes := range m.connectors.memory() {
			o.ObserveInt64(m.memoryUsage, bytes, metric.WithAttributeSet(of.attributes()))
		}
		return nil
	}, m.memoryUsage)
	return m, err
}

// maker makes instruments until one fails.
type maker struct {
	meter metric.Meter
	err   error
}

func (m *maker) note(err error) {
	if m.err == nil {
		m.err = err
	}
}

func (m *maker) counter(name, unit, text string) metric.Int64Counter {
	c, err := m.meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(text))
	m.note(err)
	return c
}

func (m *maker) seconds(name, text string) metric.Float64Counter {
	c, err := m.meter.Float64Counter(name, metric.WithUnit("s"), metric.WithDescription(text))
	m.note(err)
	return c
}

func (m *maker) histogram(name, text string, bounds []float64) metric.Float64Histogram {
	h, err := m.meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(text), metric.WithExplicitBucketBoundaries(bounds...))
	m.note(err)
	return h
}

func (m *maker) gauge(name, unit, text string) metric.Int64Gauge {
	g, err := m.meter.Int64Gauge(name, metric.WithUnit(unit), metric.WithDescription(text))
	m.note(err)
	return g
}

func (m *maker) observed(name, unit, text string) metric.Int64ObservableGauge {
	g, err := m.meter.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(text))
	m.note(err)
	return g
}

func (m *maker) observedSeconds(name, text string) metric.Float64ObservableGauge {
	g, err := m.meter.Float64ObservableGauge(name, metric.WithUnit("s"), metric.WithDescription(text))
	m.note(err)
	return g
}

func of(source, stream string, more ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributes(append(more, tracing.Source.String(source), tracing.Stream.String(stream))...)
}

// Landed counts a slice that was committed. ctx carries its span, of which the
// numbers are examples.
func (m *Metrics) Landed(ctx context.Context, s ledger.Slice, c ledger.Counts, u connector.Usage, t sink.Stages) {
	if m == nil {
		return
	}
	m.ended(ctx, s, 1, 0)
	for _, kind := range []struct {
		name string
		n    int64
	}{
		{"inserted", c.Inserted}, {"updated", c.Updated}, {"unchanged", c.Unchanged}, {"deleted", c.Deleted}, {"quarantined", c.Quarantined},
	} {
		m.rows.Add(ctx, kind.n, of(s.Source, s.Stream, RowKind.String(kind.name)))
	}
	m.Spent(ctx, s.Source, s.Stream, u)
	m.stored(ctx, s, t)
}

// Failed counts a slice that was given up.
func (m *Metrics) Failed(ctx context.Context, s ledger.Slice, u connector.Usage, t sink.Stages) {
	if m == nil {
		return
	}
	m.ended(ctx, s, 0, 1)
	m.Spent(ctx, s.Source, s.Stream, u)
	m.stored(ctx, s, t)
}

// ended counts slices by outcome. As with rows, a zero is counted too: whoever
// looks for an increase needs to see where a counter began.
func (m *Metrics) ended(ctx context.Context, s ledger.Slice, landed, failed int64) {
	m.slices.Add(ctx, landed, of(s.Source, s.Stream, tracing.Outcome.String("landed")))
	m.slices.Add(ctx, failed, of(s.Source, s.Stream, tracing.Outcome.String("failed")))
}

// Spent counts what was asked of the vendor, for a stream or, if that is empty, for
// the source as a whole.
func (m *Metrics) Spent(ctx context.Context, source, stream string, u connector.Usage) {
	if m == nil || u == (connector.Usage{}) {
		return
	}
	answered := u.Status2xx + u.Status3xx + u.Status4xx + u.Status5xx
	for _, class := range []struct {
		name string
		n    int64
	}{
		{"2xx", u.Status2xx}, {"3xx", u.Status3xx}, {"4xx", u.Status4xx}, {"5xx", u.Status5xx}, {"none", u.Requests - answered},
	} {
		if class.n > 0 {
			m.requests.Add(ctx, class.n, of(source, stream, Status.String(class.name)))
		}
	}
	whole := of(source, stream)
	m.retries.Add(ctx, u.Retries, whole)
	m.bytes.Add(ctx, u.Bytes, whole)
	m.waited.Add(ctx, u.WaitedForLimit.Seconds(), of(source, stream, WaitKind.String("rate_limit")))
	m.waited.Add(ctx, (u.Waited - u.WaitedForLimit).Seconds(), of(source, stream, WaitKind.String("other")))
	m.tokens.Add(ctx, u.TokensFetched, whole)
	m.renewals.Add(ctx, u.RenewedOn401, whole)
}

func (m *Metrics) stored(ctx context.Context, s ledger.Slice, t sink.Stages) {
	for _, stage := range []struct {
		name string
		took time.Duration
	}{
		{"copy", t.Copying}, {"merge", t.Merging}, {"commit", t.Committing}, {"wait", t.Awaiting},
	} {
		if stage.took > 0 {
			m.sinkTime.Record(ctx, stage.took.Seconds(), of(s.Source, s.Stream, Stage.String(stage.name)))
		}
	}
}

// Ran measures a run that has ended.
func (m *Metrics) Ran(ctx context.Context, source string, outcome sink.Outcome, took time.Duration) {
	if m != nil {
		m.runTime.Record(ctx, took.Seconds(), metric.WithAttributes(tracing.Source.String(source), tracing.Outcome.String(string(outcome))))
	}
}

// Decided measures how late a tick was decided.
func (m *Metrics) Decided(ctx context.Context, t sink.Tick) {
	if m != nil {
		m.lateness.Record(ctx, max(t.DecidedAt.Sub(t.DueAt), 0).Seconds(),
			metric.WithAttributes(tracing.Source.String(t.Source), Decision.String(string(t.Decision))))
	}
}

// Restarted counts that a connector was started again within a run.
func (m *Metrics) Restarted(ctx context.Context, source, connectorName string) {
	if m != nil {
		m.restarts.Add(ctx, 1, metric.WithAttributes(tracing.Source.String(source), tracing.Connector.String(connectorName)))
	}
}

// Told counts a message that a webhook took, or that was dropped since it refuses it.
func (m *Metrics) Told(ctx context.Context, alert string, dropped bool) {
	if m == nil {
		return
	}
	told, lost := int64(1), int64(0)
	if dropped {
		told, lost = 0, 1
	}
	m.alerts.Add(ctx, told, metric.WithAttributes(Alert.String(alert), tracing.Outcome.String("told")))
	m.alerts.Add(ctx, lost, metric.WithAttributes(Alert.String(alert), tracing.Outcome.String("dropped")))
}
