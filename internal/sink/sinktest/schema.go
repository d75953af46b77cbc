package sinktest

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/record"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// fit prepares a stream by a policy.
func (s *store) fit(t *testing.T, stream connector.Stream, policy ledger.SchemaPolicy) error {
	t.Helper()
	_, err := s.Prepare(t.Context(), source, stream, policy)
	return err
}

// fitted prepares a stream by a policy and returns it as it is to be written.
func (s *store) fitted(t *testing.T, stream connector.Stream, policy ledger.SchemaPolicy) connector.Stream {
	t.Helper()
	got, err := s.Prepare(t.Context(), source, stream, policy)
	if err != nil {
		t.Fatalf("prepare by %s: %v", policy, err)
	}
	return got
}

// column returns customers with a column n of a type; of none without the type.
func column(typ connector.Type) connector.Stream {
	stream := customers
	stream.Columns = slices.Clone(customers.Columns)
	if typ != "" {
		stream.Columns = append(stream.Columns, connector.Column{Name: "n", Type: typ})
	}
	return stream
}

var policies = []ledger.SchemaPolicy{ledger.SchemaEvolve, ledger.SchemaFreeze, ledger.SchemaQuarantine}

var schemaCases = map[string]func(*testing.T, Harness){
	"every policy makes a table and leaves one that fits": func(t *testing.T, h Harness) {
		s := open(t, h)
		for _, policy := range policies {
			stream := calls
			stream.Name = "by_" + string(policy)
			for range 2 {
				if err := s.fit(t, stream, policy); err != nil {
					t.Errorf("%s: %v", policy, err)
				}
			}
			s.wantRows(t, stream.Name, []string{"id", "at", "seconds"})
		}
	},

	"evolve widens, and rows at rest keep their values": func(t *testing.T, h Harness) {
		s := open(t, h)
		bigint, numeric := column(connector.TypeBigint), column(connector.TypeNumeric)
		s.prepare(t, bigint)
		s.land(t, attempt(1, bigint, connector.Window{}), `{"id":1,"n":9223372036854775807}`, `{"id":2}`, `{"id":3,"n":-7}`)
		s.prepare(t, numeric)
		s.wantRows(t, "customers", []string{"id", "n"}, line("1", "9223372036854775807"), line("2", Null), line("3", "-7"))
		counts := s.land(t, attempt(2, numeric, connector.Window{}), `{"id":1,"n":9223372036854775807}`, `{"id":2}`, `{"id":3,"n":-7.25}`)
		// The same value by another type counts as changed once; null has no type.
		wantCounts(t, ledger.Counts{Rows: 3, Updated: 2, Unchanged: 1}, counts)
		s.wantRows(t, "customers", []string{"id", "n"}, line("1", "9223372036854775807"), line("2", Null), line("3", "-7.25"))
		// A declaration that is taken back leaves the table wide, and records fit it.
		back := s.fitted(t, bigint, ledger.SchemaEvolve)
		s.land(t, attempt(3, back, connector.Window{}), `{"id":3,"n":8.5}`)
		s.wantRows(t, "customers", []string{"id", "n", record.ColumnDeleted},
			line("1", "9223372036854775807", stamp(begun(3))), line("2", Null, stamp(begun(3))), line("3", "8.5", Null))
	},

	"evolve refuses what could lose a value, and says which column": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, column(connector.TypeText))
		err := s.fit(t, column(connector.TypeBigint), ledger.SchemaEvolve)
		wantFault(t, sink.FaultSchema, err)
		if !strings.Contains(err.Error(), "column n is ") {
			t.Errorf("error %q does not name the column", err)
		}
		s.prepare(t, column(connector.TypeText))
	},

	"freeze tells every difference and changes nothing": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, column(connector.TypeBigint))
		changed := column(connector.TypeNumeric)
		changed.Columns = append(changed.Columns, connector.Column{Name: "city", Type: connector.TypeText})
		err := s.fit(t, changed, ledger.SchemaFreeze)
		wantFault(t, sink.FaultSchema, err)
		for _, want := range []string{"the schema is frozen", "column n is ", "column city is missing"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("error %q does not say %q", err, want)
			}
		}
		var store *sink.Error
		if !errors.As(err, &store) || !strings.Contains(store.Hint, "ADD COLUMN") || !strings.Contains(store.Hint, "schema: evolve") {
			t.Errorf("hint %q, want what to run", store.Hint)
		}
		if err := s.fit(t, column(connector.TypeBigint), ledger.SchemaFreeze); err != nil {
			t.Errorf("the table was changed: %v", err)
		}
		// What is no longer declared is no difference: it is null in new rows.
		if err := s.fit(t, column(""), ledger.SchemaFreeze); err != nil {
			t.Error(err)
		}
	},

	"quarantine writes what fits the table as it is": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, column(connector.TypeBigint))
		changed := column(connector.TypeText)
		changed.Columns = append(changed.Columns, connector.Column{Name: "city", Type: connector.TypeText})
		fitted := s.fitted(t, changed, ledger.SchemaQuarantine)
		bad := `{"id":2,"n":"many","city":"Umeå"}`
		counts := s.read(t, attempt(1, fitted, connector.Window{}), `{"id":1,"n":"5","city":"Lund"}`, bad)
		wantCounts(t, ledger.Counts{Rows: 1, Inserted: 1, Quarantined: 1}, counts)
		s.wantRows(t, "customers", []string{"id", "n", record.ColumnExtra}, line("1", "5", `{"city":"Lund"}`))
		held := s.wantHeld(t, "customers", bad)
		// By evolve the new column is made, and by then n is declared as it was.
		changed.Columns[2].Type = connector.TypeNumeric
		fitted = s.fitted(t, changed, ledger.SchemaEvolve)
		if got := s.reland(t, 2, fitted, held); len(got.Refused) != 1 {
			t.Errorf("%+v", got)
		}
	},

	"quarantine cannot do without a key": func(t *testing.T, h Harness) {
		s := open(t, h)
		s.prepare(t, customers)
		other := customers
		other.PrimaryKey = []string{"uid"}
		other.Columns = append(slices.Clone(other.Columns), connector.Column{Name: "uid", Type: connector.TypeText})
		for _, policy := range policies {
			wantFault(t, sink.FaultSchema, s.fit(t, other, policy))
		}
	},

	"quarantine cannot do without the time column": func(t *testing.T, h Harness) {
		s := open(t, h)
		untimed := calls
		untimed.TimeColumn = ""
		untimed.Columns = []connector.Column{calls.Columns[0], calls.Columns[2]}
		s.prepare(t, untimed)
		wantFault(t, sink.FaultSchema, s.fit(t, calls, ledger.SchemaQuarantine))
		if err := s.fit(t, calls, ledger.SchemaEvolve); err != nil {
			t.Error(err)
		}
	},

	"names that no store should cut or mistake are refused": func(t *testing.T, h Harness) {
		s := open(t, h)
		long := strings.Repeat("a", 64)
		for _, name := range []string{long, "Name", "naïve", "名前", `quo"te`, "a b", "", "a;b", "1a"} {
			stream := customers
			stream.Name = name
			wantFault(t, sink.FaultSchema, s.fit(t, stream, ledger.SchemaEvolve))
			stream = column("")
			stream.Columns = append(stream.Columns, connector.Column{Name: name, Type: connector.TypeText})
			wantFault(t, sink.FaultSchema, s.fit(t, stream, ledger.SchemaEvolve))
			_, err := s.Prepare(t.Context(), name, customers, ledger.SchemaEvolve)
			wantFault(t, sink.FaultSchema, err)
		}
		// The longest names are names.
		stream := customers
		stream.Name = long[:63]
		stream.Columns = append(slices.Clone(customers.Columns),
			connector.Column{Name: strings.Repeat("b", 62) + "1", Type: connector.TypeText},
			connector.Column{Name: strings.Repeat("b", 62) + "2", Type: connector.TypeText})
		s.prepare(t, stream)
		s.land(t, attempt(1, stream, connector.Window{}), `{"id":1,"`+stream.Columns[2].Name+`":"x","`+stream.Columns[3].Name+`":"y"}`)
		s.wantRows(t, stream.Name, []string{"id", stream.Columns[2].Name, stream.Columns[3].Name}, "1 x y")
	},
}
