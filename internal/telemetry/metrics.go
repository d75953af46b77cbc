package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/resource"
)

// longestSeries is how many series one metric has at most. What comes beyond is
// summed in one that says otel.metric.overflow.
const longestSeries = 5000

// measures are the metrics of this process, pushed, scraped, or both.
type measures struct {
	provider *sdkmetric.MeterProvider
	registry *prometheus.Registry // nil unless they are scraped
}

// startMeasures starts what pushes to the URL, unless it is empty, and what is
// scraped, if it is to be.
func startMeasures(ctx context.Context, url string, res *resource.Resource, o Options) (*measures, error) {
	m := &measures{}
	options := []sdkmetric.Option{sdkmetric.WithResource(res), sdkmetric.WithCardinalityLimit(longestSeries)}
	if url != "" {
		exporter, err := otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpointURL(url),
			otlpmetrichttp.WithRetry(otlpmetrichttp.RetryConfig{
				Enabled: true, InitialInterval: 200 * time.Millisecond, MaxInterval: 2 * time.Second, MaxElapsedTime: retryFor,
			}))
		if err != nil {
			return nil, fmt.Errorf("telemetry to %s: %w", url, err)
		}
		options = append(options, sdkmetric.WithReader(sdkmetric.NewPeriodicReader(&complaining{Exporter: exporter, log: o.Log})))
	}
	if o.Scraped {
		m.registry = prometheus.NewRegistry()
		exporter, err := otelprometheus.New(
			otelprometheus.WithRegisterer(m.registry), otelprometheus.WithoutScopeInfo(),
			otelprometheus.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithSuffixes),
		)
		if err != nil {
			return nil, fmt.Errorf("metrics for Prometheus: %w", err)
		}
		options = append(options, sdkmetric.WithReader(exporter))
	}
	m.provider = sdkmetric.NewMeterProvider(options...)
	return m, nil
}

// complaining sends metrics and complains once about a receiver that does not take
// them: each message has all that the one before had, so that nothing but time is
// lost.
type complaining struct {
	sdkmetric.Exporter
	log      *slog.Logger
	complain sync.Once
}

func (c *complaining) Export(ctx context.Context, m *metricdata.ResourceMetrics) error {
	if err := c.Exporter.Export(ctx, m); err != nil {
		c.complain.Do(func() { c.log.WarnContext(ctx, "metrics are not taken by their receiver", "error", err) })
	}
	return nil
}

// MeterProvider makes meters; what they measure goes to whoever was asked for, or
// to nobody.
func (t *Telemetry) MeterProvider() metric.MeterProvider {
	if !t.Measuring() {
		return noop.NewMeterProvider()
	}
	return t.measures.provider
}

// Measuring reports whether anybody reads metrics.
func (t *Telemetry) Measuring() bool { return t != nil && t.measures != nil }

// Scrape answers a scrape in the format of Prometheus or OpenMetrics, of which
// the latter has exemplars. It is nil unless Options.Scraped was set.
func (t *Telemetry) Scrape() http.Handler {
	if !t.Measuring() || t.measures.registry == nil {
		return nil
	}
	return promhttp.HandlerFor(t.measures.registry, promhttp.HandlerOpts{
		EnableOpenMetrics: true, ErrorHandling: promhttp.ContinueOnError, ErrorLog: scrapeLog{t.log},
	})
}

// scrapeLog logs what went wrong with a scrape.
type scrapeLog struct{ log *slog.Logger }

func (l scrapeLog) Println(v ...any) { l.log.Warn("scrape", "error", fmt.Sprint(v...)) }

// shutdown sends what is left, for as long as ctx allows.
func (m *measures) shutdown(ctx context.Context) error {
	err := m.provider.Shutdown(ctx)
	if errors.Is(err, sdkmetric.ErrReaderShutdown) {
		return nil
	}
	return err
}
