package fospha

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"

	"github.com/winchdata/winch/internal/sandbox"
	simulated "github.com/winchdata/winch/internal/sandbox/fospha"
	"github.com/winchdata/winch/internal/sandbox/sandboxtest"
	"github.com/winchdata/winch/pkg/connector"
)

// world is large enough for several pages.
func world(o sandbox.Options) sandbox.Options {
	o.Size, o.Days, o.AsOf = 28, 24, time.Date(2025, 3, 20, 15, 0, 0, 0, time.UTC)
	return o
}

// Whatever the vendor's unpublished manners are, what must land lands, given the
// settings for them; with discovered settings too.
func TestSandboxLandsWhole(t *testing.T) {
	t.Parallel()
	paging := func(more map[string]any) map[string]any {
		st := map[string]any{"name": "performance_daily", "preset": "performance_daily", "slice": "7d"}
		maps.Copy(st, more)
		return map[string]any{"streams": []any{st}}
	}
	for name, tc := range map[string]struct {
		manners  simulated.Options
		settings map[string]any
	}{
		"as assumed":            {},
		"us":                    {settings: map[string]any{"region": "us", "token_url": "US"}},
		"names of the app":      {manners: simulated.Options{AppNames: true}, settings: map[string]any{"token_param_names": map[string]any{"client_id": "app_client_id", "client_secret": "app_client_secret"}}},
		"basic":                 {settings: map[string]any{"token_auth_style": "basic"}},
		"a small page":          {manners: simulated.Options{MaxPage: 7}, settings: paging(nil)},
		"ranges exclude to":     {manners: simulated.Options{ExclusiveTo: true}, settings: paging(nil)},
		"same day":              {settings: paging(map[string]any{"dates": map[string]any{"from": "from", "to": "to", "end": "same_day"}})},
		"at most two days":      {manners: simulated.Options{MaxDays: 3}, settings: paging(nil)},
		"discovered":            {settings: map[string]any{"streams": "discover"}},
		"discovered, by page":   {manners: simulated.Options{Paging: "page", MaxPage: 11}, settings: map[string]any{"streams": "discover"}},
		"discovered, by cursor": {manners: simulated.Options{Paging: "cursor", MaxPage: 5}, settings: map[string]any{"streams": "discover"}},
		"discovered, by token":  {manners: simulated.Options{Paging: "token", MaxPage: 9}, settings: map[string]any{"streams": "discover"}},
		"discovered, unpaged":   {manners: simulated.Options{Paging: "none"}, settings: map[string]any{"streams": "discover"}},
		"discovered, brand in a header": {
			manners:  simulated.Options{BrandHeader: "X-Fospha-Client"},
			settings: map[string]any{"streams": "discover", "client_id_location": "header:X-Fospha-Client"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			settings := maps.Clone(tc.settings)
			served := sandboxtest.Start(t, "fospha", world(sandbox.Options{Fospha: tc.manners}), settings)
			box, config := served.Box, served.Config
			if config["token_url"] == "US" {
				config["token_url"] = strings.Replace(config["data_url"].(string), "{region}/graphql", "us/oauth2/token", 1)
			}
			stream := "performance_daily"
			if config["streams"] == "discover" {
				config["streams"] = discoveredStreams(t, config)
				stream = "performance"
			}
			src, err := openWith(t, config)
			if err != nil {
				t.Fatal(err)
			}
			declared, err := src.Streams(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			st := declared[0]
			if st.Name != stream || st.Mode != connector.ModeWindow || st.TimeColumn != "date" {
				t.Fatalf("stream %+v", st)
			}
			since, until := box.AsOf().AddDate(0, 0, -9).Truncate(24*time.Hour), box.AsOf().Truncate(24*time.Hour)
			got := map[string]map[string]string{}
			for _, brand := range []string{"SANDBOX_BRAND_A", "SANDBOX_BRAND_B"} {
				for day := since; day.Before(until); day = st.Slice.After(day) {
					end := st.Slice.After(day)
					if end.After(until) {
						end = until
					}
					var out recorder
					req := connector.Request{Stream: st.Name, Partition: brand, Window: connector.Window{Since: day, Until: end}}
					if err := src.Pull(t.Context(), req, &out); err != nil {
						t.Fatalf("%s %s: %v", brand, req.Window, err)
					}
					for _, raw := range out.records {
						row := landed(t, st, raw)
						got[keyOf(row)] = row
					}
				}
			}
			want := map[string]map[string]string{}
			for record := range box.FosphaTruth("performance_daily", since, until) {
				row := wanted(record)
				want[keyOf(row)] = row
			}
			if len(want) == 0 {
				t.Error("the sandbox has nothing to land")
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%d landed, %d wanted (-want +got):\n%.2000s", len(got), len(want), diff)
			}
		})
	}
}

// discoveredStreams discovers streams with the settings and returns them for the
// settings. Where the schema has no argument for the brand, the source's
// client_id_location is taken.
func discoveredStreams(t *testing.T, config map[string]any) any {
	t.Helper()
	without := maps.Clone(config)
	delete(without, "streams")
	src, err := openWith(t, without)
	if err != nil {
		t.Fatal(err)
	}
	text, err := src.(*source).Discover(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var found map[string]any
	if err := yaml.Unmarshal(text, &found); err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	list := found["streams"].([]any)
	if len(list) != 1 {
		t.Fatalf("%d streams:\n%s", len(list), text)
	}
	if first := list[0].(map[string]any); first["client_id_location"] == nil && !strings.Contains(string(text), "looks like a brand") {
		t.Errorf("nothing is said of the brand:\n%s", text)
	}
	return list
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
		{sandbox.Fault{Kind: sandbox.FaultHTML, Count: 1}, connector.KindBadResponse},                  // asking for less does not help
		{sandbox.Fault{Kind: sandbox.FaultHugeBody, Bytes: 65 << 20, Count: 1}, connector.KindUnknown}, // asking for less does
		{sandbox.Fault{Kind: sandbox.FaultTruncated, After: 2}, connector.KindBadResponse},
		{sandbox.Fault{Kind: sandbox.FaultRepeatedPage}, connector.KindBadResponse},
		{sandbox.Fault{Kind: sandbox.FaultEndlessPages}, connector.KindBadResponse},
		{sandbox.Fault{Kind: sandbox.FaultUnavailable, Count: 1}, connector.KindUnknown},
		{sandbox.Fault{Kind: sandbox.FaultCutOff, Count: 1}, connector.KindUnknown},
		{sandbox.Fault{Kind: sandbox.FaultReset, Count: 1}, connector.KindUnknown},
		{sandbox.Fault{Kind: sandbox.FaultRateSilent, Count: 1}, connector.KindUnknown},
		{sandbox.Fault{Kind: sandbox.FaultShortTokens}, connector.KindUnknown},
	} {
		t.Run(fmt.Sprintf("%s_%d_%s", tc.fault.Kind, tc.fault.Count, tc.kind), func(t *testing.T) {
			t.Parallel()
			if tc.fault.Kind != sandbox.FaultShortTokens {
				tc.fault.Path = "/graphql"
			}
			served := sandboxtest.Start(t, "fospha", world(sandbox.Options{Faults: []sandbox.Fault{tc.fault}, Fospha: simulated.Options{MaxPage: 4}}), nil)
			box, config := served.Box, served.Config
			src, err := openWith(t, config)
			if err != nil {
				t.Fatal(err)
			}
			w := connector.Window{Since: box.AsOf().AddDate(0, 0, -5).Truncate(24 * time.Hour), Until: box.AsOf().Truncate(24 * time.Hour)}
			var out recorder
			err = src.Pull(t.Context(), connector.Request{Stream: "performance_daily", Partition: "SANDBOX_BRAND_A", Window: w}, &out)
			if connector.KindOf(err) != tc.kind || (err == nil) != (tc.kind == connector.KindUnknown) {
				t.Errorf("error %v of kind %s, want %s", err, connector.KindOf(err), tc.kind)
			}
			if err != nil {
				return
			}
			got := map[string]bool{}
			for _, raw := range out.records {
				got[keyOf(landed(t, Definition().Streams[0], raw))] = true
			}
			for record := range box.FosphaTruth("performance_daily", w.Since, w.Until) {
				if row := wanted(record); row[clientIDColumn] == "SANDBOX_BRAND_A" && !got[keyOf(row)] {
					t.Errorf("missed %v", row)
				}
			}
		})
	}
}

// landed is a record as its columns take it, each value as text.
func landed(t *testing.T, st connector.Stream, raw string) map[string]string {
	t.Helper()
	row := map[string]string{}
	for _, c := range st.Columns {
		value, _ := lookup([]byte(raw), c.Source())
		row[c.Name] = scalar(value)
	}
	return row
}

// wanted is a record of the sandbox's truth in the same form.
func wanted(record map[string]any) map[string]string {
	row := map[string]string{}
	for name, value := range record {
		if day, ok := value.(time.Time); ok {
			value = day.Format(time.DateOnly)
		}
		row[name] = fmt.Sprint(value)
	}
	return row
}

func keyOf(row map[string]string) string {
	return strings.Join([]string{row[clientIDColumn], row["date"], row["market"], row["channel_group"], row["source"], row["campaign"]}, " | ")
}
