//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v4"

	"github.com/winchdata/winch/internal/sandbox"
	"github.com/winchdata/winch/internal/telemetry/otlptest"
)

// newMeasured writes the configuration of a serving whose metrics are also pushed.
func newMeasured(t *testing.T) (*serving, *workplace) {
	t.Helper()
	w := &workplace{T: t, dir: t.TempDir(), receiver: otlptest.New(t)}
	sim := sandbox.New(sandbox.Options{Size: 2, Days: 2})
	w.gate.open = make(chan struct{})
	server := httptest.NewServer(w.gate.before(sim))
	t.Cleanup(server.Close)
	t.Cleanup(w.release)
	w.sandbox = server.URL
	yaml := fmt.Sprintf(`
sink: {url: "sqlite:winch.db"}
serve: {listen: "127.0.0.1:0", grace: 5m}
telemetry: {otlp_endpoint: %[3]s}
sources:
  kaisa_test:
    connector: kaisa
    config: {client_id: sandbox-kaisa-client, client_secret: sandbox-kaisa-secret, base_url: %[1]s/kaisa, token_url: %[1]s/kaisa/oauth2/token}
    schedule: "@every 1s"
    since: %[2]s
    streams: [customers, cdrs_in]
`, server.URL, sim.Begin().Format(time.DateOnly), w.receiver.URL)
	if err := os.WriteFile(filepath.Join(w.dir, "winch.yaml"), []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	return &serving{t: t, dir: w.dir, url: server.URL}, w
}

// scrape reads /metrics as Prometheus does.
func (s *serving) scrape() map[string]*dto.MetricFamily {
	s.t.Helper()
	_, body := s.get("/metrics")
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		s.t.Fatalf("%v in\n%s", err, body)
	}
	return families
}

// openMetrics reads /metrics in the format that has exemplars.
func (s *serving) openMetrics() string {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.health+"/metrics", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// value sums the samples of a metric that have the labels.
func value(families map[string]*dto.MetricFamily, name string, labels ...string) (sum float64, found bool) {
	for _, m := range families[name].GetMetric() {
		has := map[string]bool{}
		for _, l := range m.GetLabel() {
			has[l.GetName()+"="+l.GetValue()] = true
		}
		if slices.ContainsFunc(labels, func(l string) bool { return !has[l] }) {
			continue
		}
		found = true
		sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
	}
	return sum, found
}

func TestMetricsOfAServerWhoseVendorLimitsAndWhoseConnectorIsKilled(t *testing.T) {
	t.Parallel()
	s, w := newMeasured(t)
	struck := w.holdRequests("/statistics/cdrs")
	s.start()
	struck()
	if memory, ok := value(s.scrape(), "winch_connector_memory_usage_bytes", "winch_source=kaisa_test", "winch_connector=kaisa"); ok && memory < 1<<20 {
		t.Errorf("a connector of %v bytes", memory) // where the system does not tell, there is none
	}
	for _, pid := range s.children() {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	w.release()
	s.await("run succeeded")
	w.fault(url.Values{"kind": {"rate_limit_seconds"}, "path": {"/customers"}, "count": {"1"}, "delay": {"1s"}})
	s.await("run succeeded") // the fault strikes this one
	s.await("run succeeded") // or, if it had begun, this one
	families := s.scrape()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); families = s.scrape() { // the ledger's may be seconds old
		if gaps, known := value(families, "winch_stream_gaps"); known && gaps == 0 {
			break
		}
	}

	for _, want := range []struct {
		name   string
		least  float64
		most   float64
		labels []string
	}{
		{"winch_stream_freshness_seconds", 1, 3 * 86400, []string{"winch_source=kaisa_test", "winch_stream=cdrs_in"}},
		{"winch_stream_freshness_seconds", 0, 600, []string{"winch_stream=customers"}},
		{"winch_stream_gaps", 0, 0, []string{"winch_stream=cdrs_in"}},
		{"winch_stream_gaps", 0, 0, []string{"winch_stream=customers"}},
		{"winch_rows_total", 1, 1e6, []string{"winch_stream=customers", "winch_row_kind=inserted"}},
		{"winch_rows_total", 0, 0, []string{"winch_stream=customers", "winch_row_kind=quarantined"}},
		{"winch_slices_total", 1, 1e6, []string{"winch_stream=cdrs_in", "winch_outcome=landed"}},
		{"winch_slices_total", 0, 0, []string{"winch_stream=cdrs_in", "winch_outcome=failed"}},
		{"winch_vendor_requests_total", 1, 1e6, []string{"winch_stream=customers", "winch_status_class=2xx"}},
		{"winch_vendor_requests_total", 1, 1, []string{"winch_stream=customers", "winch_status_class=4xx"}},
		{"winch_vendor_retries_total", 1, 1, []string{"winch_stream=customers"}},
		{"winch_vendor_io_bytes_total", 100, 1e9, []string{"winch_stream=cdrs_in"}},
		{"winch_vendor_wait_seconds_total", 0.9, 600, []string{"winch_stream=customers", "winch_wait_kind=rate_limit"}},
		{"winch_token_fetches_total", 1, 1e6, []string{"winch_source=kaisa_test"}},
		{"winch_token_renewals_total", 0, 0, []string{"winch_source=kaisa_test"}},
		{"winch_sink_duration_seconds", 1, 1e6, []string{"winch_stream=customers", "winch_sink_stage=copy"}},
		{"winch_sink_duration_seconds", 1, 1e6, []string{"winch_stream=customers", "winch_sink_stage=merge"}},
		{"winch_sink_duration_seconds", 1, 1e6, []string{"winch_stream=customers", "winch_sink_stage=commit"}},
		{"winch_run_duration_seconds", 1, 1e6, []string{"winch_source=kaisa_test", "winch_outcome=succeeded"}},
		{"winch_schedule_lateness_seconds", 1, 1e6, []string{"winch_source=kaisa_test", "winch_tick_decision=taken"}},
		{"winch_queue_depth", 0, 1, []string{"winch_queue_state=waiting"}},
		{"winch_queue_depth", 0, 1, []string{"winch_queue_state=running"}},
		{"winch_connector_restarts_total", 1, 1, []string{"winch_source=kaisa_test", "winch_connector=kaisa"}},
		{"winch_connector_memory_peak_bytes", 1 << 20, 1 << 34, []string{"winch_source=kaisa_test", "winch_connector=kaisa"}},
	} {
		if got, ok := value(families, want.name, want.labels...); !ok || got < want.least || got > want.most {
			t.Errorf("%s %v is %v (there: %v), want %v to %v", want.name, want.labels, got, ok, want.least, want.most)
		}
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				if strings.Contains(l.GetName(), "partition") || strings.Contains(l.GetName(), "window") || strings.Contains(l.GetName(), "error") {
					t.Errorf("%s is told apart by %s, which has no bound", family.GetName(), l.GetName())
				}
			}
		}
	}
	checkObservability(t, families)
	open := s.openMetrics()

	s.signal(syscall.SIGTERM)
	if code := s.ends(); code != exitOK {
		t.Errorf("exit code %d:\n%s", code, s.stderr.String())
	}
	exemplar := regexp.MustCompile(`winch_rows_total\{.*# \{.*trace_id="([0-9a-f]{32})"`).FindStringSubmatch(open)
	if exemplar == nil || !slices.ContainsFunc(w.receiver.Named("slice"), func(span *otlptest.Span) bool { return span.Trace() == exemplar[1] }) {
		t.Errorf("no example of rows is the trace of a slice: %v in\n%s", exemplar, open)
	}
	pushed := map[string]bool{}
	for _, message := range w.receiver.Metrics() {
		for _, res := range message.GetResourceMetrics() {
			if name := otlptest.Attribute(res.GetResource().GetAttributes(), "service.name"); name != "winch" {
				t.Errorf("metrics of %q", name)
			}
			for _, scope := range res.GetScopeMetrics() {
				for _, m := range scope.GetMetrics() {
					pushed[m.GetName()] = true
				}
			}
		}
	}
	for _, name := range []string{"winch.rows", "winch.vendor.requests", "winch.run.duration", "winch.stream.freshness", "winch.stream.gaps", "winch.connector.restarts"} {
		if !pushed[name] {
			t.Errorf("%s was not pushed: %v", name, slices.Sorted(maps.Keys(pushed)))
		}
	}
}

var (
	metricName = regexp.MustCompile(`\b(winch|target)_[a-z_]+\b`)
	selector   = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)`)
	grouping   = regexp.MustCompile(`by \(([^)]*)\)`)
	templated  = regexp.MustCompile(`(?:\$labels\.|\{\{)([a-z_]+)`)
)

// checkObservability examines the dashboard and the alert rules that ship: each
// metric and each label that they use was scraped.
func checkObservability(t *testing.T, families map[string]*dto.MetricFamily) {
	t.Helper()
	labels := map[string]map[string]bool{} // by the name of a sample
	for name, family := range families {
		of := map[string]bool{}
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				of[l.GetName()] = true
			}
		}
		if family.GetType() == dto.MetricType_HISTOGRAM {
			labels[name+"_sum"], labels[name+"_count"] = of, of
			name += "_bucket"
			of = maps.Clone(of)
			of["le"] = true
		}
		labels[name] = of
	}
	check := func(where, expression, shown string) {
		t.Helper()
		of := map[string]bool{}
		var words []string
		for _, match := range selector.FindAllStringSubmatch(expression, -1) {
			words = append(words, match[1])
		}
		for _, match := range grouping.FindAllStringSubmatch(expression, -1) {
			words = append(words, strings.Split(match[1], ", ")...)
		}
		for _, match := range templated.FindAllStringSubmatch(shown, -1) {
			words = append(words, match[1])
		}
		metrics := 0
		for _, name := range metricName.FindAllString(expression, -1) {
			if slices.Contains(words, name) {
				continue // a label
			}
			if labels[name] == nil {
				t.Errorf("%s: no metric %s was scraped", where, name)
			}
			metrics++
			maps.Copy(of, labels[name])
		}
		if metrics == 0 {
			t.Errorf("%s: no metric in %s", where, expression)
		}
		for _, label := range words {
			if !of[label] {
				t.Errorf("%s: the metrics of %s have no label %s", where, expression, label)
			}
		}
	}

	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr, LegendFormat string }
		}
	}
	read(t, "dashboard.json", func(text []byte) error { return json.Unmarshal(text, &dashboard) })
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			check("panel "+p.Title, target.Expr, target.LegendFormat)
		}
	}
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr string
				Annotations map[string]string
			}
		}
	}
	read(t, "alerts.yaml", func(text []byte) error { return yaml.Unmarshal(text, &rules) })
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			check("alert "+r.Alert, r.Expr, strings.Join(slices.Collect(maps.Values(r.Annotations)), " "))
		}
	}
	if len(dashboard.Panels) < 10 || len(rules.Groups) == 0 || len(rules.Groups[0].Rules) < 8 {
		t.Error("panels or rules were not found")
	}
}

func read(t *testing.T, name string, decode func([]byte) error) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "configs", "observability", name))
	if err == nil {
		err = decode(text)
	}
	if err != nil {
		t.Fatal(err)
	}
}
