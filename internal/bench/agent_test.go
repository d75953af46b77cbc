package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/winchdata/winch/internal/heap"
	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/metrics"
	"github.com/winchdata/winch/internal/plugin"
	"github.com/winchdata/winch/internal/pull"
	"github.com/winchdata/winch/internal/sink/postgres"
	"github.com/winchdata/winch/internal/telemetry"
	"github.com/winchdata/winch/pkg/connector"
)

// agentReport is what a process in the role of the agent prints.
type agentReport struct {
	Seconds    float64 // of the run, from the lock to the recorded outcome
	AgentCPU   float64 // seconds, of this process
	PluginCPU  float64 // seconds, of the connector process
	AgentPeak  int64   // bytes resident
	PluginPeak int64
	Mallocs    uint64 // of this process, during the run
	Counts     ledger.Counts
}

// day is the one window that holds all records.
var day = connector.Window{
	Since: time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC),
	Until: time.Date(2026, time.January, 2, 0, 0, 0, 0, time.UTC),
}

// runAgent pulls all records once, as winch does, and prints an agentReport.
func runAgent(ctx context.Context, database, pagesURL string) error {
	heap.Keep(heap.Agent) // as cmd/agent does
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	store, err := postgres.Open(ctx, database, postgres.Options{})
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }() // the process ends
	if _, err := store.Migrate(ctx); err != nil {
		return err
	}
	observed, err := observe(ctx, store, log)
	if err != nil {
		return err
	}
	scraped := observed.scrape(ctx)
	launcher := &plugin.Launcher{Bundled: []string{"pages"}, Logger: log}
	if observed.Tracing() {
		launcher.Spans = observed.Forward
	}
	var process *plugin.Process
	job := pull.Job{
		Source: "bench", Connector: "pages", Trigger: "bench", AsOf: day.Until.Add(time.Hour),
		Open: func(ctx context.Context) (*pull.Session, error) {
			if process, err = launcher.Launch(ctx, "pages"); err != nil {
				return nil, err
			}
			src, err := process.Open(ctx, connector.NewConfig(fmt.Appendf(nil, `{"base_url":%q,"profile":%q}`, pagesURL, os.Getenv(profileEnv))))
			observed.metrics.WatchConnector("bench", "pages", process.Memory)
			return &pull.Session{Source: src, Alive: func() bool { return true }, Close: process.Close}, err
		},
		Select: func(offered []connector.Stream) ([]ledger.Want, error) {
			return []ledger.Want{{
				Source: "bench", Stream: offered[0], Since: day.Since, Slice: offered[0].Slice, Lookback: connector.Days(7), LookbackEvery: new(connector.Span),
			}}, nil
		},
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	profiled, err := profile(os.Getenv(profileEnv), "agent")
	if err != nil {
		return err
	}
	defer profiled()
	started := time.Now()
	res, err := (&pull.Puller{Sink: store, Log: log, Metrics: observed.metrics}).Run(ctx, job)
	if err == nil {
		err = res.FirstError()
	}
	if err != nil {
		return err
	}
	report := agentReport{
		Seconds: time.Since(started).Seconds(), Counts: res.Counts, PluginPeak: process.PeakMemory(),
	}
	runtime.ReadMemStats(&after)
	report.Mallocs = after.Mallocs - before.Mallocs
	scraped()
	if err := observed.Shutdown(ctx); err != nil { // which costs something too
		return err
	}
	var self, child syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &self); err != nil {
		return err
	}
	if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &child); err != nil {
		return err
	}
	report.AgentCPU, report.PluginCPU = cpu(self), cpu(child)
	if report.AgentPeak, err = residentPeak(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(report)
}

// observation is what an agent that serves tells about itself.
type observation struct {
	*telemetry.Telemetry
	metrics *metrics.Metrics // nil where nobody is told
}

// observe starts telemetry as winch serve does, traces and metrics, if the
// environment names a receiver.
func observe(ctx context.Context, store *postgres.Sink, log *slog.Logger) (o observation, err error) {
	on := os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != ""
	if o.Telemetry, err = telemetry.Start(ctx, telemetry.Options{Log: log, Scraped: on}); err != nil || !on {
		return o, err
	}
	if o.metrics, err = metrics.New(o.MeterProvider()); err != nil {
		return o, err
	}
	return o, o.metrics.WatchStreams(func(ctx context.Context) ([]metrics.StreamState, error) {
		entries, err := store.Entries(ctx, "bench")
		return []metrics.StreamState{{Source: "bench", Stream: "records", Newest: ledger.Newest(entries)}}, err
	})
}

// scrapeEvery is three times as often as Prometheus does by default.
const scrapeEvery = 5 * time.Second

// scrape scrapes as Prometheus does, until stop is called, and then once more.
func (o observation) scrape(ctx context.Context) (stop func()) {
	if o.metrics == nil {
		return func() {}
	}
	once := func() {
		req := httptest.NewRequestWithContext(ctx, http.MethodGet, "/metrics", nil)
		req.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
		answer := httptest.NewRecorder()
		o.Scrape().ServeHTTP(answer, req)
		if !strings.Contains(answer.Body.String(), "winch_") {
			panic("a scrape without metrics: " + answer.Body.String())
		}
	}
	end := make(chan struct{})
	var scraping sync.WaitGroup
	scraping.Go(func() {
		again := time.NewTicker(scrapeEvery)
		defer again.Stop()
		for {
			select {
			case <-again.C:
				once()
			case <-end:
				once()
				return
			}
		}
	})
	return func() { close(end); scraping.Wait() }
}

// residentPeak is the most memory that this process had resident, in bytes. The
// accounting's own figure begins with that of the parent.
func residentPeak() (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kib int64
	if _, err := fmt.Sscanf(rest, "%d kB", &kib); err != nil {
		return 0, fmt.Errorf("VmHWM: %w", err)
	}
	return kib << 10, nil
}

func cpu(u syscall.Rusage) float64 {
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}
