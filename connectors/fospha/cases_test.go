package fospha

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/pull"
	"github.com/winchdata/winch/internal/sandbox"
	simulated "github.com/winchdata/winch/internal/sandbox/fospha"
	"github.com/winchdata/winch/internal/sandbox/sandboxtest"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/internal/sink/sqlite"
	"github.com/winchdata/winch/pkg/connector"
)

// The tests of this file are the cases that the product's fact sheet on Fospha
// asks a fake server for.

func TestTokenHostsOfUKAndUSAreThePublishedOnes(t *testing.T) {
	t.Parallel()
	settings := func(region, more string) connector.Config {
		return connector.NewConfig(json.RawMessage(`{"region":"` + region + `","client_id":"a","client_secret":"b","data_url":"https://data.{region}.example.com/graphql"` + more + `}`))
	}
	for region, want := range map[string]string{
		"uk": "https://auth.fospha.com/oauth2/token",
		"us": "https://auth.us.fospha.com/oauth2/token",
	} {
		cfg, err := parse(settings(region, ""))
		if err != nil {
			t.Fatal(err)
		}
		if cfg.TokenURL != want || cfg.dataURL() != "https://data."+region+".example.com/graphql" {
			t.Errorf("%s: tokens from %s, data from %s", region, cfg.TokenURL, cfg.dataURL())
		}
	}
	_, err := parse(settings("au", ""))
	if connector.KindOf(err) != connector.KindConfig || !strings.Contains(err.Error(), "token_url: missing") {
		t.Errorf("a region without a published token URL: %v", err)
	}
	cfg, err := parse(settings("au", `,"token_url":"https://auth.example.com/token"`))
	if err != nil || cfg.TokenURL != "https://auth.example.com/token" {
		t.Errorf("a region with its own token URL: %s, %v", cfg.TokenURL, err)
	}
	cfg, err = parse(settings("uk", `,"base_url":"https://proxy.example.com/fospha"`))
	if err != nil || cfg.dataURL() != "https://proxy.example.com/fospha" {
		t.Errorf("base_url: %s, %v", cfg.dataURL(), err)
	}
}

func TestSecretAndScopeSurviveTheForm(t *testing.T) {
	t.Parallel()
	var form string
	v := newVendor(t)
	src := v.open(t, nil).(*source)
	if _, err := src.Token(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	form = v.seen()[0]
	for _, want := range []string{"client_secret=SECRET", "scope=api_data%2Fread", "grant_type=client_credentials"} {
		if !strings.Contains(form, want) { // SECRET stands for the exact encoding of + / & =
			t.Errorf("%s is not in %s", want, form)
		}
	}
	if !strings.ContainsAny(secretCanary, "+") || !strings.ContainsAny(secretCanary, "/") || !strings.ContainsAny(secretCanary, "&") || !strings.ContainsAny(secretCanary, "=") {
		t.Error("the secret of the test is too tame")
	}
}

func TestOneTokenServesAllStreamsAndA401RenewsItOnce(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	v.handle = func(w http.ResponseWriter, _ *http.Request, _ ask) {
		_, _ = io.WriteString(w, `{"data":{"performance":{"rows":[],"metadata":{"totalRows":0}}}}`)
	}
	src := v.open(t, map[string]any{"fospha_client_ids": []string{"A", "B"}, "streams": []any{
		map[string]any{"name": "one", "preset": "performance_daily"}, map[string]any{"name": "two", "preset": "performance_daily"},
	}})
	pullAll := func() {
		for _, stream := range []string{"one", "two"} {
			for _, brand := range []string{"A", "B"} {
				err := src.Pull(t.Context(), connector.Request{Stream: stream, Partition: brand, Window: window(t, "2025-01-01", "2025-01-02")}, &recorder{})
				if err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	pullAll()
	if v.tokens != 1 {
		t.Errorf("%d tokens for two streams of two brands", v.tokens)
	}
	v.mu.Lock()
	v.tokens++ // the one in use is good no longer
	v.mu.Unlock()
	var usage connector.UsageRecorder
	ctx := connector.WithUsage(t.Context(), &usage)
	if err := src.Pull(ctx, connector.Request{Stream: "one", Partition: "A", Window: window(t, "2025-01-01", "2025-01-02")}, &recorder{}); err != nil {
		t.Fatal(err)
	}
	if got := usage.Total(); got.RenewedOn401 != 1 || got.TokensFetched != 1 || got.Requests != 2 {
		t.Errorf("after one 401: %+v", got)
	}
}

func TestWrongCredentialsAreFinalAndSecret(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	src := v.open(t, map[string]any{"client_secret": secretCanary + "-wrong", "token_param_names": map[string]any{"client_id": "a", "client_secret": "b"}})
	v.answers = nil
	server := v.server
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v.mu.Lock()
		v.requests = append(v.requests, r.URL.Path)
		v.mu.Unlock()
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"error":"invalid_client"}`)
	})
	err := src.Pull(t.Context(), connector.Request{Stream: "performance_daily", Window: window(t, "2025-01-01", "2025-01-08")}, &recorder{})
	if connector.KindOf(err) != connector.KindAuth || !strings.Contains(err.Error(), "invalid_client") {
		t.Errorf("%v of kind %s", err, connector.KindOf(err))
	}
	if diff := cmp.Diff([]string{"/oauth2/token"}, v.seen()); diff != "" {
		t.Errorf("it was tried again, or data was asked for: %s", diff)
	}
	noCanary(t, fmt.Sprintf("%v %s %s", err, connector.HintOf(err), v.log.String()))
}

func TestAForbiddenBrandIsSkippedAndTheOthersGoOn(t *testing.T) {
	t.Parallel()
	for name, manners := range map[string]simulated.Options{
		"status 403": {},
		"status 200": {ForbiddenWithOK: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			manners.Brands, manners.Forbidden = []string{"GOOD", "CLOSED", "FINE"}, []string{"CLOSED"}
			w := newWarehouse(t, sandbox.Options{Fospha: manners}, map[string]any{"fospha_client_ids": manners.Brands})
			res := w.pull(t)
			if res.Status != sink.Incomplete || len(res.Streams) != 1 {
				t.Fatalf("run: %+v", res)
			}
			st := res.Streams[0]
			if connector.KindOf(st.Err) != connector.KindForbidden || !strings.Contains(connector.HintOf(st.Err), "fospha_client_id CLOSED") {
				t.Errorf("error %v, hint %s", st.Err, connector.HintOf(st.Err))
			}
			if st.Slices != 2*st.Due/3 || st.Failed == 0 {
				t.Errorf("%d of %d slices landed", st.Slices, st.Due)
			}
			if diff := cmp.Diff([]string{"FINE", "GOOD"}, w.brands(t)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestErrorsWith200AreNeverZeroRows(t *testing.T) {
	t.Parallel()
	w := newWarehouse(t, sandbox.Options{}, nil)
	w.pull(t)
	before := w.rows(t)
	if len(before) == 0 {
		t.Fatal("nothing has landed")
	}
	if _, err := w.box.AddFault(sandbox.Fault{Kind: sandbox.FaultErrorsWithOK, Path: "/graphql"}); err != nil {
		t.Fatal(err)
	}
	if res := w.pull(t); res.Status != sink.FailedRun {
		t.Errorf("the run of refused slices: %s", res.Status)
	}
	if diff := cmp.Diff(before, w.rows(t)); diff != "" {
		t.Errorf("rows have changed (-before +after):\n%.1000s", diff)
	}
}

func TestRefusedIntrospectionLeavesTheConfiguredQuery(t *testing.T) {
	t.Parallel()
	w := newWarehouse(t, sandbox.Options{Fospha: simulated.Options{NoIntrospection: true}}, nil)
	src := w.open(t)
	found, err := src.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(found, func(f connector.Finding) bool { return f.Name == "introspection" })
	if i < 0 || !strings.Contains(found[i].Detail, "refused") {
		t.Errorf("findings: %+v", found)
	}
	if _, err := src.Discover(t.Context()); connector.KindOf(err) != connector.KindForbidden || connector.HintOf(err) == "" {
		t.Errorf("discover: %v", err)
	}
	w.pull(t)
	w.holdsTruth(t)
}

func TestARestatedDayHoldsOnlyWhatIsSaidLast(t *testing.T) {
	t.Parallel()
	w := newWarehouse(t, sandbox.Options{}, nil)
	w.pull(t)
	w.holdsTruth(t)
	before := w.rows(t)
	for range 4 {
		if err := w.box.SetAsOf(w.box.AsOf().AddDate(0, 0, 1)); err != nil {
			t.Fatal(err)
		}
		res := w.pull(t)
		w.holdsTruth(t)
		if res.Counts.Deleted == 0 || res.Counts.Updated == 0 {
			t.Errorf("nothing has moved or changed: %+v", res.Counts)
		}
	}
	moved := 0
	after := w.rows(t)
	for key := range before {
		if _, ok := after[key]; !ok {
			moved++
		}
	}
	if moved == 0 {
		t.Error("no campaign has moved to another channel")
	}
}

func TestFractionalConversionsKeepTheirDecimals(t *testing.T) {
	t.Parallel()
	w := newWarehouse(t, sandbox.Options{}, nil)
	w.pull(t)
	fractions := 0
	for _, row := range w.rows(t) {
		if strings.Contains(row["conversions"], ".") {
			fractions++
		}
	}
	if fractions == 0 {
		t.Error("no conversions with decimals have landed")
	}
	w.holdsTruth(t) // to the last digit
}

// Fospha tells of no flag for the newest day, which is partly predicted: the
// lookback reads it until it is settled.
func TestTheNewestDayIsReadAgainUntilItIsSettled(t *testing.T) {
	t.Parallel()
	w := newWarehouse(t, sandbox.Options{}, nil)
	w.pull(t)
	newest := w.box.AsOf().AddDate(0, 0, -2).Format(time.DateOnly) // lag 1d: the day before yesterday has ended a day ago
	first := w.day(t, newest)
	if len(first) == 0 {
		t.Fatalf("%s has not landed", newest)
	}
	if err := w.box.SetAsOf(w.box.AsOf().AddDate(0, 0, 1)); err != nil {
		t.Fatal(err)
	}
	w.pull(t)
	if cmp.Diff(first, w.day(t, newest)) == "" {
		t.Error("the newest day has not changed on the next run")
	}
	if err := w.box.SetAsOf(w.box.AsOf().AddDate(0, 0, 11)); err != nil {
		t.Fatal(err)
	}
	w.pull(t)
	settled := w.day(t, newest)
	if err := w.box.SetAsOf(w.box.AsOf().AddDate(0, 0, 30)); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for record := range w.box.FosphaTruth("performance_daily", parseTime(t, newest), parseTime(t, newest).AddDate(0, 0, 1)) {
		row := wanted(record)
		want[keyOf(row)] = row["conversions"]
	}
	got := map[string]string{}
	for key, row := range settled {
		got[key] = row["conversions"]
	}
	if len(want) != len(got) {
		t.Errorf("%d campaigns settled, want %d", len(got), len(want))
	}
	for _, st := range w.open(t).streams {
		if _, ok := st.Column("provisional"); ok {
			t.Error("a flag that Fospha does not send is declared")
		}
	}
}

// Tokens of five seconds end in the middle of a pull, by the vendor's clock.
func TestTokensOfFiveSecondsDoNotInterruptAPull(t *testing.T) {
	t.Parallel()
	var lapsed atomic.Int64
	begin := time.Now()
	o := sandbox.Options{
		TokenLifetime: 5 * time.Second,
		Fospha:        simulated.Options{MaxPage: 2},
		Now:           func() time.Time { return begin.Add(time.Duration(lapsed.Load())) },
	}
	w := newWarehouse(t, o, map[string]any{"concurrency": 1}) // else a new token may end before it is used
	w.before = func(*http.Request) { lapsed.Add(int64(300 * time.Millisecond)) }
	res := w.pull(t)
	w.holdsTruth(t)
	if res.Status != sink.Succeeded || res.Usage.RenewedOn401 < 2 {
		t.Errorf("%s, %d tokens renewed in %d requests", res.Status, res.Usage.RenewedOn401, res.Usage.Requests)
	}
}

// A warehouse is a sandbox, a source of it, and a store.
type warehouse struct {
	box      *sandbox.Sandbox
	settings map[string]any
	sink     sink.Sink
	path     string
	before   func(*http.Request) // each request of the sandbox
}

func newWarehouse(t *testing.T, o sandbox.Options, settings map[string]any) *warehouse {
	t.Helper()
	w := &warehouse{path: filepath.Join(t.TempDir(), "w.db")}
	served := sandboxtest.Start(t, "fospha", world(o), settings)
	served.Before = func(r *http.Request) {
		if w.before != nil {
			w.before(r)
		}
	}
	w.box, w.settings = served.Box, served.Config
	store, err := sqlite.Open(t.Context(), w.path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	if _, err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.sink = store
	return w
}

func (w *warehouse) open(t *testing.T) *source {
	t.Helper()
	src, err := openWith(t, w.settings)
	if err != nil {
		t.Fatal(err)
	}
	return src.(*source)
}

// since is where the pulls of a warehouse begin: some days before the sandbox's
// first now.
func (w *warehouse) since() time.Time { return w.box.Begin().AddDate(0, 0, 18) }

// pull reads what is due at the sandbox's now.
func (w *warehouse) pull(t *testing.T) pull.Result {
	t.Helper()
	src := w.open(t)
	puller := &pull.Puller{Sink: w.sink, Log: slog.New(slog.DiscardHandler), Backoff: time.Millisecond}
	res, err := puller.Run(t.Context(), pull.Job{
		Source: "fospha_test", Connector: "fospha", Trigger: "test", AsOf: w.box.AsOf(),
		Open: func(context.Context) (*pull.Session, error) {
			return &pull.Session{Source: src, Alive: func() bool { return true }, Close: func() error { return nil }}, nil
		},
		Select: func(offered []connector.Stream) (wants []ledger.Want, err error) {
			for _, st := range offered {
				if !st.Optional {
					wants = append(wants, ledger.Want{Source: "fospha_test", Stream: st, Since: w.since(), Slice: st.Slice, Lookback: st.Lookback, Lag: st.Lag})
				}
			}
			return wants, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// rows are the rows of the table, as text, by their keys.
func (w *warehouse) rows(t *testing.T) map[string]map[string]string {
	t.Helper()
	db, err := sql.Open("sqlite", w.path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var names []string
	for _, c := range Definition().Streams[0].Columns {
		names = append(names, c.Name)
	}
	list, err := db.QueryContext(t.Context(), `SELECT `+strings.Join(names, ", ")+` FROM "fospha_test.performance_daily"`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = list.Close() }()
	all := map[string]map[string]string{}
	for list.Next() {
		values := make([]sql.NullString, len(names))
		into := make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		if err := list.Scan(into...); err != nil {
			t.Fatal(err)
		}
		row := map[string]string{}
		for i, name := range names {
			row[name] = values[i].String
		}
		all[keyOf(row)] = row
	}
	if err := list.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

func (w *warehouse) day(t *testing.T, day string) map[string]map[string]string {
	t.Helper()
	rows := w.rows(t)
	for key, row := range rows {
		if row["date"] != day {
			delete(rows, key)
		}
	}
	return rows
}

func (w *warehouse) brands(t *testing.T) (names []string) {
	t.Helper()
	for _, row := range w.rows(t) {
		if !slices.Contains(names, row[clientIDColumn]) {
			names = append(names, row[clientIDColumn])
		}
	}
	slices.Sort(names)
	return names
}

// holdsTruth compares the table with what must have landed by the sandbox's now,
// given a pull on each day.
func (w *warehouse) holdsTruth(t *testing.T) {
	t.Helper()
	want := map[string]map[string]string{}
	for record := range w.box.FosphaTruth("performance_daily", w.since(), w.box.AsOf().AddDate(0, 0, -1).Truncate(24*time.Hour)) {
		row := wanted(record)
		want[keyOf(row)] = row
	}
	got := w.rows(t)
	if len(want) == 0 {
		t.Error("the sandbox has nothing to land")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%d landed, %d wanted (-want +got):\n%.2000s", len(got), len(want), diff)
	}
}
