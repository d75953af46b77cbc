package contentsquare

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/sandbox"
	simulated "github.com/winchdata/winch/internal/sandbox/contentsquare"
	"github.com/winchdata/winch/internal/sandbox/sandboxtest"
	"github.com/winchdata/winch/pkg/connector"
)

// Whatever the vendor's undocumented manners are, what must land lands, given the
// settings for them.
func TestSandboxLandsWhole(t *testing.T) {
	t.Parallel()
	metricStreams := []string{"site_metrics", "page_group_metrics", "page_group_web_vitals", "zone_metrics"}
	for name, tc := range map[string]struct {
		manners  simulated.Options
		settings map[string]any
		streams  []string // those that it concerns; nil is all
		slice    int      // days of a window; zero is the stream's own
	}{
		"as assumed":    {},
		"many days":     {streams: metricStreams, slice: 5},
		"end included":  {manners: simulated.Options{InclusiveEnd: true}, settings: map[string]any{"range_end": "next_midnight"}, streams: metricStreams, slice: 5},
		"few days each": {settings: map[string]any{"max_days": 2}, streams: metricStreams[:1], slice: 5},
		"too heavy":     {manners: simulated.Options{HeavyDays: 2}, streams: metricStreams[:1], slice: 5},
		"retention":     {manners: simulated.Options{Retention: 2}, streams: metricStreams[:2], slice: 5},
		"no zoning":     {manners: simulated.Options{NoZoning404: true}, streams: []string{"zonings", "zones", "zone_metrics"}},
		"small pages":   {settings: map[string]any{"page_size": 2}, streams: []string{"export_jobs", "export_runs", "export_files"}},
		"nested":        {manners: simulated.Options{NestedFields: true}, streams: []string{simulated.SessionsExport}},
		"refused":       {manners: simulated.Options{Refused: []int{1}}, settings: map[string]any{"projects": map[string]any{"exclude": []int{43}}}, streams: []string{"segments"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			box, src := openSandbox(t, sandbox.Options{Contentsquare: tc.manners}, tc.settings)
			declared, err := src.Streams(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, st := range declared {
				if tc.streams == nil || slices.Contains(tc.streams, st.Name) {
					compare(t, box, src, st, tc.slice)
				}
			}
		})
	}
}

// lookedAt is how many days before the simulated now the tests read.
const lookedAt = 4

func compare(t *testing.T, box *sandbox.Sandbox, src connector.Source, st connector.Stream, slice int) {
	t.Helper()
	got := map[string]map[string]string{}
	all, err := slicesOf(t.Context(), src, st, box.AsOf(), slice)
	if err != nil {
		t.Fatal(err)
	}
	for _, req := range all {
		var out recorder
		if err := src.Pull(t.Context(), req, &out); err != nil {
			t.Fatalf("%s[%s] %s: %v", st.Name, req.Partition, req.Window, err)
		}
		for _, raw := range out.records {
			row := landed(t, st, raw)
			got[keyOf(st, row)] = row
		}
		if st.Mode == connector.ModeCursor && out.n > 0 && out.cursor == nil {
			t.Errorf("%s: no checkpoint after %d records", st.Name, out.n) // P2
		}
	}
	want := map[string]map[string]string{}
	for record := range box.ContentsquareTruth(st.Name, box.AsOf().AddDate(0, 0, -lookedAt).Truncate(day), time.Time{}) {
		row := wanted(st, record)
		want[keyOf(st, row)] = row
	}
	if len(want) == 0 {
		t.Errorf("%s: the sandbox has nothing to land", st.Name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: %d landed, %d wanted (-want +got):\n%.2000s", st.Name, len(got), len(want), diff)
	}
}

// slicesOf are the slices of the last days for each partition.
func slicesOf(ctx context.Context, src connector.Source, st connector.Stream, asOf time.Time, slice int) (all []connector.Request, err error) {
	partitions, err := src.(connector.Partitioner).Partitions(ctx, st.Name)
	if err != nil {
		return nil, err
	}
	if partitions == nil {
		partitions = []string{""}
	}
	for _, p := range partitions {
		req := connector.Request{Stream: st.Name, Partition: p, AsOf: asOf}
		if st.Mode != connector.ModeWindow {
			all = append(all, req)
			continue
		}
		days := max(slice, 1)
		for since := asOf.AddDate(0, 0, -lookedAt).Truncate(day); since.Before(asOf); since = since.AddDate(0, 0, days) {
			req.Window = connector.Window{Since: since, Until: since.AddDate(0, 0, days)}
			all = append(all, req)
		}
	}
	return all, nil
}

// Tokens of five seconds, over more than one life: every stream of every project
// lands whole, and tokens were renewed on the way.
func TestSandboxWithTokensOfFiveSeconds(t *testing.T) {
	t.Parallel()
	var lag atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(lag.Load())) }
	box, src := openSandbox(t, sandbox.Options{TokenLifetime: 5 * time.Second, Now: now}, nil)
	declared, err := src.Streams(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range declared {
		lag.Add(int64(6 * time.Second)) // between two streams the vendor's clock outruns every token
		compare(t, box, src, st, 0)
	}
	tokens := 0
	for name, s := range box.Stats().Tokens {
		if strings.Contains(name, "contentsquare") {
			tokens += int(s)
		}
	}
	if tokens < len(declared) {
		t.Errorf("%d tokens for %d streams: none was renewed", tokens, len(declared))
	}
}

// Figures of the last days are restated; read again they are those of then, and
// objects that vanished are no longer listed.
func TestSandboxIsReadAgainAfterItChanged(t *testing.T) {
	t.Parallel()
	box, src := openSandbox(t, sandbox.Options{}, nil)
	declared, err := src.Streams(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	read := func() {
		for _, st := range declared {
			if slices.Contains([]string{"segments", "site_metrics", "page_group_metrics", "export_runs", "export_files"}, st.Name) {
				compare(t, box, src, st, 0)
			}
		}
	}
	read()
	if err := box.SetAsOf(box.AsOf().Add(3 * day)); err != nil {
		t.Fatal(err)
	}
	read()
}

func TestSandboxProjectCredentials(t *testing.T) {
	t.Parallel()
	_, src := openSandbox(t, sandbox.Options{}, map[string]any{
		"credentials": "project", "client_id": "sandbox-cs-project", "client_secret": "sandbox;cs-Project",
	})
	got, err := src.(connector.Partitioner).Partitions(t.Context(), "segments")
	if diff := cmp.Diff([]string{"42"}, got); diff != "" || err != nil {
		t.Fatalf("%v (-want +got):\n%s", err, diff)
	}
	var out recorder
	if err := src.Pull(t.Context(), connector.Request{Stream: "segments", Partition: "42"}, &out); err != nil || out.n == 0 {
		t.Errorf("%d records, %v", out.n, err)
	}
}

func TestSandboxFaults(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		fault sandbox.Fault
		kind  connector.Kind // unknown: the pull survives
	}{
		{sandbox.Fault{Kind: sandbox.FaultUnauthorized, After: 2, Count: 1}, connector.KindUnknown},
		{sandbox.Fault{Kind: sandbox.FaultMovedBase, After: 2, Count: 1}, connector.KindUnknown},
		{sandbox.Fault{Kind: sandbox.FaultUnauthorized, After: 2}, connector.KindForbidden}, // of several projects
		{sandbox.Fault{Kind: sandbox.FaultErrorsWithOK, After: 2}, connector.KindBadResponse},
		{sandbox.Fault{Kind: sandbox.FaultHTML, After: 2}, connector.KindBadResponse},
		{sandbox.Fault{Kind: sandbox.FaultTruncated, After: 2}, connector.KindBadResponse},
		{sandbox.Fault{Kind: sandbox.FaultRepeatedPage}, connector.KindBadResponse},
		{sandbox.Fault{Kind: sandbox.FaultEndlessPages}, connector.KindBadResponse},
	} {
		t.Run(string(tc.fault.Kind)+"_"+tc.kind.String(), func(t *testing.T) {
			t.Parallel()
			tc.fault.Path = "/contentsquare/cloud-1/v1/exports"
			box, src := openSandbox(t, sandbox.Options{Faults: []sandbox.Fault{tc.fault}}, map[string]any{"page_size": 1})
			rows := map[string]bool{}
			var err error
			for _, partition := range []string{"42", "43", "44"} {
				var out recorder
				if err = src.Pull(t.Context(), connector.Request{Stream: "export_jobs", Partition: partition}, &out); err != nil {
					break
				}
				for _, record := range out.records {
					rows[record] = true
				}
			}
			if connector.KindOf(err) != tc.kind {
				t.Errorf("error %v of kind %s, want %s", err, connector.KindOf(err), tc.kind)
			}
			if want := len(slices.Collect(box.ContentsquareTruth("export_jobs", time.Time{}, time.Time{}))); err == nil && len(rows) != want {
				t.Errorf("%d records, want %d", len(rows), want)
			}
		})
	}
}

func openSandbox(t *testing.T, o sandbox.Options, settings map[string]any) (*sandbox.Sandbox, connector.Source) {
	t.Helper()
	served := sandboxtest.Start(t, "contentsquare", o, settings)
	src, err := openWith(t, served.Config)
	if err != nil {
		t.Fatal(err)
	}
	src.(*source).log = slog.New(slog.DiscardHandler)
	return served.Box, src
}

// landed is a record as its columns take it, each value as text.
func landed(t *testing.T, st connector.Stream, raw string) map[string]string {
	t.Helper()
	var fields map[string]json.RawMessage
	decode(t, []byte(raw), &fields)
	row := map[string]string{}
	for _, c := range st.Columns {
		value := fields[c.Source()[0]]
		switch {
		case c.Secret, c.Name == "period_end": // unpublished, and by the range that was asked for
		case c.Type == connector.TypeJSON:
			row[c.Name] = string(value)
		case c.Type == connector.TypeTimestamp && scalar(value) != "":
			at, err := time.Parse(time.RFC3339, scalar(value))
			if err != nil {
				t.Fatal(err)
			}
			row[c.Name] = at.UTC().Format(time.RFC3339)
		default:
			row[c.Name] = scalar(value)
		}
	}
	return row
}

// wanted is a record of the sandbox's truth in the same form.
func wanted(st connector.Stream, record map[string]any) map[string]string {
	row := map[string]string{}
	for _, c := range st.Columns {
		switch v := record[c.Name].(type) {
		case nil:
			row[c.Name] = ""
		case time.Time:
			row[c.Name] = v.Format(time.RFC3339)
		case json.RawMessage:
			row[c.Name] = string(v)
		default:
			row[c.Name] = fmt.Sprint(v)
		}
		if c.Secret || c.Name == "period_end" {
			delete(row, c.Name)
		}
	}
	return row
}

func keyOf(st connector.Stream, row map[string]string) string {
	parts := make([]string, len(st.PrimaryKey))
	for i, name := range st.PrimaryKey {
		parts[i] = row[name]
	}
	return strings.Join(parts, " | ")
}
