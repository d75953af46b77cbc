package telemetry_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/metrics"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/internal/telemetry"
	"github.com/winchdata/winch/pkg/connector"
)

func scraped(t *testing.T) (*metrics.Metrics, func() string) {
	t.Helper()
	tel, err := telemetry.Start(t.Context(), telemetry.Options{Scraped: true, Version: "test", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tel.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	m, err := metrics.New(tel.MeterProvider())
	if err != nil {
		t.Fatal(err)
	}
	return m, func() string {
		rec := httptest.NewRecorder()
		tel.Scrape().ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
		return rec.Body.String()
	}
}

func TestSeriesAreBoundedHoweverManyStreamsThereAre(t *testing.T) {
	t.Parallel()
	m, scrape := scraped(t)
	const streams = 6000
	for i := range streams {
		m.Spent(t.Context(), "shop", fmt.Sprintf("stream_%d", i), connector.Usage{Requests: 1, Status2xx: 1})
	}
	text := scrape()
	series := strings.Count(text, "\nwinch_vendor_requests_total{")
	if series > 5000 || !strings.Contains(text, `winch_vendor_requests_total{otel_metric_overflow="true"} 1001`) {
		t.Errorf("%d series of %d streams, and no sum of the others", series, streams)
	}
}

// What nobody reads is not measured, and costs a look at a nil.
func TestNobodyMeasuresWithoutAReader(t *testing.T) {
	t.Parallel()
	var m *metrics.Metrics
	m.Landed(t.Context(), ledger.Slice{}, ledger.Counts{}, connector.Usage{}, sink.Stages{})
	m.Failed(t.Context(), ledger.Slice{}, connector.Usage{}, sink.Stages{})
	m.Spent(t.Context(), "", "", connector.Usage{})
	m.Ran(t.Context(), "", sink.Succeeded, 0)
	m.Decided(t.Context(), sink.Tick{})
	m.Restarted(t.Context(), "", "")
	m.WatchConnector("", "", nil)(1)
	var tel *telemetry.Telemetry
	if tel.Measuring() || tel.Scrape() != nil {
		t.Error("a telemetry that was not started measures")
	}
}
