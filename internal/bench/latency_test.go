package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/pgtest"
	"github.com/winchdata/winch/internal/plugin"
	"github.com/winchdata/winch/internal/pull"
	"github.com/winchdata/winch/internal/sink/postgres"
	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/rest"
)

// The vendor of the benchmark: slow, and strict about its limit.
const (
	answerAfter      = 100 * time.Millisecond
	allowedPerSecond = 20
	allowedAtOnce    = 16
	pagesPerDay      = 4
	rowsPerPage      = 25
)

// slowDefinition is a connector that reads days of the slow vendor, page by page,
// and keeps to its limits.
func slowDefinition() connector.Definition {
	return connector.Definition{
		Name: "slow", Title: "Slow vendor",
		ConfigSchema: json.RawMessage(`{"type":"object","properties":{"base_url":{"type":"string"}}}`),
		Open: func(_ context.Context, cfg connector.Config) (connector.Source, error) {
			var settings struct {
				BaseURL string `json:"base_url"`
			}
			if err := cfg.Decode(&settings); err != nil {
				return nil, err
			}
			client, err := rest.New(rest.Options{
				BaseURL: settings.BaseURL, Concurrency: allowedAtOnce,
				Rate: []rest.Window{{Requests: allowedPerSecond, Per: time.Second}},
			})
			return &slow{client}, err
		},
	}
}

type slow struct{ client *rest.Client }

func (s *slow) Streams(context.Context) ([]connector.Stream, error) {
	return []connector.Stream{{
		Name: "calls", Mode: connector.ModeWindow, PrimaryKey: []string{"id"}, TimeColumn: "day", Slice: connector.Days(1),
		Columns: []connector.Column{{Name: "id", Type: connector.TypeText}, {Name: "day", Type: connector.TypeDate}, {Name: "n", Type: connector.TypeBigint}},
	}}, nil
}

// Limits are those of the client, as in the connectors.
func (s *slow) Limits(context.Context) (connector.Limits, error) { return s.client.Limits(), nil }

func (s *slow) Pull(ctx context.Context, req connector.Request, out connector.Emitter) error {
	for page := range pagesPerDay {
		answer, err := s.client.Get(ctx, "/calls", url.Values{"day": {req.Window.Since.Format(time.DateOnly)}, "page": {strconv.Itoa(page)}})
		if err != nil {
			return err
		}
		records, err := rest.Records(answer.Body, "calls")
		if err != nil {
			return err
		}
		for _, raw := range records {
			if err := out.Record(raw); err != nil {
				return err
			}
		}
	}
	return nil
}

// slowVendor answers each request after a while, and counts them.
func slowVendor(b *testing.B, requests *atomic.Int64) *httptest.Server {
	b.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		select {
		case <-time.After(answerAfter):
		case <-r.Context().Done():
			return
		}
		day, page := r.FormValue("day"), r.FormValue("page")
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"calls":[`)
		for n := range rowsPerPage {
			if n > 0 {
				fmt.Fprint(w, ",")
			}
			fmt.Fprintf(w, `{"id":"%s-%s-%d","day":%q,"n":%d}`, day, page, n, day, n)
		}
		fmt.Fprint(w, `]}`)
	}))
	b.Cleanup(server.Close)
	return server
}

// BenchmarkBackfillByLatency prints how long a year of days takes whose vendor
// answers after 100 ms and allows 20 requests a second, against what that limit
// dictates. WINCH_BENCH_DAYS makes it shorter.
func BenchmarkBackfillByLatency(b *testing.B) {
	days := number("WINCH_BENCH_DAYS", 365)
	var requests atomic.Int64
	vendor := slowVendor(b, &requests)
	store, err := postgres.Open(b.Context(), pgtest.Start(b, pgtest.Options{Durable: true}).Database(b), postgres.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	if _, err := store.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	launcher := &plugin.Launcher{Bundled: []string{"slow"}, Logger: log}
	since := time.Date(2025, time.January, 1, 0, 0, 0, 0, time.UTC)
	job := pull.Job{
		Source: "bench", Connector: "slow", Trigger: "bench", AsOf: since.AddDate(0, 0, days).Add(time.Hour),
		Open: func(ctx context.Context) (*pull.Session, error) {
			process, err := launcher.Launch(ctx, "slow")
			if err != nil {
				return nil, err
			}
			src, err := process.Open(ctx, connector.NewConfig(fmt.Appendf(nil, `{"base_url":%q}`, vendor.URL)))
			return &pull.Session{Source: src, Alive: func() bool { return true }, Close: process.Close}, err
		},
		Select: func(offered []connector.Stream) ([]ledger.Want, error) {
			return []ledger.Want{{Source: "bench", Stream: offered[0], Since: since, Slice: offered[0].Slice}}, nil
		},
	}
	started := time.Now()
	res, err := (&pull.Puller{Sink: store, Log: log}).Run(b.Context(), job)
	took := time.Since(started).Seconds()
	if err == nil {
		err = res.FirstError()
	}
	if err != nil {
		b.Fatal(err)
	}
	want := int64(days * pagesPerDay)
	if requests.Load() != want || res.Counts.Inserted != want*rowsPerPage {
		b.Fatalf("%d requests and %d rows, want %d and %d", requests.Load(), res.Counts.Inserted, want, want*rowsPerPage)
	}
	dictated := float64(want) / allowedPerSecond
	fmt.Printf("\n%d day slices of %d pages, %v a request, %d requests/s allowed\n", days, pagesPerDay, answerAfter, allowedPerSecond)
	fmt.Printf("  took %.1f s, the limit dictates %.1f s: ratio %.2f\n", took, dictated, took/dictated)
	b.ReportMetric(took/dictated, "latency-ratio")
}
