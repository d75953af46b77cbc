package sinktest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/record"
	"github.com/winchdata/winch/internal/record/recordtest"
	"github.com/winchdata/winch/pkg/connector"
)

// every has a column for each type, and for each way in which a time may be
// written. Columns after its first two are those that are examined.
var every = connector.Stream{
	Name: "every", Mode: connector.ModeWindow, PrimaryKey: []string{"id"}, TimeColumn: "at", Slice: connector.Days(1),
	Columns: []connector.Column{
		{Name: "id", Type: connector.TypeBigint},
		{Name: "at", Type: connector.TypeTimestamp},
		{Name: "words", Type: connector.TypeText},
		{Name: "words_or_null", Type: connector.TypeText, EmptyIsNull: true},
		{Name: "whole", Type: connector.TypeBigint},
		{Name: "exact", Type: connector.TypeNumeric},
		{Name: "double", Type: connector.TypeDouble},
		{Name: "boolean", Type: connector.TypeBoolean},
		{Name: "date", Type: connector.TypeDate},
		{Name: "date_of", Type: connector.TypeDate, Formats: []string{"02.01.2006", "2006/1/2", "20060102", time.RFC3339}},
		{Name: "rfc3339", Type: connector.TypeTimestamp},
		{Name: "rfc3339_nano", Type: connector.TypeTimestamp, Formats: []string{time.RFC3339Nano}},
		{Name: "date_time", Type: connector.TypeTimestamp, Formats: []string{time.DateTime}},
		{Name: "date_time_t", Type: connector.TypeTimestamp, Formats: []string{"2006-01-02T15:04:05"}},
		{Name: "date_only", Type: connector.TypeTimestamp, Formats: []string{time.DateOnly}},
		{Name: "unix", Type: connector.TypeTimestamp, Formats: []string{"unix"}},
		{Name: "unix_ms", Type: connector.TypeTimestamp, Formats: []string{"unix_ms"}},
		{Name: "zones", Type: connector.TypeTimestamp, Formats: []string{time.RFC1123Z, time.RFC1123, "02/01/2006 15:04:05.000 -0700"}},
		{Name: "several", Type: connector.TypeTimestamp, Formats: []string{time.DateTime, time.RFC3339, "unix_ms"}},
		{Name: "json", Type: connector.TypeJSON},
	},
}

// fields are the examined values of one record, as JSON, by column.
type fields map[string]string

// A failer is a test, or one try of a property.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// A roundTrip lands records and compares what then stands in the table with what
// recordtest says that they mean.
type roundTrip struct {
	*store
	run int64
	ids int64
}

func newRoundTrip(ctx context.Context, t testing.TB, h Harness) *roundTrip {
	t.Helper()
	s := open(t, h)
	if _, err := s.Prepare(ctx, source, every, ledger.SchemaEvolve); err != nil {
		t.Fatal("prepare:", err)
	}
	return &roundTrip{store: s}
}

// check lands the records as new rows, in place of those of the check before;
// then lands the same content under other keys, so that each row changes; and then
// the same again, so that none does.
func (r *roundTrip) check(ctx context.Context, t testing.TB, f failer, records []fields) {
	f.Helper()
	first := r.ids
	r.ids += int64(len(records))
	moved := slices.Concat(records[1:], records[:1])
	for i, round := range [][]fields{records, moved, moved} {
		accepted, counts := r.land(ctx, f, first, round)
		r.compare(t, f, accepted)
		if wrote := counts.Inserted + counts.Updated; i == 2 && wrote != 0 {
			f.Fatalf("%v, read again, wrote %d rows", records, wrote)
		}
	}
}

// land writes one window of records with ascending ids and returns those that were
// accepted, which must be those that recordtest accepts.
func (r *roundTrip) land(ctx context.Context, f failer, id int64, records []fields) (map[string]fields, ledger.Counts) {
	f.Helper()
	r.run++
	w, err := r.Begin(ctx, attempt(r.run, every, day(0)))
	if err != nil {
		f.Fatalf("begin: %v", err)
	}
	defer func() { _ = w.Close() }()
	accepted := map[string]fields{}
	for i, values := range records {
		raw := fmt.Sprintf(`{"id":%d,"at":%q`, id+int64(i), epoch.Format(time.RFC3339))
		for _, name := range slices.Sorted(maps.Keys(values)) {
			raw += fmt.Sprintf(`,%q:%s`, name, values[name])
		}
		raw += "}"
		refusing := refusing(f, values)
		var refused *record.Error
		switch err := w.Record([]byte(raw)); {
		case err != nil && !errors.As(err, &refused):
			f.Fatalf("%s: %v", raw, err)
		case err != nil && !slices.Contains(refusing, refused.Column), err == nil && refusing != nil:
			f.Fatalf("%s: %v, to be refused are %v", raw, err, refusing)
		case err == nil:
			accepted[strconv.FormatInt(id+int64(i), 10)] = values
		}
	}
	counts, err := w.Commit(ctx, connector.Usage{})
	if err != nil {
		f.Fatalf("commit %v: %v", records, err)
	}
	return accepted, counts
}

// refusing are the columns that must refuse their value.
func refusing(f failer, values fields) (names []string) {
	for name, raw := range values {
		c, _ := every.Column(name)
		if _, takes := recordtest.Meaning(parsed(f, raw), c); !takes {
			names = append(names, name)
		}
	}
	return names
}

func parsed(f failer, raw string) any {
	f.Helper()
	v, err := recordtest.Decode(bytes.TrimSpace([]byte(raw)))
	if err != nil {
		f.Fatalf("%s: %v", raw, err)
	}
	return v
}

// compare checks that the table holds the records and nothing else.
func (r *roundTrip) compare(t testing.TB, f failer, records map[string]fields) {
	f.Helper()
	names := []string{"id", record.ColumnExtra}
	for _, c := range every.Columns[2:] {
		names = append(names, c.Name)
	}
	rows := r.Rows(t, r.address, source, every.Name, names...)
	if len(rows) != len(records) {
		f.Fatalf("%d rows, want %d", len(rows), len(records))
	}
	for _, row := range rows {
		values, ok := records[row[0]]
		if !ok {
			f.Fatalf("row %s is of no record", row[0])
		}
		extra := map[string]any{}
		if row[1] != Null {
			extra, _ = parsed(f, row[1]).(map[string]any)
		}
		for i, c := range every.Columns[2:] {
			original, kept := extra[c.Name]
			if delete(extra, c.Name); values[c.Name] == "" {
				values = maps.Clone(values)
				values[c.Name] = "null"
			}
			raw, got := values[c.Name], row[2+i]
			want, storable := atRest(f, raw, c)
			// It is also kept where encoding/json reads a replacement itself.
			if !kept && !storable || kept && !reflect.DeepEqual(parsed(f, raw), original) {
				f.Fatalf("%s of %s: storable is %v, %s has %#v", c.Name, raw, storable, record.ColumnExtra, original)
			}
			if !same(f, c, want, got) {
				f.Fatalf("%s of %s is %s, want %s", c.Name, raw, got, want)
			}
		}
		if len(extra) > 0 {
			f.Fatalf("%v: %s also has %v", values, record.ColumnExtra, extra)
		}
	}
}

// atRest is what stands in the table for a value, as Harness.Rows returns it.
// storable is false where that is less than what the record says.
func atRest(f failer, raw string, c connector.Column) (text string, storable bool) {
	f.Helper()
	meaning, _ := recordtest.Meaning(parsed(f, raw), c)
	switch v := meaning.(type) {
	case nil:
		return Null, true
	case bool:
		if c.Type == connector.TypeBoolean {
			return strconv.FormatBool(v), true
		}
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), true
	case string:
		switch c.Type {
		case connector.TypeText:
			stored := recordtest.Storable(v).(string)
			return stored, stored == v
		case connector.TypeTimestamp:
			at, err := time.Parse(time.RFC3339Nano, v)
			if err != nil {
				f.Fatalf("%s: %v", v, err)
			}
			return stamp(at), true
		case connector.TypeJSON:
		default:
			return v, true
		}
	}
	stored, err := json.Marshal(recordtest.Storable(parsed(f, raw)))
	if err != nil {
		f.Fatalf("%s: %v", raw, err)
	}
	return string(stored), reflect.DeepEqual(recordtest.Storable(parsed(f, raw)), parsed(f, raw))
}

// same compares JSON by what it says, numbers by their value, since a store may
// spell them in another way, and all else by its text. SQLite has no -0.
func same(f failer, c connector.Column, want, got string) bool {
	f.Helper()
	if c.Type == connector.TypeDouble && want == "-0" && got == "0" {
		return true
	}
	if c.Type != connector.TypeJSON || want == Null || got == Null {
		return want == got
	}
	return reflect.DeepEqual(canonical(parsed(f, want)), canonical(parsed(f, got)))
}

// canonical has each number as the fraction that it is.
func canonical(v any) any {
	switch v := v.(type) {
	case json.Number:
		if r, ok := new(big.Rat).SetString(v.String()); ok {
			return json.Number(r.RatString())
		}
	case []any:
		for i := range v {
			v[i] = canonical(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = canonical(v[key])
		}
	}
	return v
}
