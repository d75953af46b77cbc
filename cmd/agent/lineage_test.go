package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/winchdata/winch/internal/lineage/lineagetest"
	"github.com/winchdata/winch/internal/pgtest"
	"github.com/winchdata/winch/internal/sandbox"
)

// told are the events of a run, by what tags say of it.
func told(events []lineagetest.Event, run int64) (of []lineagetest.Event) {
	for _, e := range events {
		if tagsOf(e)["winch.run"] == fmt.Sprint(run) {
			of = append(of, e)
		}
	}
	return of
}

func tagsOf(e lineagetest.Event) map[string]string {
	all := map[string]string{}
	list, _ := e.Run.Facets["tags"]["tags"].([]any)
	for _, one := range list {
		tag, _ := one.(map[string]any)
		all[fmt.Sprint(tag["key"])] = fmt.Sprint(tag["value"])
	}
	return all
}

// The receiver holds each event to the published schema.
func TestAPullTellsWhereTheRowsOfEachTableComeFrom(t *testing.T) {
	t.Parallel()
	w := newWorkplace(t, sandbox.Options{Size: 2, Days: 2})
	address := pgtest.Database(t)
	w.env = append(w.env, "WINCH_SINK_URL="+address)
	w.fault(url.Values{"kind": {"html"}, "path": {"/statistics/cdrs"}})
	if out, errs, code := w.winch("pull", "kaisa_sandbox", "--stream", "customers,cdrs_in"); code != exitStreams {
		t.Fatalf("exit code %d\n%s%s", code, out, errs)
	}
	events := w.lineage.Events()
	var names []string
	for _, e := range events {
		names = append(names, e.String())
	}
	want := []string{
		"COMPLETE kaisa_sandbox.customers", "FAIL kaisa_sandbox", "FAIL kaisa_sandbox.cdrs_in",
		"START kaisa_sandbox", "START kaisa_sandbox.cdrs_in", "START kaisa_sandbox.customers",
	}
	if first, last := names[0], names[len(names)-1]; first != "START kaisa_sandbox" || last != "FAIL kaisa_sandbox" {
		t.Errorf("the whole encloses its streams: %v", names)
	}
	if slices.Sort(names); !slices.Equal(names, want) {
		t.Fatalf("%v, want %v", names, want)
	}
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var rows float64
	if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM kaisa_sandbox.customers").Scan(&rows); err != nil {
		t.Fatal(err)
	}
	trace := w.receiver.Named("run kaisa_sandbox")[0].Trace()
	for _, e := range told(events, 1) {
		if tags := tagsOf(e); tags["winch.trigger"] != "pull" || tags["trace_id"] != trace {
			t.Errorf("%s: tags %v", e, tags)
		}
		switch e.String() {
		case "COMPLETE kaisa_sandbox.customers":
			table := fmt.Sprintf("postgres://localhost:%d %s.kaisa_sandbox.customers", conn.Config().Port, conn.Config().Database)
			if host := conn.Config().Host; !strings.HasPrefix(host, "/") {
				table = strings.Replace(table, "localhost", host, 1)
			}
			if got := e.Outputs[0].Namespace + " " + e.Outputs[0].Name; got != table {
				t.Errorf("table %s, want %s", got, table)
			}
			if got := e.Outputs[0].OutputFacets["outputStatistics"]["rowCount"]; got != rows {
				t.Errorf("%v rows written, the table has %v", got, rows)
			}
			if in := e.Inputs[0]; in.Namespace != "kaisa://kaisa_sandbox" || in.Name != "customers" || len(in.Facets["schema"]["fields"].([]any)) < 3 {
				t.Errorf("input %+v", in)
			}
		case "FAIL kaisa_sandbox.cdrs_in", "FAIL kaisa_sandbox":
			if message, _ := e.Run.Facets["errorMessage"]["message"].(string); !strings.Contains(message, "text/html") {
				t.Errorf("%s: %v", e, e.Run.Facets["errorMessage"])
			}
		}
	}
}

func TestABackfillTellsItsLineageAndAPullWithNothingDueNoStreams(t *testing.T) {
	t.Parallel()
	w := newWorkplace(t, sandbox.Options{Size: 2, Days: 3})
	if out, errs, code := w.winch("pull", "kaisa_sandbox", "--stream", "cdrs_in"); code != exitOK {
		t.Fatalf("exit code %d\n%s%s", code, out, errs)
	}
	before := len(w.lineage.Events())
	if out, errs, code := w.winch("pull", "kaisa_sandbox", "--stream", "cdrs_in"); code != exitOK {
		t.Fatalf("exit code %d\n%s%s", code, out, errs)
	}
	if got := fmt.Sprint(w.lineage.Events()[before:]); got != "[START kaisa_sandbox COMPLETE kaisa_sandbox]" {
		t.Errorf("of a pull with nothing due: %s", got)
	}
	before += 2
	day := time.Now().UTC().AddDate(0, 0, -2).Format(time.DateOnly)
	if out, errs, code := w.winch("backfill", "kaisa_sandbox", "--from", day, "--to", day, "--stream", "cdrs_in", "--force", "--yes"); code != exitOK {
		t.Fatalf("exit code %d\n%s%s", code, out, errs)
	}
	events := w.lineage.Events()[before:]
	want := "[START kaisa_sandbox START kaisa_sandbox.cdrs_in COMPLETE kaisa_sandbox.cdrs_in COMPLETE kaisa_sandbox]"
	if got := fmt.Sprint(events); got != want || tagsOf(events[0])["winch.trigger"] != "backfill" {
		t.Errorf("of a backfill: %s, %v", got, tagsOf(events[0]))
	}
	if end := events[2]; end.Outputs[0].Namespace != "sqlite" || end.Outputs[0].OutputFacets["outputStatistics"]["rowCount"] != 0.0 {
		t.Errorf("of rows that are as they were: %+v", end.Outputs)
	}
}

func TestWhatIsLandedFromTheQuarantineTellsItsLineage(t *testing.T) {
	t.Parallel()
	vendor := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/token" {
			fmt.Fprint(rw, `{"access_token":"t","token_type":"Bearer","expires_in":300}`)
			return
		}
		fmt.Fprint(rw, `{"orders":[{"id":1,"amount":"1.50"},{"id":2,"amount":"2"}]}`)
	}))
	t.Cleanup(vendor.Close)
	w := newWorkplace(t, sandbox.Options{Size: 1, Days: 1})
	right := fmt.Sprintf(moodyConfig, vendor.URL, newAlertHook(t).url)
	declare := func(config string) {
		if err := os.WriteFile(filepath.Join(w.dir, "winch.yaml"), []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	declare(strings.Replace(right, "{name: amount, type: numeric}", "{name: amount, type: bigint}", 1))
	if out, errs, code := w.winch("pull"); code != exitOK {
		t.Fatalf("exit code %d\n%s%s", code, out, errs)
	}
	before := len(w.lineage.Events())
	declare(right)
	if out, errs, code := w.winch("quarantine", "retry"); code != exitOK {
		t.Fatalf("exit code %d\n%s%s", code, out, errs)
	}
	events := w.lineage.Events()[before:]
	want := "[START moody START moody.orders COMPLETE moody.orders COMPLETE moody]"
	if got := fmt.Sprint(events); got != want || tagsOf(events[0])["winch.trigger"] != "retry" {
		t.Fatalf("told %s, %v", got, tagsOf(events[0]))
	}
	if end := events[2]; len(end.Inputs) != 1 || end.Outputs[0].OutputFacets["outputStatistics"]["rowCount"] != 1.0 {
		t.Errorf("of one row landed: %+v %+v", end.Inputs, end.Outputs)
	}
}

func TestWhoGoesOnEndsTheLineageOfARunWhoseAgentDied(t *testing.T) {
	t.Parallel()
	w := newWorkplace(t, sandbox.Options{Size: 2, Days: 2})
	struck := w.holdRequests("/statistics/cdrs")
	killed := exec.CommandContext(t.Context(), filepath.Join(w.dir, "winch"), "pull", "kaisa_sandbox", "--stream", "customers,cdrs_in")
	killed.Dir, killed.Env = w.dir, w.env
	if err := killed.Start(); err != nil {
		t.Fatal(err)
	}
	struck()
	for deadline := time.Now().Add(patience); len(w.lineage.Events()) < 3 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.Wait() // it was killed
	w.release()
	for range 2 { // the second has nothing left to end
		if out, errs, code := w.winch("pull", "kaisa_sandbox", "--stream", "customers,cdrs_in"); code != exitOK {
			t.Fatalf("exit code %d\n%s%s", code, out, errs)
		}
	}
	ends := map[string]string{}
	for _, e := range told(w.lineage.Events(), 1) {
		if e.Type != "START" {
			ends[e.Run.ID] += e.String()
			continue
		}
		ends[e.Run.ID] += "" // begun
	}
	got := slices.Sorted(func(yield func(string) bool) {
		for _, end := range ends {
			yield(end)
		}
	})
	if want := []string{"ABORT kaisa_sandbox", "ABORT kaisa_sandbox.cdrs_in", "ABORT kaisa_sandbox.customers"}; !slices.Equal(got, want) {
		t.Errorf("what was begun ends with %q, want %q", got, want)
	}
}

func TestAReceiverOfLineageThatIsAwayFailsNoPull(t *testing.T) {
	t.Parallel()
	w := newWorkplace(t, sandbox.Options{Size: 1, Days: 1})
	w.env = append(w.env, "WINCH_TELEMETRY_OPENLINEAGE_URL=http://127.0.0.1:1")
	out, errs, code := w.winch("pull", "kaisa_sandbox", "--stream", "customers")
	if code != exitOK || !strings.Contains(errs, "lineage is not taken by its receiver") || !strings.Contains(errs, "events of lineage were lost") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
}
