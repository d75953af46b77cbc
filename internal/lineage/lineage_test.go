package lineage_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/lineage"
	"github.com/winchdata/winch/internal/lineage/lineagetest"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

var (
	run = lineage.Run{
		Source: "kaisa_se", Connector: "kaisa", Trigger: "tick", ID: 7, TraceID: "4bf92f3577b34da6a3ce929d0e0e4736",
		StartedAt: time.Date(2026, time.March, 9, 2, 0, 1, 123456000, time.UTC), Nominal: time.Date(2026, time.March, 9, 2, 0, 0, 0, time.UTC),
	}
	calls = lineage.Stream{
		Stream: connector.Stream{
			Name: "calls", Description: "One row for each call.", DocsURL: "https://example.com/calls",
			Columns: []connector.Column{
				{Name: "id", Type: connector.TypeBigint, Description: "Its number."},
				{Name: "seconds", Type: connector.TypeNumeric, Path: []string{"duration", "seconds"}},
				{Name: "pin", Type: connector.TypeText, Secret: true},
			},
		},
		Table: sink.Dataset{Namespace: "postgres://db.example.com:5432", Name: "data.kaisa_se.calls", URI: "postgres://db.example.com:5432"},
	}
)

func start(t *testing.T, url string, o lineage.Options) (*lineage.Teller, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	o.URL, o.Version, o.Log = url+"/api/v1/lineage", "v1.2.3", slog.New(slog.NewTextHandler(&log, nil))
	return lineage.Start(t.Context(), o), &log
}

func tell(l *lineage.Teller) {
	l.Begun(run)
	l.BegunStream(run, calls)
	l.EndedStream(run, calls, lineage.End{
		Outcome: sink.Incomplete, Err: errors.New("no answer"),
		Counts: ledger.Counts{Rows: 10, Inserted: 3, Updated: 2, Unchanged: 5, Quarantined: 1}, Usage: connector.Usage{Bytes: 4096},
	})
	l.Ended(run, lineage.End{Outcome: sink.Incomplete, Err: errors.New("no answer")})
}

// The receiver holds each event and facet to the published schema.
func TestARunIsToldWithItsStreams(t *testing.T) {
	t.Parallel()
	r := lineagetest.New(t)
	l, log := start(t, r.URL, lineage.Options{APIKey: connector.NewSecret("canary"), Namespace: "production"})
	tell(l)
	if err := l.Shutdown(t.Context()); err != nil || log.Len() > 0 {
		t.Fatal(err, log)
	}
	events := r.Events()
	if got, want := fmt.Sprint(events), "[START kaisa_se START kaisa_se.calls FAIL kaisa_se.calls FAIL kaisa_se]"; got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	for i, e := range events {
		if e.Job.Namespace != "production" || r.Keys()[i] != "Bearer canary" {
			t.Errorf("%s: namespace %s, key %q", e, e.Job.Namespace, r.Keys()[i])
		}
	}
	whole, end := events[0], events[2]
	if whole.Time != "2026-03-09T02:00:01.123Z" || whole.Run.Facets["nominalTime"]["nominalStartTime"] != "2026-03-09T02:00:00.000Z" || len(whole.Outputs) > 0 {
		t.Errorf("the run as a whole: %+v", whole)
	}
	if whole.Run.ID != events[3].Run.ID || end.Run.ID != events[1].Run.ID || end.Run.ID == whole.Run.ID {
		t.Errorf("runs: %v", events)
	}
	if parent, _ := end.Run.Facets["parent"]["run"].(map[string]any); parent["runId"] != whole.Run.ID {
		t.Errorf("parent: %v", end.Run.Facets["parent"])
	}
	if end.Run.Facets["errorMessage"]["message"] != "no answer" {
		t.Errorf("error: %v", end.Run.Facets["errorMessage"])
	}
	in, out := end.Inputs[0], end.Outputs[0]
	if in.Namespace != "kaisa://kaisa_se" || in.Name != "calls" || in.InputFacets["inputStatistics"]["rowCount"] != 11.0 || in.InputFacets["inputStatistics"]["size"] != 4096.0 {
		t.Errorf("input: %+v", in)
	}
	if out.Namespace != "postgres://db.example.com:5432" || out.Name != "data.kaisa_se.calls" || out.OutputFacets["outputStatistics"]["rowCount"] != 5.0 {
		t.Errorf("output: %+v", out)
	}
	if about := out.Facets["documentation"]["description"]; about != "One row for each call. https://example.com/calls" {
		t.Errorf("documentation: %v", about)
	}
	for _, set := range []struct {
		of   lineagetest.Set
		want string
	}{{in, "[id bigint Its number. duration.seconds numeric <nil> pin text <nil>]"}, {out, "[id bigint Its number. seconds numeric <nil>]"}} {
		var columns []any
		for _, field := range set.of.Facets["schema"]["fields"].([]any) {
			f := field.(map[string]any)
			columns = append(columns, f["name"], f["type"], f["description"])
		}
		if got := fmt.Sprint(columns); got != set.want {
			t.Errorf("columns of %s: %s, want %s", set.of.Namespace, got, set.want)
		}
	}
}

// Who takes over knows of the run what the store keeps, and ends it.
func TestALostRunIsEndedByWhoTakesOver(t *testing.T) {
	t.Parallel()
	r := lineagetest.New(t)
	l, _ := start(t, r.URL, lineage.Options{})
	l.Begun(run)
	l.BegunStream(run, calls)
	known := lineage.Run{Source: run.Source, Connector: run.Connector, ID: run.ID, StartedAt: run.StartedAt.In(time.FixedZone("", 3600))}
	l.Lost(known, "calls")
	l.Lost(known, "")
	if err := l.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	events := r.Events()
	if got, want := fmt.Sprint(events), "[START kaisa_se START kaisa_se.calls ABORT kaisa_se.calls ABORT kaisa_se]"; got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	if events[0].Run.ID != events[3].Run.ID || events[1].Run.ID != events[2].Run.ID {
		t.Errorf("other runs were ended: %v", events)
	}
	if diff := cmp.Diff("018d", events[0].Run.ID[:4]); diff == "" || events[0].Run.ID[14] != '7' {
		t.Errorf("no UUID of version 7: %s", events[0].Run.ID)
	}
}

func TestARunWithinAnotherProgramsRun(t *testing.T) {
	t.Parallel()
	const id = "01941f29-7c00-7087-94c4-9b2c7a6a1a2b"
	r := lineagetest.New(t)
	l, _ := start(t, r.URL, lineage.Options{Parent: lineage.ParseParent("https://airflow/prod/nightly.pull/" + id)})
	l.Begun(run)
	l.BegunStream(run, calls)
	if err := l.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	events := r.Events()
	want := map[string]any{"run": map[string]any{"runId": id}, "job": map[string]any{"namespace": "https://airflow/prod", "name": "nightly.pull"}}
	for i, got := range []any{events[0].Run.Facets["parent"], events[1].Run.Facets["parent"]["root"]} {
		facet := got.(map[string]any)
		if diff := cmp.Diff(want, map[string]any{"run": facet["run"], "job": facet["job"]}); diff != "" {
			t.Errorf("%d (-want +got):\n%s", i, diff)
		}
	}
	for _, text := range []string{"", "job", "a/b/c", "a/" + id} {
		if p := lineage.ParseParent(text); p != (lineage.Parent{}) {
			t.Errorf("%q: %+v", text, p)
		}
	}
}

func TestAReceiverThatIsBusyIsAskedAgain(t *testing.T) {
	t.Parallel()
	r := lineagetest.New(t, 503, 429)
	l, log := start(t, r.URL, lineage.Options{})
	tell(l)
	if err := l.Shutdown(t.Context()); err != nil || len(r.Events()) != 4 || log.Len() > 0 {
		t.Errorf("%v: %v\n%s", err, r.Events(), log)
	}
}

// Telling never waits, and the end waits as long as it is allowed to.
func TestAReceiverThatIsAwayOrRefusesDelaysNobody(t *testing.T) {
	t.Parallel()
	stuck := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then the server sees the sender go
		<-r.Context().Done()
	}))
	t.Cleanup(stuck.Close)
	refusing := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, "http://127.0.0.1:1/elsewhere", http.StatusTemporaryRedirect)
	}))
	t.Cleanup(refusing.Close)
	for name, url := range map[string]string{"stuck": stuck.URL, "refusing": refusing.URL} {
		l, log := start(t, url, lineage.Options{APIKey: connector.NewSecret("canary")})
		for range 3000 { // more than may wait
			tell(l)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		_ = l.Shutdown(ctx) // whether the time was enough is not the question
		cancel()
		l.Begun(run)
		text := log.String()
		if !strings.Contains(text, "events of lineage were lost") || strings.Count(text, "not taken") > 1 || strings.Contains(text, "canary") {
			t.Errorf("%s: %s", name, text)
		}
	}
}
