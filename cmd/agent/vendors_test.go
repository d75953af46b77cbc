package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"iter"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/google/go-cmp/cmp"
	_ "modernc.org/sqlite" // reads the tables as anybody may

	"github.com/winchdata/winch/internal/config"
	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/pull"
	"github.com/winchdata/winch/internal/sandbox"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// The table of vendors: each bundled connector, as a process, lands its whole
// simulated account in a store while tokens live five seconds and each kind of
// fault strikes its share of the requests. Whatever the dice say, in the end the
// rows are the truth that the sandbox computes from its seed. `make vendors`
// prints it for larger accounts.

const (
	tokenLifetime = 5 * time.Second
	faultShare    = 0.02
	// mostPulls is after how many pulls an account that is not whole never will
	// be.
	mostPulls = 200
)

// everyFault is each kind of fault, at its share of the requests that it can
// strike. Waits and bodies are as short as still shows the fault.
func everyFault() []sandbox.Fault {
	var all []sandbox.Fault
	for _, kind := range sandbox.FaultKinds() {
		f := sandbox.Fault{Kind: kind, Probability: faultShare}
		if kind == sandbox.FaultSlow {
			f.Delay = 200 * time.Millisecond
		}
		if kind == sandbox.FaultHugeBody {
			f.Bytes = 65 << 20 // just beyond what rest takes
		}
		all = append(all, f)
	}
	return all
}

// An account is the simulated account of one vendor.
type account struct {
	vendor  string // its place in the sandbox
	source  string
	truth   func(*sandbox.Sandbox, string, time.Time, time.Time) iter.Seq[map[string]any]
	counted func(stream string, record map[string]any) bool // what of the truth the settings ask for; nil is all
}

var accounts = []account{
	{"kaisa", "kaisa_sandbox", (*sandbox.Sandbox).KaisaTruth, func(stream string, record map[string]any) bool {
		switch stream {
		case "sources":
			return fmt.Sprint(record["class"]) == "0"
		case "widget_daily":
			return fmt.Sprint(record["customer_id"]) == "0"
		}
		return true
	}},
	{"fospha", "fospha_sandbox", (*sandbox.Sandbox).FosphaTruth, nil},
	{"contentsquare", "contentsquare_sandbox", (*sandbox.Sandbox).ContentsquareTruth, nil},
	{"fuuffy", "fuuffy_sandbox", (*sandbox.Sandbox).FuuffyTruth, nil},
}

// A landing is what it took to land an account whole.
type landing struct {
	tokens, renewed, requests, struck int64
	pulls                             int
	took                              time.Duration
	keys                              map[string][]string // of the rows, by stream, sorted
	truth                             map[string][]string // the keys that must be there
	tables                            map[string][]string // each row as text, sorted
}

func TestEveryVendorLandsItsTruthThroughFaults(t *testing.T) {
	t.Parallel()
	for _, who := range accounts {
		t.Run(who.vendor, func(t *testing.T) {
			t.Parallel()
			comparison(t, who, 2, 3)
		})
	}
}

// BenchmarkVendors prints the table for accounts of WINCH_VENDORS_SIZE customers
// and WINCH_VENDORS_DAYS days.
func BenchmarkVendors(b *testing.B) {
	size, days := number(b, "WINCH_VENDORS_SIZE", 8), number(b, "WINCH_VENDORS_DAYS", 14)
	type line struct{ calm, struck landing }
	lines := make([]line, len(accounts))
	var wg sync.WaitGroup
	for i, who := range accounts {
		wg.Go(func() { lines[i].calm, lines[i].struck = comparison(b, who, size, days) })
	}
	wg.Wait()
	if b.Failed() {
		return
	}
	fmt.Printf("\n%d customers, %d days, tokens of %s, %g %% of each of %d kinds of fault\n\n",
		size, days, tokenLifetime, 100*faultShare, len(sandbox.FaultKinds()))
	tw := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "vendor\trows\ttruth\ttokens\tleast\t401s survived\tfaults\trequests\tleast\tratio\tpulls\tseconds\t")
	for i, who := range accounts {
		calm, struck := lines[i].calm, lines[i].struck
		fmt.Fprintf(tw, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%.2f\t%d\t%.1f\t\n", who.vendor, total(struck.keys), total(struck.truth),
			struck.tokens, calm.tokens, struck.renewed, struck.struck, struck.requests, calm.requests,
			float64(struck.requests)/float64(calm.requests), struck.pulls, struck.took.Seconds())
	}
	if err := tw.Flush(); err != nil {
		b.Fatal(err)
	}
	fmt.Println("\nleast: what one pull of the same account takes without faults and with the vendor's own token lifetimes.")
}

func number(b *testing.B, name string, def int) int {
	b.Helper()
	text := os.Getenv(name)
	if text == "" {
		return def
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		b.Fatalf("%s is %q, want a positive number", name, text)
	}
	return n
}

// comparison lands an account twice, calmly and through all faults, and compares
// both with the truth and with each other.
func comparison(t testing.TB, who account, size, days int) (calm, struck landing) {
	t.Helper()
	options := sandbox.Options{Size: size, Days: days, AsOf: time.Date(2026, 3, 20, 15, 0, 0, 0, time.UTC)}
	calm = land(t, who, options)
	if calm.pulls != 1 {
		t.Errorf("%s: %d pulls without faults", who.vendor, calm.pulls)
	}
	options.TokenLifetime, options.Faults = tokenLifetime, everyFault()
	struck = land(t, who, options)
	for name, one := range map[string]landing{"calm": calm, "through faults": struck} {
		if diff := cmp.Diff(one.truth, one.keys); diff != "" {
			t.Errorf("%s, %s: keys landed (-truth +landed):\n%.3000s", who.vendor, name, diff)
		}
	}
	if diff := cmp.Diff(calm.tables, struck.tables); diff != "" {
		t.Errorf("%s: rows landed (-calm +through faults):\n%.3000s", who.vendor, diff)
	}
	if struck.struck == 0 {
		t.Errorf("%s: no fault struck", who.vendor)
	}
	return calm, struck
}

func total(byStream map[string][]string) (n int) {
	for _, all := range byStream {
		n += len(all)
	}
	return n
}

// land pulls the account until every stream is whole: first all that is due, and
// then, as the ledger says, what failed.
func land(t testing.TB, who account, o sandbox.Options) landing {
	t.Helper()
	box := sandbox.New(o)
	server := httptest.NewServer(box)
	defer server.Close()
	a := &app{stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}, logOutput: &redirected{w: &bytes.Buffer{}}}
	a.setLog(config.Log{Level: 100}) // failures are the point; the result tells them
	path := filepath.Join(t.TempDir(), "winch.db")
	cfg, err := a.demoConfig(box, server.URL, "sqlite:"+path)
	if err != nil {
		t.Fatal(err)
	}
	src, err := cfg.Source(who.source)
	if err != nil {
		t.Fatal(err)
	}
	store, _, err := a.openSink(t.Context(), cfg.Sink)
	if err != nil {
		t.Fatal(err)
	}
	defer a.closing("store", store.Close)

	l := landing{}
	started := time.Now()
	puller := &pull.Puller{Sink: store, Log: a.log, Backoff: 10 * time.Millisecond}
	wanted := &wantedStreams{held: map[string]bool{}}
	job := a.vendorJob(cfg, src, box.AsOf(), wanted)
	for done := false; !done; {
		if l.pulls++; l.pulls > mostPulls {
			t.Fatalf("%s: not whole after %d pulls", who.vendor, mostPulls)
		}
		res, _ := puller.Run(t.Context(), job) // what failed is in the result
		if t.Context().Err() != nil {
			t.Fatal(context.Cause(t.Context()))
		}
		l.renewed += res.Usage.RenewedOn401
		if done = res.Status == sink.Succeeded; !done && o.Faults == nil {
			t.Fatalf("%s: %v", who.vendor, res.FirstError())
		}
		for _, s := range res.Streams {
			if s.Status == sink.Succeeded {
				wanted.held[s.Name] = true
			}
		}
	}
	l.took = time.Since(started)
	stats := box.Stats()
	l.tokens = stats.Tokens[who.vendor]
	for place, statuses := range stats.Requests {
		for _, n := range statuses {
			if !strings.HasSuffix(place, "/token") {
				l.requests += n
			}
		}
	}
	for _, n := range stats.Faults {
		l.struck += n
	}
	l.read(t, path, who, box, wanted.all)
	if violations := box.FuuffyViolations(); len(violations) > 0 {
		t.Errorf("%s: sent %q", who.vendor, violations)
	}
	return l
}

// wantedStreams are the streams of an account, and which of them are whole.
type wantedStreams struct {
	all  []ledger.Want
	held map[string]bool
}

// vendorJob is what one pull reads: what is missing or has failed. Lookbacks are
// left out, so that a second pull costs only what the first one owed.
func (a *app) vendorJob(cfg *config.Config, src *config.Source, asOf time.Time, streams *wantedStreams) pull.Job {
	launcher := a.launcher(cfg)
	return pull.Job{
		Source: src.Name, Connector: src.Connector, Trigger: "test", AsOf: asOf,
		Open: func(ctx context.Context) (*pull.Session, error) { return a.openSource(ctx, launcher, src) },
		Select: func(offered []connector.Stream) ([]ledger.Want, error) {
			all, err := wants(src, offered)
			if err != nil {
				return nil, err
			}
			for i := range all {
				all[i].Lookback = connector.Span{}
			}
			streams.all = all
			return slices.DeleteFunc(slices.Clone(all), func(want ledger.Want) bool { return streams.held[want.Stream.Name] }), nil
		},
	}
}

// read takes over what landed and what is true.
func (l *landing) read(t testing.TB, path string, who account, box *sandbox.Sandbox, streams []ledger.Want) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	l.keys, l.tables, l.truth = map[string][]string{}, map[string][]string{}, map[string][]string{}
	for _, want := range streams {
		st := want.Stream
		all := landedRows(t, db, who.source, st)
		for _, row := range all {
			l.keys[st.Name] = append(l.keys[st.Name], keyText(st, row))
			text, err := json.Marshal(row)
			if err != nil {
				t.Fatal(err)
			}
			l.tables[st.Name] = append(l.tables[st.Name], string(text))
		}
		since, until := planned(want, box.AsOf())
		seen := map[string]bool{}
		for record := range who.truth(box, st.Name, since, until) {
			key := keyText(st, record)
			if (who.counted == nil || who.counted(st.Name, record)) && !seen[key] {
				seen[key] = true
				l.truth[st.Name] = append(l.truth[st.Name], key)
			}
		}
		slices.Sort(l.keys[st.Name])
		slices.Sort(l.tables[st.Name])
		slices.Sort(l.truth[st.Name])
	}
}

// planned is the span of the windows that a pull reads; no bounds for other
// streams.
func planned(want ledger.Want, asOf time.Time) (since, until time.Time) {
	if want.Stream.Mode != connector.ModeWindow {
		return since, until
	}
	for _, due := range ledger.Plan(want, nil, asOf) {
		w := due.Slice.Window
		if since.IsZero() || w.Since.Before(since) {
			since = w.Since
		}
		if w.Until.After(until) {
			until = w.Until
		}
	}
	return since, until
}

// landedRows are the rows of a table, without what the agent itself adds.
func landedRows(t testing.TB, db *sql.DB, source string, st connector.Stream) []map[string]any {
	t.Helper()
	query := `SELECT * FROM "` + source + `.` + st.Name + `"`
	if st.Mode == connector.ModeSnapshot {
		query += " WHERE _deleted_at IS NULL"
	}
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var all []map[string]any
	for rows.Next() {
		values := make([]any, len(names))
		for i := range values {
			values[i] = new(any)
		}
		if err := rows.Scan(values...); err != nil {
			t.Fatal(err)
		}
		row := map[string]any{}
		for i, name := range names {
			if !strings.HasPrefix(name, "_winch_") && name != "_deleted_at" {
				row[name] = *values[i].(*any)
			}
		}
		all = append(all, row)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// keyText is the primary key of a row or of a record of the truth.
func keyText(st connector.Stream, row map[string]any) string {
	var parts []string
	for _, name := range st.PrimaryKey {
		i := slices.IndexFunc(st.Columns, func(c connector.Column) bool { return c.Name == name })
		value := row[name]
		if at, ok := value.(time.Time); ok {
			layout := "2006-01-02T15:04:05.000000Z"
			if st.Columns[i].Type == connector.TypeDate {
				layout = time.DateOnly
			}
			value = at.UTC().Format(layout)
		}
		if text, ok := value.([]byte); ok {
			value = string(text)
		}
		if value == nil {
			value = ""
		}
		parts = append(parts, fmt.Sprint(value))
	}
	return strings.Join(parts, " | ")
}
