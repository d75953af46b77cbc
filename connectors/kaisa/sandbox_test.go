package kaisa

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/sandbox"
	simulated "github.com/winchdata/winch/internal/sandbox/kaisa"
	"github.com/winchdata/winch/internal/sandbox/sandboxtest"
	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/rest"
)

// Whatever the vendor's undocumented manners are, what must land lands, given the
// settings for them.
func TestSandboxLandsWhole(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		manners  simulated.Options
		settings map[string]any
		streams  []string // those that it concerns; nil is all
	}{
		"as assumed": {},
		"bounds excluded": {
			manners:  simulated.Options{ExclusiveTo: true},
			settings: map[string]any{"widgets": map[string]any{"to_date": "next_day"}},
			streams:  []string{"cdrs_in", "cdrs_out", "callbacks", "confirmation_callbacks", widgetDaily},
		},
		"next_day and bounds included": {
			settings: map[string]any{"widgets": map[string]any{"to_date": "next_day", "types": []string{callsPerDay}}},
			streams:  []string{widgetDaily},
		},
		"metadata as text": {
			manners:  simulated.Options{TextMetadata: true},
			settings: map[string]any{"page_size": 3},
			streams:  []string{"customers", "sources"},
		},
		"fixed page size": {
			manners:  simulated.Options{FixedPageSize: true},
			settings: map[string]any{"page_size": 3},
			streams:  []string{"customers", "sources", "users"},
		},
		"v3": {
			manners:  simulated.Options{Versions: []string{"3.1"}, OutboundPath: "statistics/cdrs/out", OutboundKey: "calls"},
			settings: map[string]any{"api": "v3", "version": "3.1", "paths": map[string]any{"cdrs_out": "statistics/cdrs/out"}},
			streams:  []string{"customers", "cdrs_out"},
		},
		"per customer": {
			settings: map[string]any{"widgets": map[string]any{"per": "customer"}},
			streams:  []string{widgetDaily},
		},
		"digest": {
			settings: map[string]any{
				"auth": "digest", "username": "sandbox-tag", "password": "sandbox-password",
				"client_id": nil, "client_secret": nil, "token_url": nil,
			},
			streams: []string{"customers", "campaigns"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			box, src := openSandbox(t, sandbox.Options{Kaisa: tc.manners}, tc.settings)
			declared, err := src.Streams(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, st := range declared {
				if tc.streams != nil && !slices.Contains(tc.streams, st.Name) {
					continue
				}
				got := map[string]map[string]string{}
				for _, req := range slicesOf(st, box.AsOf()) {
					var out recorder
					if err := src.Pull(t.Context(), req, &out); err != nil {
						t.Fatalf("%s %s: %v", st.Name, req.Window, err)
					}
					for _, raw := range out.records {
						row := landed(t, st, raw)
						got[keyOf(st, row)] = row
					}
				}
				want := map[string]map[string]string{}
				for record := range box.KaisaTruth(st.Name, box.AsOf().AddDate(0, 0, -4), box.AsOf().AddDate(0, 0, 31)) {
					row := wanted(st, record)
					if belongs(st.Name, name, row) {
						want[keyOf(st, row)] = row
					}
				}
				if len(want) == 0 && st.Name != "source_statuses" {
					t.Errorf("%s: the sandbox has nothing to land", st.Name)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s: %d landed, %d wanted (-want +got):\n%.2000s", st.Name, len(got), len(want), diff)
				}
			}
		})
	}
}

// belongs says which of the truth the settings of a case ask for.
func belongs(stream, name string, row map[string]string) bool {
	switch {
	case stream == "sources":
		return row["class"] == "0"
	case stream == widgetDaily && name == "next_day and bounds included":
		return row["customer_id"] == "0" && row["type"] == callsPerDay
	case stream == widgetDaily && name == "per customer":
		return row["customer_id"] != "0"
	case stream == widgetDaily:
		return row["customer_id"] == "0"
	}
	return true
}

func TestSandboxFaults(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		fault sandbox.Fault
		kind  connector.Kind // unknown: the pull survives
	}{
		{sandbox.Fault{Kind: sandbox.FaultUnauthorized, After: 2, Count: 1}, connector.KindUnknown},
		{sandbox.Fault{Kind: sandbox.FaultUnauthorized, After: 2}, connector.KindAuth},
		{sandbox.Fault{Kind: sandbox.FaultErrorsWithOK, After: 2}, connector.KindBadResponse},
		{sandbox.Fault{Kind: sandbox.FaultHTML, After: 2}, connector.KindBadResponse},
		{sandbox.Fault{Kind: sandbox.FaultTruncated, After: 2}, connector.KindBadResponse},
		{sandbox.Fault{Kind: sandbox.FaultRepeatedPage}, connector.KindBadResponse},
		{sandbox.Fault{Kind: sandbox.FaultEndlessPages}, connector.KindBadResponse},
	} {
		t.Run(string(tc.fault.Kind)+"_"+tc.kind.String(), func(t *testing.T) {
			t.Parallel()
			tc.fault.Path = "/customers"
			box, src := openSandbox(t, sandbox.Options{Faults: []sandbox.Fault{tc.fault}}, map[string]any{"page_size": 2})
			var out recorder
			err := src.Pull(t.Context(), connector.Request{Stream: "customers"}, &out)
			if connector.KindOf(err) != tc.kind {
				t.Errorf("error %v of kind %s, want %s", err, connector.KindOf(err), tc.kind)
			}
			if want := len(slices.Collect(box.KaisaTruth("customers", time.Time{}, time.Time{}))); err == nil && len(out.records) != want {
				t.Errorf("%d records, want %d", len(out.records), want)
			}
		})
	}
}

func openSandbox(t *testing.T, o sandbox.Options, settings map[string]any) (*sandbox.Sandbox, connector.Source) {
	t.Helper()
	served := sandboxtest.Start(t, "kaisa", o, settings)
	src, err := openWith(t, served.Config)
	if err != nil {
		t.Fatal(err)
	}
	return served.Box, src
}

// slicesOf are the slices of four days past and the whole of what is to come.
func slicesOf(st connector.Stream, asOf time.Time) []connector.Request {
	if st.Mode != connector.ModeWindow {
		return []connector.Request{{Stream: st.Name}}
	}
	var all []connector.Request
	until := asOf
	if st.Name != widgetDaily {
		until = asOf.AddDate(0, 0, 31)
	}
	for since := asOf.AddDate(0, 0, -4); since.Before(until); since = st.Slice.After(since) {
		all = append(all, connector.Request{Stream: st.Name, Window: connector.Window{Since: since, Until: st.Slice.After(since)}})
	}
	return all
}

// landed is a record as its columns take it, each value as text.
func landed(t *testing.T, st connector.Stream, raw string) map[string]string {
	t.Helper()
	row := map[string]string{}
	for _, c := range st.Columns {
		value := rest.Field([]byte(raw), c.Source()[0])
		if c.Type == connector.TypeJSON {
			var any any
			if len(value) > 0 {
				decode(t, value, &any)
			}
			row[c.Name] = fmt.Sprint(any)
			continue
		}
		row[c.Name] = scalarText(value)
	}
	return row
}

// wanted is a record of the sandbox's truth in the same form.
func wanted(st connector.Stream, record map[string]any) map[string]string {
	row := map[string]string{}
	for _, c := range st.Columns {
		value := record[c.Name]
		switch v := value.(type) {
		case nil:
			row[c.Name] = ""
			if c.Type == connector.TypeJSON {
				row[c.Name] = "<nil>"
			}
		case time.Time:
			row[c.Name] = v.Format(timeLayout)
			if c.Type == connector.TypeDate {
				row[c.Name] = v.Format(time.DateOnly)
			}
		case float64:
			row[c.Name] = strconv.FormatFloat(v, 'f', -1, 64)
		case json.RawMessage:
			row[c.Name] = string(v)
		default:
			row[c.Name] = fmt.Sprint(v)
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
