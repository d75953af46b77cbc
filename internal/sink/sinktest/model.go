package sinktest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/record"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// cell is a row of the model: the time and content that the vendor reported, the
// run that wrote it and the run that marked it as vanished.
type cell struct {
	at, n   int
	run     int64
	deleted int64
}

// model is what a sink does, in memory.
type model struct {
	stream connector.Stream
	rows   map[int]cell
	ledger map[ledger.Slice]ledger.Entry
}

// trial is an attempt on the model.
type trial struct {
	*model
	sink.Attempt
	staged map[int]cell
	fate   map[int]string // what the attempt did to each key it wrote
	cursor connector.Cursor
}

func (t *trial) record(id, at, n int) { t.staged[id] = cell{at: at, n: n, run: t.Run} }

// apply commits what is staged.
func (t *trial) apply() {
	for id, c := range t.staged {
		old, there := t.rows[id]
		fate := "inserted"
		switch {
		case there && old.at == c.at && old.n == c.n && old.deleted == 0:
			fate = "unchanged"
		case there:
			fate = "updated"
		}
		if fate != "unchanged" {
			t.rows[id] = c
		}
		// The first commit of a key decides, unless that left it unchanged.
		if before := t.fate[id]; before == "" || before == "unchanged" {
			t.fate[id] = fate
		}
	}
	clear(t.staged)
}

func (t *trial) counts() ledger.Counts {
	c := ledger.Counts{Rows: int64(len(t.fate))}
	for _, fate := range t.fate {
		switch fate {
		case "inserted":
			c.Inserted++
		case "updated":
			c.Updated++
		case "unchanged":
			c.Unchanged++
		}
	}
	return c
}

func (t *trial) enter(state ledger.State, cursor connector.Cursor, counts ledger.Counts) {
	t.ledger[t.Slice] = ledger.Entry{Slice: t.Slice, State: state, Cursor: cursor, Counts: counts, Run: t.Run}
}

func (t *trial) checkpoint(cursor connector.Cursor) {
	t.apply()
	t.cursor = cursor
	t.enter(ledger.Partial, cursor, t.counts())
}

func (t *trial) commit() ledger.Counts {
	t.apply()
	counts := t.counts()
	for id, c := range t.rows {
		if t.fate[id] != "" || t.Resumed {
			continue
		}
		switch {
		case t.stream.Mode == connector.ModeSnapshot && c.deleted == 0:
			c.deleted = t.Run
			t.rows[id] = c
			counts.Deleted++
		case t.stream.TimeColumn != "" && t.Slice.Window.Contains(hour(c.at)):
			delete(t.rows, id)
			counts.Deleted++
		}
	}
	var cursor connector.Cursor
	if t.stream.Mode == connector.ModeCursor {
		if cursor = t.cursor; cursor == nil {
			cursor = t.ledger[t.Slice].Cursor
		}
	}
	t.enter(ledger.Held, cursor, counts)
	t.supersede()
	return counts
}

// supersede deletes what the commit of the slice makes obsolete.
func (t *trial) supersede() {
	w := t.Slice.Window
	for s, e := range t.ledger {
		within := !s.Window.Since.Before(w.Since) && !s.Window.Until.After(w.Until)
		overlaps := s.Window.Since.Before(w.Until) && w.Since.Before(s.Window.Until)
		if s != t.Slice && (within || overlaps && e.State != ledger.Held) {
			delete(t.ledger, s)
		}
	}
}

func (m *model) fail(a sink.Attempt, cause error) {
	e := m.ledger[a.Slice]
	e.Slice, e.State, e.Run = a.Slice, ledger.Failed, a.Run
	e.Failures++
	e.ErrorKind, e.Error = connector.KindOf(cause), cause.Error()
	m.ledger[a.Slice] = e
}

// hour is the nth hour of the first day.
func hour(n int) time.Time { return epoch.Add(time.Duration(n) * time.Hour) }

func modelStream(mode connector.Mode, timed bool) connector.Stream {
	s := connector.Stream{
		Name: "readings", Mode: mode, PrimaryKey: []string{"id"},
		Columns: []connector.Column{
			{Name: "n", Type: connector.TypeBigint},
			{Name: "id", Type: connector.TypeText},
			{Name: "at", Type: connector.TypeTimestamp},
		},
	}
	if mode == connector.ModeWindow {
		s.Slice = connector.Days(1)
		if timed {
			s.TimeColumn = "at"
		}
	}
	return s
}

var modelCases = map[string]func(*testing.T, Harness){
	// Random attempts on the sink and on the model leave the same behind.
	"any sequence of attempts": func(t *testing.T, h Harness) {
		s := open(t, h)
		var sources atomic.Int64
		streams := []connector.Stream{
			modelStream(connector.ModeSnapshot, false), modelStream(connector.ModeWindow, true),
			modelStream(connector.ModeWindow, false), modelStream(connector.ModeCursor, false),
		}
		rapid.Check(t, func(rt *rapid.T) {
			name := fmt.Sprint("src", sources.Add(1)) // a schema of its own in the one store
			stream := streams[rapid.IntRange(0, len(streams)-1).Draw(rt, "stream")]
			if _, err := s.Prepare(t.Context(), name, stream, ledger.SchemaEvolve); err != nil {
				rt.Fatal(err)
			}
			m := &model{stream, map[int]cell{}, map[ledger.Slice]ledger.Entry{}}
			attempts := int64(rapid.IntRange(1, manyAttempts).Draw(rt, "attempts"))
			for run := int64(1); run <= attempts; run++ {
				a := sink.Attempt{Run: run, Stream: stream, StartedAt: begun(run), Slice: ledger.Slice{Source: name, Stream: stream.Name}}
				if stream.Mode == connector.ModeWindow {
					since := rapid.IntRange(0, 5).Draw(rt, "since") // windows of several grids, which overlap
					a.Slice.Window = connector.Window{Since: hour(12 * since), Until: hour(12 * (since + rapid.IntRange(1, 3).Draw(rt, "half days")))}
				}
				a.Resumed = rapid.IntRange(0, 4).Draw(rt, "resumed") == 0
				try(rt, t, s, m, a)
				m.compare(rt, t, s, name)
			}
		})
	},
}

// try performs one random attempt on both.
func try(rt *rapid.T, t *testing.T, s *store, m *model, a sink.Attempt) {
	w, err := s.Begin(t.Context(), a)
	if err != nil {
		rt.Fatal(err)
	}
	defer func() {
		if err := w.Close(); err != nil {
			rt.Error(err)
		}
	}()
	on := &trial{model: m, Attempt: a, staged: map[int]cell{}, fate: map[int]string{}}
	for step := range rapid.IntRange(0, 12).Draw(rt, "records") {
		id, n := rapid.IntRange(0, 5).Draw(rt, "id"), rapid.IntRange(0, 2).Draw(rt, "n")
		at := rapid.SampledFrom([]int{0, 1, 23, 24, 47, 48, 71, 72}).Draw(rt, "hour")
		raw := fmt.Sprintf(`{"id":"k%d","at":%q,"n":%d}`, id, hour(at).Format(time.RFC3339), n)
		if err := w.Record([]byte(raw)); err != nil {
			rt.Fatal(err)
		}
		on.record(id, at, n)
		if m.stream.Mode != connector.ModeSnapshot && rapid.IntRange(0, 4).Draw(rt, "checkpoint") == 0 {
			cursor := connector.Cursor(fmt.Sprintf(`{"run":%d,"step":%d}`, a.Run, step))
			if err := w.Checkpoint(t.Context(), cursor, connector.Usage{}); err != nil {
				rt.Fatal(err)
			}
			on.checkpoint(cursor)
		}
	}
	switch rapid.SampledFrom([]string{"commit", "commit", "commit", "close", "fail"}).Draw(rt, "end") {
	case "commit":
		got, err := w.Commit(t.Context(), connector.Usage{})
		if err != nil {
			rt.Fatal(err)
		}
		if diff := gocmp.Diff(on.commit(), got); diff != "" {
			rt.Errorf("run %d: counts (-want +got):\n%s", a.Run, diff)
		}
	case "fail":
		if err := w.Close(); err != nil {
			rt.Fatal(err)
		}
		if err := s.Fail(t.Context(), a, connector.Usage{}, unavailable); err != nil {
			rt.Fatal(err)
		}
		m.fail(a, unavailable)
	}
}

// compare checks table and ledger of the source against the model.
func (m *model) compare(rt *rapid.T, t *testing.T, s *store, source string) {
	want := []string{}
	for id, c := range m.rows {
		deleted := "null"
		if c.deleted != 0 {
			deleted = stamp(begun(c.deleted))
		}
		want = append(want, line(fmt.Sprint("k", id), stamp(hour(c.at)), fmt.Sprint(c.n), fmt.Sprint(c.run), stamp(begun(c.run)), deleted))
	}
	got := []string{}
	for _, row := range s.Rows(t, s.address, source, m.stream.Name, "id", "at", "n", record.ColumnRun, record.ColumnSeenAt, record.ColumnDeleted) {
		got = append(got, line(row...))
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := gocmp.Diff(want, got); diff != "" {
		rt.Errorf("rows (-want +got):\n%s", diff)
	}
	entries := slices.SortedFunc(maps.Values(m.ledger), func(a, b ledger.Entry) int {
		return cmp.Or(a.Slice.Window.Since.Compare(b.Slice.Window.Since), a.Slice.Window.Until.Compare(b.Slice.Window.Until))
	})
	if diff := gocmp.Diff(entries, s.entries(t, source), ignoreTimes, cmpopts.EquateEmpty()); diff != "" {
		rt.Errorf("ledger (-want +got):\n%s", diff)
	}
	for _, e := range s.entries(t, source) {
		if read := e.Counts != (ledger.Counts{}) || e.State != ledger.Failed; read && e.FirstReadAt.IsZero() {
			rt.Errorf("%s was read, but has no first read", e.Slice)
		}
	}
}
