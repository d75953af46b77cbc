package sinktest

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/record"
	"github.com/winchdata/winch/pkg/connector"
)

// values lists what a record says and what then stands in the table.
var values = map[connector.Type][]struct{ raw, want string }{
	connector.TypeText: {
		{`"plain"`, "plain"},
		{`""`, ""},
		{`"null"`, "null"},
		{`"407382"`, "407382"},
		{`1.50`, "1.50"},
		{`true`, "true"},
		{`"it's \"q\", a\\b\t1\n2"`, "it's \"q\", a\\b\t1\n2"},
		{`"Åsa 東京 \ud83d\ude00"`, "Åsa 東京 😀"},
		{`"lone \ud83d surrogate"`, "lone \uFFFD surrogate"},
		{`"` + strings.Repeat("long ", 20_000) + `"`, strings.Repeat("long ", 20_000)},
	},
	connector.TypeBigint: {
		{`0`, "0"},
		{`-1`, "-1"},
		{`"407382"`, "407382"},
		{`9223372036854775807`, "9223372036854775807"},
		{`-9223372036854775808`, "-9223372036854775808"},
	},
	connector.TypeNumeric: {
		{`0`, "0"},
		{`12.50`, "12.50"},
		{`-12.500`, "-12.500"},
		{`"0.1"`, "0.1"},
		{`1e3`, "1000"},
		{`12345678901234567890123456789.123456789012345678901234567890`, "12345678901234567890123456789.123456789012345678901234567890"},
	},
	connector.TypeDouble: {
		{`0.1`, "0.1"},
		{`3`, "3"},
		{`-2.5`, "-2.5"},
		{`1.7976931348623157e308`, "1.7976931348623157e+308"},
		{`5e-324`, "5e-324"},
		{`"9007199254740993"`, "9.007199254740992e+15"},
	},
	connector.TypeBoolean: {
		{`true`, "true"},
		{`false`, "false"},
		{`0`, "false"},
		{`"yes"`, "true"},
	},
	connector.TypeDate: {
		{`"2026-03-01"`, "2026-03-01"},
		{`"1970-01-01"`, "1970-01-01"},
		{`"1582-10-15"`, "1582-10-15"},
		{`"0001-01-01"`, "0001-01-01"},
		{`"2024-02-29"`, "2024-02-29"},
		{`"9999-12-31"`, "9999-12-31"},
	},
	connector.TypeTimestamp: {
		{`"2026-03-01T12:34:56Z"`, "2026-03-01T12:34:56.000000Z"},
		{`"2026-03-01T12:34:56.123456789+02:00"`, "2026-03-01T10:34:56.123456Z"},
		{`"1969-12-31T23:59:59.999999Z"`, "1969-12-31T23:59:59.999999Z"},
		{`"0001-01-01T00:00:00Z"`, "0001-01-01T00:00:00.000000Z"},
		{`"9999-12-31T23:59:59.999999Z"`, "9999-12-31T23:59:59.999999Z"},
	},
	connector.TypeJSON: {
		{`{"a":[1,2.50,"x"],"b":null}`, `{"a":[1,2.50,"x"],"b":null}`},
		{`[]`, `[]`},
		{`"text"`, `"text"`},
		{`12.50`, `12.50`},
	},
}

var valueCases = func() map[string]func(*testing.T, Harness) {
	cases := map[string]func(*testing.T, Harness){
		// What becomes of a NUL and of what is not declared is the decoder's rule;
		// the sink takes what it gives.
		"NUL and what is not declared land as the decoder gives them": func(t *testing.T, h Harness) {
			raw := `{"id":1,"name":"a\u0000b","new":{"deep":[1,"\u0000\ud83d"]}}`
			s := open(t, h)
			s.prepare(t, customers)
			s.land(t, attempt(1, customers, connector.Window{}), raw, `{"id":2}`)
			row := decode(t, customers, raw)
			want := map[string][]string{
				"1": {"1", string(row.Values[1].Bytes), compact(string(row.Extra))},
				"2": {"2", Null, Null},
			}
			got := map[string][]string{}
			for _, r := range h.Rows(t, s.address, source, "customers", "id", "name", record.ColumnExtra) {
				got[r[0]] = []string{r[0], r[1], compact(r[2])}
			}
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
		},

		"equal numbers identify one row, however they are written": func(t *testing.T, h Harness) {
			s := open(t, h)
			stream := connector.Stream{
				Name: "things", Mode: connector.ModeCursor, PrimaryKey: []string{"key"},
				Columns: []connector.Column{{Name: "key", Type: connector.TypeNumeric}, {Name: "n", Type: connector.TypeBigint}},
			}
			s.prepare(t, stream)
			s.land(t, attempt(1, stream, connector.Window{}), `{"key":1.5,"n":1}`, `{"key":100,"n":1}`)
			counts := s.land(t, attempt(2, stream, connector.Window{}), `{"key":1.50,"n":2}`, `{"key":"100.0","n":2}`, `{"key":1.500,"n":3}`)
			wantCounts(t, ledger.Counts{Rows: 2, Updated: 2}, counts)
			s.wantRows(t, "things", []string{"n"}, "2", "3")
		},

		"a row carries run, moment and hash": func(t *testing.T, h Harness) {
			raw := `{"id":1,"name":"Ada","new":1}`
			s := open(t, h)
			s.prepare(t, customers)
			s.land(t, attempt(7, customers, connector.Window{}), raw)
			hash := decode(t, customers, raw).Hash
			s.wantRows(t, "customers", []string{record.ColumnRun, record.ColumnSeenAt, record.ColumnHash, record.ColumnDeleted},
				line("7", stamp(begun(7)), hex.EncodeToString(hash[:]), Null))
		},
	}
	for typ, want := range values {
		cases["every "+string(typ)+" lands exactly"] = func(t *testing.T, h Harness) {
			s := open(t, h)
			stream := connector.Stream{
				Name: "things", Mode: connector.ModeCursor, PrimaryKey: []string{"id"},
				Columns: []connector.Column{{Name: "id", Type: connector.TypeBigint}, {Name: "value", Type: typ}},
			}
			s.prepare(t, stream)
			w := s.begin(t, attempt(1, stream, connector.Window{}))
			emit(t, w, `{"id":-1,"value":null}`, `{"id":-2}`)
			for i, v := range want {
				emit(t, w, fmt.Sprintf(`{"id":%d,"value":%s}`, i, v.raw))
			}
			commit(t, w)
			got := map[string]string{}
			for _, row := range h.Rows(t, s.address, source, "things", "id", "value") {
				got[row[0]] = row[1]
				if typ == connector.TypeJSON {
					got[row[0]] = compact(row[1])
				}
			}
			expected := map[string]string{"-1": Null, "-2": Null}
			for i, v := range want {
				expected[fmt.Sprint(i)] = v.want
			}
			if diff := gocmp.Diff(expected, got); diff != "" {
				t.Errorf("values (-want +got):\n%s", diff)
			}
		}
		if typ == connector.TypeJSON {
			continue
		}
		cases["a "+string(typ)+" identifies a row"] = func(t *testing.T, h Harness) {
			s := open(t, h)
			stream := connector.Stream{
				Name: "things", Mode: connector.ModeSnapshot, PrimaryKey: []string{"key", "id"},
				Columns: []connector.Column{{Name: "id", Type: connector.TypeBigint}, {Name: "key", Type: typ}, {Name: "n", Type: connector.TypeBigint}},
			}
			s.prepare(t, stream)
			for run := int64(1); run <= 3; run++ {
				w := s.begin(t, attempt(run, stream, connector.Window{}))
				for i, v := range want {
					if len(v.raw) > 1000 || strings.Contains(v.raw, "lone") {
						continue // no key of PostgreSQL is that long, and none may be repaired
					}
					emit(t, w, fmt.Sprintf(`{"id":%d,"key":%s,"n":%d}`, i, v.raw, run/2))
				}
				counts := commit(t, w)
				if counts.Inserted != 0 && run != 1 || counts.Deleted != 0 || (run == 3) != (counts.Unchanged == counts.Rows) {
					t.Errorf("run %d: counts %+v", run, counts)
				}
			}
		}
	}
	return cases
}()

// compact returns JSON text without the white space that a store may add.
func compact(text string) string {
	var b bytes.Buffer
	if json.Compact(&b, []byte(text)) != nil {
		return text // Null
	}
	return b.String()
}

// decode returns the record as every sink gets it.
func decode(t *testing.T, stream connector.Stream, raw string) *record.Row {
	t.Helper()
	decoder, err := record.NewDecoder(stream)
	if err != nil {
		t.Fatal(err)
	}
	row := &record.Row{}
	if err := decoder.Decode([]byte(raw), row); err != nil {
		t.Fatal(err)
	}
	return row
}
