package sinktest

import (
	"slices"
	"sync"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/record"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

var migrateCases = map[string]func(*testing.T, Harness){
	"a second migration has nothing to do": func(t *testing.T, h Harness) {
		s := reopen(t, h, h.Fresh(t))
		first, err := s.Migrate(t.Context())
		if err != nil || len(first) == 0 || !slices.IsSorted(first) {
			t.Fatalf("first: versions %v in order, error %v", first, err)
		}
		if again, err := s.Migrate(t.Context()); err != nil || len(again) != 0 {
			t.Errorf("second: want nothing applied, got %v, error %v", again, err)
		}
	},

	"several agents may migrate at the same time": func(t *testing.T, h Harness) {
		address := h.Fresh(t)
		applied := make([][]int64, 4)
		var wg sync.WaitGroup
		for i := range applied {
			s := reopen(t, h, address)
			wg.Go(func() {
				var err error
				if applied[i], err = s.Migrate(t.Context()); err != nil {
					t.Errorf("agent %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		all := slices.Concat(applied...)
		slices.Sort(all)
		if len(all) == 0 || len(slices.Compact(slices.Clone(all))) != len(all) {
			t.Errorf("want each version applied once, got %v", applied)
		}
	},

	"a store of a newer program is refused": func(t *testing.T, h Harness) {
		s := open(t, h)
		h.Newer(t, s.address)
		_, err := reopen(t, h, s.address).Migrate(t.Context())
		wantFault(t, sink.FaultVersion, err)
	},
}

var prepareCases = map[string]func(*testing.T, Harness){
	"a table has the declared columns and those that the sink adds": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, customers)
		s.prepare(t, customers)
		s.wantRows(t, "customers", append([]string{"id", "name"}, added...))
	},

	"a new column is added and rows at rest are null in it": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, customers)
		s.land(t, attempt(1, customers, connector.Window{}), `{"id":1,"name":"Ada"}`)
		wider := customers
		wider.Columns = append(slices.Clone(customers.Columns), connector.Column{Name: "city", Type: connector.TypeText})
		s.prepare(t, wider)
		s.wantRows(t, "customers", []string{"id", "name", "city"}, "1 Ada null")
		s.land(t, attempt(2, wider, connector.Window{}), `{"id":1,"name":"Ada","city":"Lund"}`)
		s.wantRows(t, "customers", []string{"id", "name", "city"}, "1 Ada Lund")
	},

	"a column that is no longer declared stays": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, customers)
		s.land(t, attempt(1, customers, connector.Window{}), `{"id":1,"name":"Ada"}`)
		narrower := customers
		narrower.Columns = customers.Columns[:1]
		s.prepare(t, narrower)
		counts := s.land(t, attempt(2, narrower, connector.Window{}), `{"id":1}`, `{"id":2}`)
		wantCounts(t, ledger.Counts{Rows: 2, Inserted: 1, Updated: 1}, counts)
		s.wantRows(t, "customers", []string{"id", "name"}, "1 Ada", "2 null")
	},

	"a column whose type changed is refused, the table stays": func(t *testing.T, h Harness) {
		s := open(t, h)
		all := []connector.Type{
			connector.TypeText, connector.TypeBigint, connector.TypeNumeric, connector.TypeDouble,
			connector.TypeBoolean, connector.TypeDate, connector.TypeTimestamp, connector.TypeJSON,
		}
		stream := customers
		stream.Columns = slices.Clone(customers.Columns)
		for i, was := range all {
			stream.Name = "of_" + string(was)
			stream.Columns[1].Type = was
			s.prepare(t, stream)
			stream.Columns[1].Type = all[(i+1)%len(all)]
			if !sink.Widens(was, stream.Columns[1].Type) {
				wantFault(t, sink.FaultSchema, s.fit(t, stream, ledger.SchemaEvolve))
			}
			stream.Columns[1].Type = was
			s.prepare(t, stream)
		}
	},

	"another primary key is refused": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, customers)
		other := customers
		other.PrimaryKey = []string{"id", "name"}
		wantFault(t, sink.FaultSchema, s.fit(t, other, ledger.SchemaEvolve))
	},

	"a secret column is not stored": func(t *testing.T, h Harness) {
		s := open(t, h)
		stream := customers
		stream.Columns = append(slices.Clone(customers.Columns), connector.Column{Name: "password", Type: connector.TypeText, Secret: true})
		s.prepare(t, stream)
		s.land(t, attempt(1, stream, connector.Window{}), `{"id":1,"name":"Ada","password":"hunter2"}`)
		s.wantRows(t, "customers", []string{"id", "name", record.ColumnExtra}, "1 Ada null")
	},

	"table and columns carry their descriptions": func(t *testing.T, h Harness) {
		if h.Comment == nil {
			return // the store has no comments
		}
		s := open(t, h)
		s.prepare(t, customers)
		got := []string{
			h.Comment(t, s.address, source, "customers", ""),
			h.Comment(t, s.address, source, "customers", "id"),
			h.Comment(t, s.address, source, "customers", "name"),
		}
		if diff := gocmp.Diff([]string{customers.Description, customers.Columns[0].Description, ""}, got); diff != "" {
			t.Errorf("comments (-want +got):\n%s", diff)
		}
	},

	"streams may be prepared at the same time": func(t *testing.T, h Harness) {
		s := open(t, h)
		other := reopen(t, h, s.address)
		var wg sync.WaitGroup
		for i := range 8 {
			for _, stream := range []connector.Stream{customers, calls, events} {
				handle := s.Sink
				if i%2 == 0 {
					handle = other
				}
				wg.Go(func() {
					if _, err := handle.Prepare(t.Context(), source, stream, ledger.SchemaEvolve); err != nil {
						t.Errorf("prepare %s: %v", stream.Name, err)
					}
				})
			}
		}
		wg.Wait()
		s.wantRows(t, "customers", []string{"id"})
		s.wantRows(t, "calls", []string{"id"})
		s.wantRows(t, "events", []string{"id"})
	},

	"names that SQL reserves are names": func(t *testing.T, h Harness) {
		s := open(t, h)
		stream := connector.Stream{
			Name: "order", Mode: connector.ModeWindow, PrimaryKey: []string{"group", "select"}, TimeColumn: "when", Slice: connector.Days(1),
			Columns: []connector.Column{
				{Name: "select", Type: connector.TypeBigint},
				{Name: "group", Type: connector.TypeText},
				{Name: "when", Type: connector.TypeDate},
				{Name: "user", Type: connector.TypeText, Description: "it's 100% \"quoted\" -- here; $1 ?"},
				{Name: "rowid", Type: connector.TypeText},
				{Name: "s", Type: connector.TypeText},
				{Name: "t", Type: connector.TypeText},
			},
		}
		s.prepare(t, stream)
		s.land(t, attempt(1, stream, day(0)),
			`{"select":1,"group":"a","when":"2026-03-01","user":"u","rowid":"r"}`,
			`{"select":2,"group":"a","when":"2026-03-01","user":"u","rowid":"r"}`)
		counts := s.land(t, attempt(2, stream, day(0)), `{"select":1,"group":"a","when":"2026-03-01","user":"v","rowid":"r"}`)
		wantCounts(t, ledger.Counts{Rows: 1, Updated: 1, Deleted: 1}, counts)
		s.wantRows(t, "order", []string{"select", "group", "user", "rowid"}, "1 a v r")
	},

	"no source may stand among the agent's own tables": func(t *testing.T, h Harness) {
		s := open(t, h)
		_, err := s.Prepare(t.Context(), "winch", customers, ledger.SchemaEvolve)
		wantFault(t, sink.FaultSchema, err)
	},
}
