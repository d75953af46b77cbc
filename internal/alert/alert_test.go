package alert_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/winchdata/winch/internal/alert"
	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/metrics"
	"github.com/winchdata/winch/internal/pull"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/internal/sink/sqlite"
	"github.com/winchdata/winch/internal/tracing"
	"github.com/winchdata/winch/pkg/connector"
)

// A hook is a receiver that answers with the statuses it was given, then 204.
type hook struct {
	mu       sync.Mutex
	statuses []int
	bodies   [][]byte
	url      string
}

func newHook(t *testing.T, statuses ...int) *hook {
	t.Helper()
	h := &hook{statuses: statuses}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	h.url = server.URL + "/canary"
	return h
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body bytes.Buffer
	_, _ = body.ReadFrom(r.Body)
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.statuses) > 0 {
		status := h.statuses[0]
		h.statuses = h.statuses[1:]
		w.WriteHeader(status)
		return
	}
	h.bodies = append(h.bodies, body.Bytes())
	w.WriteHeader(http.StatusNoContent)
}

// answer makes it answer with the statuses before it takes messages again.
func (h *hook) answer(statuses ...int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.statuses = statuses
}

// taken returns event and name of what was taken since the last time.
func (h *hook) taken(t *testing.T) []string {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []string
	for _, body := range h.bodies {
		var m alert.Message
		if err := json.Unmarshal(body, &m); err != nil || m.At.IsZero() || m.Text == "" {
			t.Errorf("%v: %s", err, body)
		}
		all = append(all, strings.TrimSuffix(m.Event+" "+m.Of, " ")+" "+m.Source+"/"+m.Stream)
	}
	h.bodies = nil
	slices.Sort(all)
	return all
}

func (h *hook) webhook(name, format string, on ...string) alert.Webhook {
	return alert.Webhook{Name: name, Format: format, On: on, URL: func(context.Context) (connector.Secret, error) { return connector.NewSecret(h.url), nil }}
}

var all = []string{alert.Failure, alert.Staleness, alert.Drift, alert.Quarantine, alert.Recovery}

func newTeller(t *testing.T, log *bytes.Buffer, webhooks ...alert.Webhook) *alert.Teller {
	t.Helper()
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "winch.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	if _, err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &alert.Teller{Store: store, Webhooks: webhooks, Log: slog.New(slog.NewTextHandler(log, nil))}
}

func result(streams ...pull.StreamResult) pull.Result {
	res := pull.Result{Name: "shop", Run: 7, Status: sink.Succeeded, Streams: streams}
	for _, s := range streams {
		if s.Err != nil {
			res.Status = sink.Incomplete
		}
	}
	return res
}

func well(name string) pull.StreamResult {
	return pull.StreamResult{Name: name, Status: sink.Succeeded, Due: 1, Slices: 1}
}

func ill(name string) pull.StreamResult {
	return pull.StreamResult{Name: name, Status: sink.FailedRun, Due: 1, Failed: 1, Err: errors.New("no answer")}
}

func TestEachThingIsToldOnceUntilItChanges(t *testing.T) {
	t.Parallel()
	h := newHook(t)
	var log bytes.Buffer
	teller := newTeller(t, &log, h.webhook("ops", "generic", all...))
	drift := well("calls")
	drift.Undeclared = map[string]int64{"new_field": 3, "anna@example.com": 1}
	more := well("calls")
	more.Undeclared = map[string]int64{"new_field": 3, "another": 1}
	aside := well("calls")
	aside.Counts = ledger.Counts{Rows: 5, Quarantined: 2}
	broken := pull.Result{Name: "shop", Status: sink.FailedRun, Err: errors.New("no token"), Streams: []pull.StreamResult{ill("calls")}}
	for i, step := range []struct {
		res  pull.Result
		want []string
	}{
		{result(well("calls"), well("customers")), nil},
		{result(ill("calls"), well("customers")), []string{"failure shop/calls"}},
		{result(ill("calls"), well("customers")), nil},
		{result(ill("calls"), ill("customers")), []string{"failure shop/customers"}},
		{pull.Result{Name: "shop", Status: sink.Interrupted, Streams: []pull.StreamResult{well("calls")}}, nil},
		{pull.Result{Name: "shop", Status: sink.FailedRun, Err: &sink.Busy{Source: "shop"}}, nil},
		{result(well("calls"), ill("customers")), []string{"recovery failure shop/calls"}},
		{result(well("customers")), []string{"recovery failure shop/customers"}},
		{broken, []string{"failure shop/"}},
		{broken, nil},
		{result(well("calls")), []string{"recovery failure shop/"}},
		{result(drift), []string{"drift shop/calls"}},
		{result(drift), nil},
		{result(more), []string{"drift shop/calls"}},
		{result(aside), []string{"quarantine shop/calls"}},
		{result(aside), nil},
		{result(well("calls")), nil},
		{result(aside), []string{"quarantine shop/calls"}},
	} {
		teller.Ran(t.Context(), step.res)
		teller.Deliver(t.Context())
		h.mu.Lock()
		if bytes.Contains(bytes.Join(h.bodies, nil), []byte("anna")) {
			t.Error("a key that is data was told")
		}
		h.mu.Unlock()
		if diff := cmp.Diff(step.want, h.taken(t)); diff != "" {
			t.Errorf("step %d (-want +got):\n%s", i, diff)
		}
	}
	if log.Len() > 0 {
		t.Error(log.String())
	}
}

func TestAStreamIsStaleBeyondItsFreshness(t *testing.T) {
	t.Parallel()
	h := newHook(t)
	teller := newTeller(t, &bytes.Buffer{}, h.webhook("ops", "generic", all...))
	now := time.Date(2026, time.March, 9, 12, 0, 0, 0, time.UTC)
	age := func(hours int) []alert.Age {
		return []alert.Age{{Source: "shop", Stream: "calls", Newest: now.Add(-time.Duration(hours) * time.Hour), Freshness: connector.Span{Clock: 26 * time.Hour}}}
	}
	for i, step := range []struct {
		ages []alert.Age
		want []string
	}{
		{age(26), nil},
		{age(27), []string{"staleness shop/calls"}},
		{age(28), nil},
		{age(1), []string{"recovery staleness shop/calls"}},
		{[]alert.Age{{Source: "shop", Stream: "never read", Freshness: connector.Days(1)}}, nil},
	} {
		teller.Aged(t.Context(), step.ages, now)
		teller.Deliver(t.Context())
		if diff := cmp.Diff(step.want, h.taken(t)); diff != "" {
			t.Errorf("step %d (-want +got):\n%s", i, diff)
		}
	}
}

func TestAWebhookThatIsAwayIsTriedAgainAndTheOthersAreTold(t *testing.T) {
	t.Parallel()
	busy, moved, fine := newHook(t, 503, 429), newHook(t, 302, 302), newHook(t)
	var log bytes.Buffer
	teller := newTeller(t, &log, busy.webhook("busy", "generic", all...), moved.webhook("moved", "generic", all...),
		fine.webhook("fine", "generic", alert.Failure), alert.Webhook{Name: "unset", On: all, URL: func(context.Context) (connector.Secret, error) {
			return connector.Secret{}, errors.New("HOOK is not set")
		}})
	teller.Ran(t.Context(), result(ill("calls")))
	teller.Deliver(t.Context())
	for _, h := range []*hook{busy, fine} {
		if diff := cmp.Diff([]string{"failure shop/calls"}, h.taken(t)); diff != "" {
			t.Error(diff)
		}
	}
	if got := moved.taken(t); got != nil {
		t.Errorf("a redirect was followed: %v", got)
	}
	if text := log.String(); !strings.Contains(text, "302") || !strings.Contains(text, "HOOK is not set") || strings.Contains(text, "canary") {
		t.Errorf("log: %s", text)
	}
	// What could not be told is news the next time; who did not ask for recovery is
	// not told of it.
	moved.answer()
	teller.Ran(t.Context(), result(ill("calls")))
	teller.Deliver(t.Context())
	teller.Ran(t.Context(), result(well("calls")))
	teller.Deliver(t.Context())
	if diff := cmp.Diff([]string{"failure shop/calls", "recovery failure shop/calls"}, moved.taken(t)); diff != "" {
		t.Error(diff)
	}
	if got := fine.taken(t); got != nil {
		t.Error(got)
	}
}

// counted is how many messages of a webhook had an outcome.
func counted(t *testing.T, reader *metric.ManualReader, webhook, outcome string) (n int64) {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	of := attribute.NewSet(metrics.Alert.String(webhook), tracing.Outcome.String(outcome))
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			sum, _ := m.Data.(metricdata.Sum[int64])
			for _, p := range sum.DataPoints {
				if m.Name == "winch.alerts" && p.Attributes.Equals(&of) {
					n += p.Value
				}
			}
		}
	}
	return n
}

func TestAMessageThatIsRefusedForGoodHoldsBackNoOther(t *testing.T) {
	t.Parallel()
	h := newHook(t)
	var log bytes.Buffer
	teller := newTeller(t, &log, h.webhook("ops", "generic", all...))
	reader := metric.NewManualReader()
	var err error
	if teller.Metrics, err = metrics.New(metric.NewMeterProvider(metric.WithReader(reader))); err != nil {
		t.Fatal(err)
	}
	const calls, customers = "failure shop/calls", "failure shop/customers"
	for i, step := range []struct {
		answers []int // before those that take it
		taken   []string
		log     string
		dropped int64
	}{
		{[]int{400}, []string{calls, customers}, "", 0}, // it may have been a moment's
		{[]int{400, 422}, []string{customers}, "level=ERROR msg=\"alert dropped\" alert=ops event=failure source=shop stream=calls", 1},
		{[]int{413, 503, 413}, []string{customers}, "413 Request Entity Too Large", 1},
		{[]int{408, 425}, []string{calls, customers}, "", 0},
	} {
		teller.Ran(t.Context(), result(ill("calls"), ill("customers")))
		h.answer(step.answers...)
		before := counted(t, reader, "ops", "dropped")
		teller.Deliver(t.Context())
		teller.Deliver(t.Context()) // what was dropped is not told again
		if diff := cmp.Diff(step.taken, h.taken(t)); diff != "" {
			t.Errorf("step %d (-want +got):\n%s", i, diff)
		}
		if text := log.String(); !strings.Contains(text, step.log) || step.log == "" && text != "" || strings.Contains(text, "canary") {
			t.Errorf("step %d: log %s", i, text)
		}
		if got := counted(t, reader, "ops", "dropped") - before; got != step.dropped {
			t.Errorf("step %d: %d counted as dropped, want %d", i, got, step.dropped)
		}
		teller.Ran(t.Context(), result(well("calls"), well("customers")))
		teller.Deliver(t.Context())
		h.taken(t)
		log.Reset()
	}
	if told := counted(t, reader, "ops", "told"); told != 6+8 { // and the recoveries
		t.Errorf("%d counted as told", told)
	}
}

func TestAWebhookThatIsConfiguredWronglyIsToldAllOnceItIsPutRight(t *testing.T) {
	t.Parallel()
	h := newHook(t)
	var log bytes.Buffer
	teller := newTeller(t, &log, h.webhook("ops", "generic", all...))
	teller.Ran(t.Context(), result(ill("calls"), ill("customers")))
	for _, status := range []int{301, 401, 403, 404, 405, 407, 410} {
		h.answer(status)
		log.Reset()
		teller.Deliver(t.Context())
		if got := h.taken(t); got != nil || !strings.Contains(log.String(), fmt.Sprintf("level=WARN msg=\"alert not told\" alert=ops event=failure source=shop stream=calls error=\"the webhook answers %d", status)) {
			t.Errorf("after %d: took %v, log %s", status, got, &log)
		}
	}
	teller.Deliver(t.Context())
	if diff := cmp.Diff([]string{"failure shop/calls", "failure shop/customers"}, h.taken(t)); diff != "" {
		t.Error(diff)
	}
}

func TestSlackGetsTextWithoutMarkup(t *testing.T) {
	t.Parallel()
	h := newHook(t)
	if err := h.webhook("ops", "slack").Send(t.Context(), alert.Message{Event: alert.Test, Text: "<!channel> & co", Hint: "look"}); err != nil {
		t.Fatal(err)
	}
	want := `{"text":"*winch test*: \u0026lt;!channel\u0026gt; \u0026amp; co\ntry: look"}`
	if got := string(h.bodies[0]); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
