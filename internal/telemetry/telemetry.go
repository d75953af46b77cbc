// Package telemetry is the agent's way out for what it tells about itself: the
// OpenTelemetry SDK, started once a process and only where somebody listens, and
// the log.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/winchdata/winch/pkg/connector"
)

// serviceName is what the agent calls itself; its connectors are called
// winch-connector-NAME.
const serviceName = "winch"

// Options say what is told to whom. The standard OTEL_* variables of the
// environment count where an option is not given.
type Options struct {
	// Endpoint is the base URL of an OTLP receiver, by HTTP with protobuf; empty
	// for that of the environment, and for none.
	Endpoint string
	// Sample is the share of traces that are recorded, from 0 to 1; nil for what
	// OTEL_TRACES_SAMPLER says, or all.
	Sample *float64
	// Scraped says that metrics are also kept for Scrape.
	Scraped bool
	// Version is that of the program.
	Version string
	// Log gets what goes wrong with sending.
	Log *slog.Logger
}

// A Telemetry is what was started. The zero Telemetry tells nobody anything.
type Telemetry struct {
	log      *slog.Logger
	resource *resource.Resource
	traces   *traces   // nil where nobody listens
	measures *measures // nil where nobody reads them
}

// Start starts what the options and the environment ask for. It does not use the
// network: a receiver that is not there yet may come later. The caller must call
// Shutdown.
func Start(ctx context.Context, o Options) (*Telemetry, error) {
	t := &Telemetry{log: o.Log}
	tracesURL, err := o.endpoint("TRACES", "v1/traces")
	if err != nil {
		return nil, err
	}
	metricsURL, err := o.endpoint("METRICS", "v1/metrics")
	if err != nil {
		return nil, err
	}
	o.Scraped = o.Scraped && !disabled()
	if tracesURL == "" && metricsURL == "" && !o.Scraped {
		return t, nil
	}
	if t.resource, err = newResource(ctx, o.Version); err != nil {
		// What the environment says of the resource may be malformed; the rest is
		// there all the same.
		t.log.WarnContext(ctx, "telemetry: a part of the resource is not known", "error", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { t.log.Warn("telemetry", "error", err) }))
	if metricsURL != "" || o.Scraped {
		if t.measures, err = startMeasures(ctx, metricsURL, t.resource, o); err != nil {
			return nil, err
		}
	}
	if tracesURL != "" {
		if t.traces, err = startTraces(ctx, tracesURL, t.resource, o); err != nil {
			return nil, errors.Join(err, t.Shutdown(ctx))
		}
		otel.SetTracerProvider(t.traces.provider)
	}
	return t, nil
}

// Tracing reports whether spans are sent anywhere.
func (t *Telemetry) Tracing() bool { return t != nil && t.traces != nil }

// Shutdown sends what is left and ends. ctx bounds it.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	var sending sync.WaitGroup
	var measured, traced error
	if t.Measuring() {
		sending.Go(func() { measured = t.measures.shutdown(ctx) })
	}
	if t.Tracing() {
		sending.Go(func() { traced = t.traces.shutdown(ctx) })
	}
	sending.Wait()
	return errors.Join(measured, traced)
}

// disabled reports whether the environment switches all of OpenTelemetry off.
func disabled() bool { return strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") }

// endpoint returns the URL that a signal is sent to, empty if it is not sent.
// The environment's names are those of the OpenTelemetry specification.
func (o Options) endpoint(signal, path string) (string, error) {
	if disabled() || os.Getenv("OTEL_"+signal+"_EXPORTER") == "none" {
		return "", nil
	}
	below := func(base string) string { return strings.TrimSuffix(base, "/") + "/" + path }
	if o.Endpoint != "" {
		return below(o.Endpoint), nil
	}
	for _, v := range []struct {
		name string
		url  func(string) string
	}{
		{"OTEL_EXPORTER_OTLP_" + signal + "_ENDPOINT", func(whole string) string { return whole }},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", below},
	} {
		text := os.Getenv(v.name)
		if text == "" {
			continue
		}
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return "", &connector.Error{
				Kind: connector.KindConfig, Op: v.name, Err: fmt.Errorf("want a URL such as http://localhost:4318"),
				Hint: "correct it, or switch telemetry off with OTEL_SDK_DISABLED=true",
			}
		}
		return v.url(text), spoken(signal)
	}
	return "", nil
}

// spoken refuses a protocol of the environment that is not spoken here: its
// receiver would not understand.
func spoken(signal string) error {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_" + signal + "_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		switch protocol := os.Getenv(name); protocol {
		case "":
			continue
		case "http/protobuf":
			return nil
		default:
			return &connector.Error{
				Kind: connector.KindConfig, Op: name, Err: fmt.Errorf("%q is not spoken, only http/protobuf", protocol),
				Hint: "give the receiver's address for OTLP over HTTP, most often port 4318, as telemetry.otlp_endpoint; or set OTEL_SDK_DISABLED=true",
			}
		}
	}
	return nil
}

// newResource describes this process. The command line is not in it: it may hold
// what nobody should see.
func newResource(ctx context.Context, version string) (*resource.Resource, error) {
	return resource.New(ctx,
		resource.WithAttributes(semconv.ServiceName(serviceName), semconv.ServiceVersion(version)),
		resource.WithHost(), resource.WithProcessPID(), resource.WithTelemetrySDK(),
		resource.WithFromEnv(), // what a person says wins
	)
}
