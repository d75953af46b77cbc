package sinktest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/quarantine"
	"github.com/winchdata/winch/internal/record"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// refuse emits a record that must be refused, and sets it aside.
func refuse(t *testing.T, w sink.Writer, raw string) {
	t.Helper()
	err := w.Record([]byte(raw))
	var bad *record.Error
	if !errors.As(err, &bad) {
		t.Fatalf("record %s: %v, want a *record.Error", raw, err)
	}
	if err := w.Quarantine([]byte(raw), bad); err != nil {
		t.Fatalf("quarantine %s: %v", raw, err)
	}
}

// write emits records and sets aside those that are refused; "|" is a checkpoint.
func write(t *testing.T, w sink.Writer, records ...string) {
	t.Helper()
	for _, raw := range records {
		if raw == "|" {
			checkpoint(t, w, `{}`)
			continue
		}
		err := w.Record([]byte(raw))
		var bad *record.Error
		if errors.As(err, &bad) {
			err = w.Quarantine([]byte(raw), bad)
		}
		if err != nil {
			t.Fatalf("record %s: %v", raw, err)
		}
	}
}

// read performs a whole attempt, of which some records may be set aside.
func (s *store) read(t *testing.T, a sink.Attempt, records ...string) ledger.Counts {
	t.Helper()
	w := s.begin(t, a)
	write(t, w, records...)
	return commit(t, w)
}

// quarantined returns what is held of a stream.
func (s *store) quarantined(t *testing.T, stream string) []sink.Quarantined {
	t.Helper()
	all, err := s.Quarantined(t.Context(), sink.QuarantineFilter{Source: source, Stream: stream})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// wantHeld checks the raw texts that are held of a stream, by id.
func (s *store) wantHeld(t *testing.T, stream string, want ...string) []sink.Quarantined {
	t.Helper()
	var got []string
	var held []sink.Quarantined
	for _, q := range s.quarantined(t, stream) {
		if q.State == sink.QuarantineHeld {
			got, held = append(got, q.Raw), append(held, q)
		}
	}
	if diff := gocmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("held of %s (-want +got):\n%s", stream, diff)
	}
	return held
}

func (s *store) wantStates(t *testing.T, stream string, want ...sink.QuarantineState) {
	t.Helper()
	var got []sink.QuarantineState
	for _, q := range s.quarantined(t, stream) {
		got = append(got, q.State)
		if (q.Raw == "") != (q.State != sink.QuarantineHeld) {
			t.Errorf("record %d is %s and has the text %q", q.ID, q.State, q.Raw)
		}
	}
	if diff := gocmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("states of %s (-want +got):\n%s", stream, diff)
	}
}

// reland retries the held records of one attempt, by a run of its own.
func (s *store) reland(t *testing.T, run int64, stream connector.Stream, records []sink.Quarantined) sink.Relanded {
	t.Helper()
	a := sink.Attempt{Run: run, Stream: stream, Slice: records[0].Slice, StartedAt: records[0].ReadAt}
	got, err := s.Reland(t.Context(), a, records)
	if err != nil {
		t.Fatal("reland:", err)
	}
	return got
}

// badCall is a call whose seconds no bigint takes.
func badCall(id string, at time.Time, seconds string) string {
	return fmt.Sprintf(`{"id":%q,"at":%q,"seconds":%q}`, id, at.Format(time.RFC3339), seconds)
}

var quarantineCases = map[string]func(*testing.T, Harness){
	"what is set aside is kept with the rows": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, calls)
		a := attempt(1, calls, day(0))
		w := s.begin(t, a)
		emit(t, w, call("a", epoch, 1))
		bad := badCall("b", epoch, "many")
		refuse(t, w, bad)
		s.wantHeld(t, "calls")
		counts := commit(t, w)
		wantCounts(t, ledger.Counts{Rows: 1, Inserted: 1, Quarantined: 1}, counts)
		held := s.wantHeld(t, "calls", bad)
		want := sink.Quarantined{
			ID: held[0].ID, Slice: a.Slice, Run: 1, ReadAt: begun(1), Column: "seconds",
			Reason: `column seconds: want a number without fractional part in the range of 64 bits, got "many"`,
			Raw:    bad, Whole: true, Attempts: 1, State: sink.QuarantineHeld,
		}
		if diff := gocmp.Diff(want, held[0]); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if got := s.entries(t, source)[0].Counts; got != counts {
			t.Errorf("the ledger has %+v, the commit told %+v", got, counts)
		}
	},

	"what is not committed is not set aside": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, calls)
		w := s.begin(t, attempt(1, calls, day(0)))
		refuse(t, w, badCall("b", epoch, "many"))
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		s.wantHeld(t, "calls")
	},

	"a slice that is read again replaces what it had set aside": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, calls)
		b, c, d := badCall("b", epoch, "many"), badCall("c", epoch, "more"), badCall("d", epoch.AddDate(0, 0, 1), "most")
		s.read(t, attempt(1, calls, day(0)), b, c)
		s.read(t, attempt(1, calls, day(1)), d)
		first := s.wantHeld(t, "calls", b, c, d)
		// c is fixed, b comes again and keeps its id, the other slice is left alone.
		s.read(t, attempt(2, calls, day(0)), b, call("c", epoch, 3))
		again := s.wantHeld(t, "calls", b, d)
		if again[0].ID != first[0].ID || again[0].Attempts != 2 || again[0].Run != 2 {
			t.Errorf("came again as %+v, was %+v", again[0], first[0])
		}
		s.read(t, attempt(3, calls, day(0)))
		s.wantHeld(t, "calls", d)
	},

	"a resumed attempt keeps what the one before set aside": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, calls)
		w := s.begin(t, attempt(1, calls, day(0)))
		b, c := badCall("b", epoch, "many"), badCall("c", epoch, "more")
		write(t, w, b, "|", c)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		s.wantHeld(t, "calls", b)
		resumed := attempt(2, calls, day(0))
		resumed.Resumed = true
		s.read(t, resumed, c)
		s.wantHeld(t, "calls", b, c)
	},

	"of the same key the last counts": func(t *testing.T, h Harness) {
		b := badCall("b", epoch, "many")
		last := badCall("b", epoch, "more")
		good := call("b", epoch, 7)
		for name, c := range map[string]struct {
			records []string
			held    []string
			rows    []string
		}{
			"the last is good":                    {[]string{b, good}, nil, []string{line("b", "7")}},
			"the last is bad":                     {[]string{good, b}, []string{b}, []string{line("b", "7")}},
			"both are bad":                        {[]string{b, last}, []string{last}, nil},
			"the same twice":                      {[]string{b, b}, []string{b}, nil},
			"good after a checkpoint":             {[]string{b, "|", good}, nil, []string{line("b", "7")}},
			"good after a checkpoint and another": {[]string{b, "|", last, "|", good}, nil, []string{line("b", "7")}},
		} {
			t.Run(name, func(t *testing.T) {
				s := open(t, h)
				s.prepare(t, calls)
				s.read(t, attempt(1, calls, day(0)), c.records...)
				s.wantHeld(t, "calls", c.held...)
				s.wantRows(t, "calls", []string{"id", "seconds"}, c.rows...)
			})
		}
	},

	"a key that is read later supersedes what was set aside": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, events)
		whole := connector.Window{}
		bad := `{"id":1,"what":{"a":1}}`
		s.read(t, attempt(1, events, whole), event(1, "x"))
		s.read(t, attempt(2, events, whole), event(1, "x"))
		resumed := attempt(3, events, whole)
		resumed.Resumed = true
		s.read(t, resumed, bad)
		s.wantHeld(t, "events", bad)
		// Unchanged, so that the row at rest does not tell when it was read.
		resumed.Run, resumed.StartedAt = 4, begun(4)
		s.read(t, resumed, event(1, "x"))
		s.wantStates(t, "events", sink.QuarantineSuperseded)
	},

	"rows of what was set aside are not taken for vanished": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, calls)
		s.prepare(t, customers)
		s.read(t, attempt(1, calls, day(0)), call("a", epoch, 1), call("b", epoch, 2), call("c", epoch, 3))
		counts := s.read(t, attempt(2, calls, day(0)), call("a", epoch, 1), badCall("b", epoch, "many"))
		wantCounts(t, ledger.Counts{Rows: 1, Unchanged: 1, Deleted: 1, Quarantined: 1}, counts)
		s.wantRows(t, "calls", []string{"id", "seconds"}, line("a", "1"), line("b", "2"))
		// Also across a checkpoint.
		counts = s.read(t, attempt(3, calls, day(0)), badCall("b", epoch, "many"), "|", call("d", epoch, 1))
		wantCounts(t, ledger.Counts{Rows: 1, Inserted: 1, Deleted: 1, Quarantined: 1}, counts)
		s.wantRows(t, "calls", []string{"id", "seconds"}, line("b", "2"), line("d", "1"))

		s.read(t, attempt(1, customers, connector.Window{}), customer(1, "Ada"), customer(2, "Bo"), customer(3, "Cy"))
		s.read(t, attempt(2, customers, connector.Window{}), customer(1, "Ada"), `{"id":2,"name":["Bo"]}`)
		s.wantRows(t, "customers", []string{"id", record.ColumnDeleted}, line("1", Null), line("2", Null), line("3", stamp(begun(2))))
	},

	"nothing vanishes where a key is unknown": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, customers)
		s.read(t, attempt(1, customers, connector.Window{}), customer(1, "Ada"), customer(2, "Bo"))
		counts := s.read(t, attempt(2, customers, connector.Window{}), customer(1, "Ada"), `{"id":"two","name":"Bo"}`, `{"id":"two","name":"Bo"}`)
		wantCounts(t, ledger.Counts{Rows: 1, Unchanged: 1, Quarantined: 1}, counts)
		s.wantRows(t, "customers", []string{"id", record.ColumnDeleted}, line("1", Null), line("2", Null))
	},

	"a retry lands what then fits": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, customers)
		narrow := customers
		narrow.Columns = append(slices.Clone(narrow.Columns), connector.Column{Name: "age", Type: connector.TypeBigint})
		s.prepare(t, narrow)
		a := attempt(1, narrow, connector.Window{})
		one, two, three := `{"id":1,"age":"young"}`, `{"id":2,"age":"old"}`, `{"id":3,"age":{"y":1}}`
		s.read(t, a, one, two, three)
		before := s.entries(t, source)
		held := s.wantHeld(t, "customers", one, two, three)

		// Still refused: nothing changes but the attempts.
		got := s.reland(t, 2, narrow, held[:1])
		if len(got.Landed) != 0 || got.Refused[held[0].ID] == "" {
			t.Errorf("%+v", got)
		}
		// The fix declares age no longer: it goes to _extra.
		got = s.reland(t, 3, customers, held[:2])
		want := sink.Relanded{
			Counts: ledger.Counts{Rows: 2, Inserted: 2}, Landed: []int64{held[0].ID, held[1].ID}, Refused: map[int64]string{},
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		s.wantStates(t, "customers", sink.QuarantineLanded, sink.QuarantineLanded, sink.QuarantineHeld)
		s.wantRows(t, "customers", []string{"id", record.ColumnRun, record.ColumnSeenAt},
			line("1", "3", stamp(begun(1))), line("2", "3", stamp(begun(1))))
		if diff := gocmp.Diff(before, s.entries(t, source)); diff != "" {
			t.Errorf("a retry changed the ledger (-before +after):\n%s", diff)
		}
		if attempts := s.quarantined(t, "customers")[0].Attempts; attempts != 3 {
			t.Errorf("%d attempts, want 3", attempts)
		}
		// Landed twice is landed once.
		s.reland(t, 4, customers, held[:2])
		s.wantRows(t, "customers", []string{"id", record.ColumnRun}, line("1", "3"), line("2", "3"))
		// The next whole read, of the same records, finds the rows unchanged.
		counts := s.read(t, attempt(5, customers, connector.Window{}), one, two, three)
		wantCounts(t, ledger.Counts{Rows: 3, Inserted: 1, Unchanged: 2}, counts)
		s.wantStates(t, "customers")
	},

	"a retry leaves rows that were read later": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, calls)
		b, c := badCall("b", epoch, "many"), badCall("c", epoch, "more")
		s.read(t, attempt(1, calls, day(0)), call("c", epoch, 1), b, c)
		held := s.wantHeld(t, "calls", b, c)
		// The key moved into another window.
		s.read(t, attempt(2, calls, day(1)), call("b", epoch.AddDate(0, 0, 1), 5))
		s.wantStates(t, "calls", sink.QuarantineSuperseded, sink.QuarantineHeld)
		fixed := calls
		fixed.Columns = slices.Clone(calls.Columns[:2])
		got := s.reland(t, 3, fixed, held)
		if !slices.Equal(got.Superseded, []int64{held[0].ID}) || !slices.Equal(got.Landed, []int64{held[1].ID}) {
			t.Errorf("%+v", got)
		}
		s.wantRows(t, "calls", []string{"id", record.ColumnRun}, line("b", "2"), line("c", "3"))
	},

	"what was dropped stays dropped": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, calls)
		b, c := badCall("b", epoch, "many"), badCall("c", epoch, "more")
		s.read(t, attempt(1, calls, day(0)), b, c)
		held := s.wantHeld(t, "calls", b, c)
		n, err := s.DropQuarantined(t.Context(), sink.QuarantineFilter{ID: held[0].ID})
		if err != nil || n != 1 {
			t.Fatal(n, err)
		}
		s.read(t, attempt(2, calls, day(0)), b, c)
		s.wantStates(t, "calls", sink.QuarantineDropped, sink.QuarantineHeld)
		n, err = s.DropQuarantined(t.Context(), sink.QuarantineFilter{Source: source, Stream: "calls"})
		if err != nil || n != 1 {
			t.Fatal(n, err)
		}
		s.read(t, attempt(3, calls, day(0)), c)
		s.wantStates(t, "calls", sink.QuarantineDropped)
	},

	"filters choose": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, calls)
		s.prepare(t, events)
		s.read(t, attempt(1, calls, day(0)), badCall("b", epoch, "many"), badCall("c", epoch, "more"))
		s.read(t, attempt(1, events, connector.Window{}), `{"id":"x"}`)
		all := append(s.quarantined(t, "calls"), s.quarantined(t, "events")...)
		for _, c := range []struct {
			filter sink.QuarantineFilter
			want   int
		}{
			{sink.QuarantineFilter{}, 3},
			{sink.QuarantineFilter{Limit: 2}, 2},
			{sink.QuarantineFilter{Source: source}, 3},
			{sink.QuarantineFilter{Source: "another"}, 0},
			{sink.QuarantineFilter{Source: source, Stream: "events"}, 1},
			{sink.QuarantineFilter{ID: all[1].ID}, 1},
			{sink.QuarantineFilter{ID: 999}, 0},
			{sink.QuarantineFilter{State: sink.QuarantineHeld}, 3},
			{sink.QuarantineFilter{State: sink.QuarantineLanded}, 0},
		} {
			got, err := s.Quarantined(t.Context(), c.filter)
			if err != nil || len(got) != c.want {
				t.Errorf("%+v: %d records, error %v, want %d", c.filter, len(got), err, c.want)
			}
		}
	},

	"secrets are not kept, nor more than a bounded part": func(t *testing.T, h Harness) {
		s := open(t, h)
		stream := customers
		stream.Columns = append(slices.Clone(stream.Columns), connector.Column{Name: "pin", Type: connector.TypeText, Secret: true, Path: []string{"auth", "pin"}})
		s.prepare(t, stream)
		long := `{"id":3,"name":["` + strings.Repeat("é", quarantine.MaxRaw) + `"]}`
		s.read(t, attempt(1, stream, connector.Window{}),
			`{"id":1,"name":["a\u0000"],"auth":{"pin":"4711","kept":1}}`, "[\"4712\"]", long, "{\"id\":4,\"name\":[\"\xff\x00\"]}")
		all := s.quarantined(t, "customers")
		want := []string{`{"id":1,"name":["a\u0000"],"auth":{"kept":1}}`, "", "", ""}
		for i, q := range all {
			if i != 2 && q.Raw != want[i] {
				t.Errorf("record %d is kept as %q", i, q.Raw)
			}
			if q.Whole != (i == 0) {
				t.Errorf("record %d: whole is %t", i, q.Whole)
			}
		}
		if text := all[2].Raw; len(text) > quarantine.MaxRaw || !strings.HasPrefix(long, text) {
			t.Errorf("%d bytes are kept of the long record", len(text))
		}
		got := s.reland(t, 2, stream, all)
		if len(got.Refused) != 4 || !strings.HasPrefix(got.Refused[all[2].ID], quarantine.NotWhole) {
			t.Errorf("%v", got.Refused)
		}
	},

	"keys of every type are spared": func(t *testing.T, h Harness) {
		types := []connector.Type{connector.TypeText, connector.TypeBigint, connector.TypeNumeric, connector.TypeDouble, connector.TypeBoolean, connector.TypeDate, connector.TypeTimestamp}
		stream := connector.Stream{Name: "typed", Mode: connector.ModeSnapshot, Columns: []connector.Column{{Name: "n", Type: connector.TypeBigint}}}
		for i, typ := range types {
			name := fmt.Sprint("k", i)
			stream.PrimaryKey = append(stream.PrimaryKey, name)
			stream.Columns = append(stream.Columns, connector.Column{Name: name, Type: typ})
		}
		s := open(t, h)
		s.prepare(t, stream)
		const record1 = `{"n":%s,"k0":"é\"","k1":-5,"k2":"1.50","k3":0.1,"k4":true,"k5":"1969-12-31","k6":"2026-03-01T10:00:00.123456Z"}`
		s.read(t, attempt(1, stream, connector.Window{}), fmt.Sprintf(record1, "1"))
		counts := s.read(t, attempt(2, stream, connector.Window{}), fmt.Sprintf(record1, "[]"))
		wantCounts(t, ledger.Counts{Quarantined: 1}, counts)
		held := s.quarantined(t, "typed")
		stream.Columns = stream.Columns[1:]
		if got := s.reland(t, 3, stream, held); len(got.Landed) != 1 || got.Counts.Updated != 1 {
			t.Errorf("%+v", got)
		}
	},
}
