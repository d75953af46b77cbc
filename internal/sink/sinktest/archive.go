package sinktest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/record"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// everything is a stream with a column of every type, everyColumn what its table
// holds.
var (
	everything = func() connector.Stream {
		s := connector.Stream{
			Name: "everything", Mode: connector.ModeCursor, PrimaryKey: []string{"word", "id"},
			Columns: []connector.Column{{Name: "id", Type: connector.TypeBigint}, {Name: "word", Type: connector.TypeText}},
		}
		for typ := range values {
			s.Columns = append(s.Columns, connector.Column{Name: "a_" + string(typ), Type: typ})
		}
		slices.SortFunc(s.Columns[2:], func(a, b connector.Column) int { return cmp.Compare(a.Name, b.Name) })
		return s
	}()
	everyColumn = func() []string {
		var names []string
		for _, c := range everything.Columns {
			names = append(names, c.Name)
		}
		return append(names, record.ColumnExtra, record.ColumnHash, record.ColumnDeleted, record.ColumnSeenAt)
	}()
)

// populate fills a store: every value of every type, a snapshot with a row that
// vanished, a window, a cursor, a failure, runs.
func (s *store) populate(t *testing.T) {
	t.Helper()
	for _, stream := range []connector.Stream{customers, calls, events, everything} {
		s.prepare(t, stream)
	}
	r := s.started(t, source, 1)
	r.RunEnd = sink.RunEnd{EndedAt: begun(2), Outcome: sink.Incomplete, Slices: 3, Failed: 1, Usage: usage, ErrorKind: connector.KindUnavailable, Error: "tab\t\\N\nand more"}
	if err := s.FinishRun(t.Context(), r.ID, r.RunEnd); err != nil {
		t.Fatal(err)
	}
	w := s.begin(t, attempt(r.ID, everything, connector.Window{}))
	n := 0
	for typ, cases := range values {
		for _, v := range cases {
			n++
			emit(t, w, fmt.Sprintf(`{"id":%d,"word":"\t\\N\n\r'ä","a_%s":%s,"unknown":"\\t\u0001"}`, n, typ, v.raw))
		}
	}
	checkpoint(t, w, `{"page":7}`)
	commit(t, w)
	s.land(t, attempt(r.ID, customers, connector.Window{}), `{"id":1,"name":"Ada"}`, `{"id":2,"name":""}`)
	again := attempt(r.ID, customers, connector.Window{})
	again.StartedAt = again.StartedAt.Add(time.Second)
	s.land(t, again, `{"id":2,"name":""}`)
	s.land(t, declared(attempt(r.ID, calls, day(0)), connector.Days(1)), `{"id":"a","at":"2026-03-01T10:00:00Z","seconds":3}`)
	s.fail(t, attempt(r.ID, calls, day(1)), errors.New("no\tanswer\\"))
	s.read(t, attempt(r.ID, calls, day(2)), `{"id":"b","at":"never","seconds":"\t"}`)
}

// copyTo copies the source into another store.
func (s *store) copyTo(t *testing.T, to *store) {
	t.Helper()
	last, err := s.LastRun(t.Context())
	if err != nil {
		t.Fatal("last run:", err)
	}
	shift, err := to.ReserveRuns(t.Context(), last)
	if err != nil {
		t.Fatal("reserve runs:", err)
	}
	in, err := to.Import(t.Context(), source, shift)
	if err != nil {
		t.Fatal("import:", err)
	}
	defer in.Close()
	if err := s.Export(t.Context(), source, in); err != nil {
		t.Fatal("export:", err)
	}
	if err := in.Commit(t.Context()); err != nil {
		t.Fatal("commit:", err)
	}
}

var archiveCases = map[string]func(*testing.T, Harness){
	"a source moves whole": func(t *testing.T, h Harness) {
		from, to := open(t, h), open(t, h)
		from.populate(t)
		from.copyTo(t, to)
		for stream, columns := range map[string][]string{
			"everything": everyColumn,
			"customers":  {"id", "name", record.ColumnRun, record.ColumnHash, record.ColumnDeleted},
			"calls":      {"id", "at", "seconds"},
			"events":     {"id", "what"},
		} {
			if diff := gocmp.Diff(from.rows(t, stream, columns...), to.rows(t, stream, columns...)); diff != "" {
				t.Errorf("%s (-there +here):\n%s", stream, diff)
			}
		}
		if diff := gocmp.Diff(from.entries(t, source), to.entries(t, source)); diff != "" {
			t.Errorf("ledger (-there +here):\n%s", diff)
		}
		wantHeld, err := from.Quarantined(t.Context(), sink.QuarantineFilter{Source: source})
		if err != nil || len(wantHeld) != 1 {
			t.Fatalf("quarantine: %+v, %v", wantHeld, err)
		}
		gotHeld, err := to.Quarantined(t.Context(), sink.QuarantineFilter{Source: source})
		if diff := gocmp.Diff(wantHeld, gotHeld); err != nil || diff != "" {
			t.Errorf("quarantine, %v (-there +here):\n%s", err, diff)
		}
		want, wantReads := from.run(t, 1)
		got, gotReads := to.run(t, 1)
		if diff := gocmp.Diff(want, got) + gocmp.Diff(wantReads, gotReads); diff != "" {
			t.Errorf("run (-there +here):\n%s", diff)
		}
		if diff := gocmp.Diff(from.declarations(t), to.declarations(t)); diff != "" || len(to.declarations(t)) != 1 {
			t.Errorf("declarations (-there +here):\n%s", diff)
		}
		if sources, err := to.Sources(t.Context()); err != nil || !slices.Equal(sources, []string{source}) {
			t.Errorf("sources %v, %v", sources, err)
		}
	},

	"what was copied is known and goes on": func(t *testing.T, h Harness) {
		from, to := open(t, h), open(t, h)
		from.populate(t)
		from.copyTo(t, to)
		to.prepare(t, customers)
		to.prepare(t, calls)
		r := to.started(t, source, 2)
		if r.ID != 2 {
			t.Errorf("the next run is %d, want 2", r.ID)
		}
		wantCounts(t, ledger.Counts{Rows: 1, Unchanged: 1}, to.land(t, attempt(r.ID, customers, connector.Window{}), `{"id":2,"name":""}`))
		wantCounts(t, ledger.Counts{Rows: 1, Updated: 1}, to.land(t, attempt(r.ID, calls, day(0)), `{"id":"a","at":"2026-03-01T10:00:00Z","seconds":4}`))
	},

	"runs get ids that nobody has": func(t *testing.T, h Harness) {
		from, to := open(t, h), open(t, h)
		from.populate(t)
		for i := range 3 {
			to.started(t, "other", i)
		}
		from.copyTo(t, to)
		if r, reads := to.run(t, 4); r.Source != source || len(reads) == 0 {
			t.Errorf("run 4 is %+v with %d reads", r, len(reads))
		}
		for _, e := range to.entries(t, source) {
			if e.Run != 4 {
				t.Errorf("%s names run %d, want 4", e.Slice, e.Run)
			}
		}
		to.wantRows(t, "calls", []string{record.ColumnRun}, "4")
		if r := to.started(t, "other", 9); r.ID != 5 {
			t.Errorf("the next run is %d, want 5", r.ID)
		}
	},

	"a run names its backfill, which moves too": func(t *testing.T, h Harness) {
		from, to := open(t, h), open(t, h)
		asked := sink.Backfill{
			Name: "spring", Source: source, Streams: []string{"calls", "events"}, Window: day(0), Slice: connector.Days(7),
			Order: ledger.OldestFirst, Force: true, Slices: 3, CreatedAt: begun(1),
		}
		for _, other := range []string{"a", "b"} {
			taken := asked
			taken.Name, taken.Source = other, "other"
			if _, err := to.CreateBackfill(t.Context(), taken); err != nil {
				t.Fatal(err)
			}
		}
		asked, err := from.CreateBackfill(t.Context(), asked)
		if err != nil {
			t.Fatal(err)
		}
		id, err := from.StartRun(t.Context(), sink.Run{Source: source, Trigger: "backfill", StartedAt: begun(1), Backfill: asked.ID})
		if err != nil {
			t.Fatal(err)
		}
		from.prepare(t, calls)
		from.land(t, attempt(id, calls, day(0)))
		from.copyTo(t, to)

		got, err := to.Backfills(t.Context(), source)
		if err != nil || len(got) != 1 {
			t.Fatalf("backfills %+v, %v", got, err)
		}
		r, _ := to.run(t, 1)
		if r.Backfill != got[0].ID || r.Backfill == asked.ID {
			t.Errorf("the run names backfill %d, which is %d here and was %d", r.Backfill, got[0].ID, asked.ID)
		}
		asked.ID = got[0].ID
		if diff := gocmp.Diff(asked, got[0]); diff != "" {
			t.Errorf("backfill (-there +here):\n%s", diff)
		}
		if p, err := to.BackfillProgress(t.Context(), asked.ID); err != nil || p.Runs != 1 || p.Slices != 1 {
			t.Errorf("progress %+v, %v", p, err)
		}
		next := asked
		next.Name = "autumn"
		if next, err = to.CreateBackfill(t.Context(), next); err != nil || next.ID <= asked.ID {
			t.Errorf("the next backfill is %d, %v", next.ID, err)
		}
	},

	// I1
	"nothing is there before the commit, nor after giving up": func(t *testing.T, h Harness) {
		from, to := open(t, h), open(t, h)
		from.populate(t)
		in, err := to.Import(t.Context(), source, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		if err := from.Export(t.Context(), source, in); err != nil {
			t.Fatal(err)
		}
		empty := func(when string) {
			t.Helper()
			if sources, err := to.Sources(t.Context()); err != nil || len(sources) > 0 {
				t.Errorf("%s: sources %v, %v", when, sources, err)
			}
		}
		empty("before the commit")
		if err := errors.Join(in.Close(), in.Close()); err != nil {
			t.Error("close:", err)
		}
		empty("given up")
		from.copyTo(t, to) // and nothing is in its way
	},

	"a store that holds the source already is left alone": func(t *testing.T, h Harness) {
		from, to := open(t, h), open(t, h)
		from.populate(t)
		to.prepare(t, customers)
		to.land(t, attempt(1, customers, connector.Window{}), `{"id":9,"name":"old"}`)
		_, err := to.Import(t.Context(), source, 0)
		wantFault(t, sink.FaultSchema, err)

		only := open(t, h) // the table alone, which nobody has written to
		only.prepare(t, customers)
		in, err := only.Import(t.Context(), source, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		wantFault(t, sink.FaultSchema, from.Export(t.Context(), source, in))
	},
}
