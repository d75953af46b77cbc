package generic

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/record"
	"github.com/winchdata/winch/internal/sandbox"
	simulated "github.com/winchdata/winch/internal/sandbox/fuuffy"
	"github.com/winchdata/winch/internal/sandbox/sandboxtest"
	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/rest"
)

func openSandbox(t *testing.T, o sandbox.Options, settings map[string]any) (*sandbox.Sandbox, connector.Source) {
	t.Helper()
	served := sandboxtest.Start(t, "generic", o, settings)
	src, err := openWith(t, served.Config)
	if err != nil {
		t.Fatal(err)
	}
	return served.Box, src
}

// Whatever the vendor's undocumented manners are, what must land lands, and
// nothing is sent that could change something.
func TestSandboxLandsWhole(t *testing.T) {
	t.Parallel()
	for name, manners := range map[string]simulated.Options{
		"as assumed":          {},
		"dates excluded":      {ExclusiveDates: true},
		"dates in UTC":        {DatesUTC: true},
		"dates excluded, UTC": {ExclusiveDates: true, DatesUTC: true},
		"pagination":          {Pagination: true},
		"data as string":      {DataAsString: true},
		"tokens of 5 seconds": {TokenLifetime: 5 * time.Second},
		"within limits":       {PerMinute: 100_000, PerHour: 1_000_000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			box, src := openSandbox(t, sandbox.Options{Fuuffy: manners}, nil)
			declared, err := src.Streams(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, st := range declared {
				got := map[string]map[string]string{}
				for _, req := range requests(st, box) {
					out, err := pull(t, src, req)
					if err != nil {
						t.Fatalf("%s %s: %v", st.Name, req.Window, err)
					}
					for _, raw := range out.records {
						row := landed(t, st, raw)
						got[keyOf(st, row)] = row
					}
				}
				want := map[string]map[string]string{}
				for truth := range box.FuuffyTruth(st.Name, time.Time{}, time.Time{}) {
					row := wanted(st, truth)
					want[keyOf(st, row)] = row
				}
				if len(want) == 0 {
					t.Errorf("%s: the sandbox has nothing to land", st.Name)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s: %d landed, %d wanted (-want +got):\n%.2000s", st.Name, len(got), len(want), diff)
				}
			}
			if violations := box.FuuffyViolations(); len(violations) > 0 {
				t.Errorf("sent %q", violations)
			}
		})
	}
}

// requests are the windows of the whole history, or the one request of other
// streams.
func requests(st connector.Stream, box *sandbox.Sandbox) []connector.Request {
	if st.Mode != connector.ModeWindow {
		return []connector.Request{{Stream: st.Name, AsOf: box.AsOf()}}
	}
	var all []connector.Request
	for since := box.Begin(); since.Before(box.AsOf()); since = st.Slice.After(since) {
		all = append(all, connector.Request{
			Stream: st.Name, AsOf: box.AsOf(), Window: connector.Window{Since: since, Until: st.Slice.After(since)},
		})
	}
	return all
}

// Tokens of five seconds end in the middle of a pull. The vendor's clock goes a
// second further with each look at it, so that nobody has to wait for that.
func TestPullsOutliveTheirTokens(t *testing.T) {
	t.Parallel()
	var seconds atomic.Int64
	box, src := openSandbox(t, sandbox.Options{
		TokenLifetime: 5 * time.Second,
		Now:           func() time.Time { return time.Unix(1_800_000_000+seconds.Add(1), 0) },
	}, nil)
	var used connector.UsageRecorder
	out := new(recorder)
	ctx := connector.WithUsage(t.Context(), &used)
	if err := src.Pull(ctx, connector.Request{Stream: "order_details", AsOf: box.AsOf()}, out); err != nil {
		t.Fatal(err)
	}
	want := len(slices.Collect(box.FuuffyTruth("order_details", time.Time{}, time.Time{})))
	if len(out.records) != want || len(ids(out.records)) != want {
		t.Errorf("%d records, want %d", len(out.records), want)
	}
	if renewed := used.Total().RenewedOn401; renewed < 5 {
		t.Errorf("%d tokens renewed: the test proves little", renewed)
	}
}

// Stopped anywhere and resumed from its last checkpoint, a pull of the details
// emits what it would have without the stop (P1, P2, P5).
func TestDetailsStoppedAnywhereAreWhole(t *testing.T) {
	t.Parallel()
	box, src := openSandbox(t, sandbox.Options{Size: 4, Days: 25}, nil)
	req := connector.Request{Stream: "order_details", Since: box.Begin(), AsOf: box.AsOf()}
	whole, err := pull(t, src, req)
	if err != nil {
		t.Fatal(err)
	}
	if len(whole.cursors) < 4 {
		t.Fatalf("only %d checkpoints: the test proves little", len(whole.cursors))
	}
	want := ids(whole.records)
	for stop := 1; stop <= whole.events; stop += 5 {
		held := map[string]bool{}
		out := &recorder{stopAt: stop}
		if err := src.Pull(t.Context(), req, out); err == nil { // P3
			t.Fatalf("stopped at event %d: no error", stop)
		}
		resumed := req
		if n := len(out.cursors); n > 0 {
			resumed.Cursor = out.cursors[n-1]
			held = ids(out.records) // all of them: what is emitted twice is the same
		}
		again, err := pull(t, src, resumed)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(again.cursors); n == 0 || again.events != len(again.records)+n {
			t.Fatalf("stopped at event %d: the resumed pull has %d checkpoints", stop, n)
		}
		for id := range ids(again.records) {
			held[id] = true
		}
		if diff := cmp.Diff(want, held); diff != "" {
			t.Fatalf("stopped at event %d (-want +got):\n%s", stop, diff)
		}
		if diff := cmp.Diff(string(whole.cursors[len(whole.cursors)-1]), string(again.cursors[len(again.cursors)-1])); diff != "" {
			t.Fatalf("stopped at event %d: last cursor (-want +got):\n%.500s", stop, diff)
		}
	}
}

func ids(records []string) map[string]bool {
	all := map[string]bool{}
	for _, raw := range records {
		all[scalarText(rest.Field([]byte(raw), "order_id"))] = true
	}
	return all
}

func TestSandboxFaults(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		fault sandbox.Fault
		kind  connector.Kind // unknown: the pull survives
	}{
		{sandbox.Fault{Kind: sandbox.FaultUnauthorized, Count: 1}, connector.KindUnknown},
		{sandbox.Fault{Kind: sandbox.FaultUnauthorized}, connector.KindAuth},
		{sandbox.Fault{Kind: sandbox.FaultErrorsWithOK}, connector.KindBadResponse},
		{sandbox.Fault{Kind: sandbox.FaultHTML}, connector.KindBadResponse},
		{sandbox.Fault{Kind: sandbox.FaultTruncated}, connector.KindBadResponse},
		{sandbox.Fault{Kind: sandbox.FaultRepeatedPage}, connector.KindBadResponse},
		{sandbox.Fault{Kind: sandbox.FaultEndlessPages}, connector.KindBadResponse},
		{sandbox.Fault{Kind: sandbox.FaultRateSeconds, Count: 1, Delay: time.Second}, connector.KindUnknown},
	} {
		t.Run(fmt.Sprintf("%s_%s", tc.fault.Kind, tc.kind), func(t *testing.T) {
			t.Parallel()
			tc.fault.Path = "/order/list"
			box, src := openSandbox(t, sandbox.Options{Size: 60, Faults: []sandbox.Fault{tc.fault}}, nil)
			out, err := pull(t, src, lastDays(box, 15))
			if connector.KindOf(err) != tc.kind {
				t.Errorf("error %v of kind %s, want %s", err, connector.KindOf(err), tc.kind)
			}
			since := box.AsOf().AddDate(0, 0, -15)
			if want := len(slices.Collect(box.FuuffyTruth("orders", since, box.AsOf()))); err == nil && (len(out.records) != want || want < 101) {
				t.Errorf("%d records, want %d", len(out.records), want)
			}
		})
	}
}

// landed is a record as the agent stores it, each value as text.
func landed(t *testing.T, st connector.Stream, raw string) map[string]string {
	t.Helper()
	decoder, err := record.NewDecoder(st)
	if err != nil {
		t.Fatal(err)
	}
	var row record.Row
	if err := decoder.Decode([]byte(raw), &row); err != nil {
		t.Fatalf("%s: %v in %s", st.Name, err, raw)
	}
	texts := map[string]string{}
	for i, c := range decoder.Columns() {
		texts[c.Name] = rendered(c, &row.Values[i])
	}
	return texts
}

func rendered(c connector.Column, v *record.Value) string {
	switch {
	case v.Null:
		return "null"
	case c.Type == connector.TypeTimestamp:
		return time.UnixMicro(v.Int).UTC().Format(time.RFC3339)
	case c.Type == connector.TypeBoolean:
		return fmt.Sprint(v.Int == 1)
	case c.Type == connector.TypeJSON:
		value, err := decodeJSON(v.Bytes)
		if err != nil {
			return err.Error()
		}
		return fmt.Sprint(value)
	default:
		return string(v.Bytes)
	}
}

// wanted is a record of the sandbox's truth in the same form.
func wanted(st connector.Stream, truth map[string]any) map[string]string {
	row := map[string]string{}
	for _, c := range st.Columns {
		switch v := truth[c.Name].(type) {
		case nil:
			row[c.Name] = "null"
		case time.Time:
			row[c.Name] = v.UTC().Format(time.RFC3339)
		default:
			row[c.Name] = fmt.Sprint(v)
			if c.Type == connector.TypeBoolean {
				row[c.Name] = fmt.Sprint(v == "Y")
			}
		}
	}
	return row
}

func keyOf(st connector.Stream, row map[string]string) string {
	key := ""
	for _, name := range st.PrimaryKey {
		key += row[name] + "|"
	}
	return key
}

// lastDays is a request for the orders of the last days.
func lastDays(box *sandbox.Sandbox, days int) connector.Request {
	return connector.Request{Stream: "orders", AsOf: box.AsOf(), Window: connector.Window{Since: box.AsOf().AddDate(0, 0, -days), Until: box.AsOf()}}
}
