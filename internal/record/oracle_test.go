package record_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/winchdata/winch/internal/record"
	"github.com/winchdata/winch/internal/record/recordtest"
	"github.com/winchdata/winch/pkg/connector"
)

var oracleStream = connector.Stream{
	Name: "things", Mode: connector.ModeSnapshot, PrimaryKey: []string{"id"},
	Columns: []connector.Column{
		{Name: "id", Type: connector.TypeText},
		{Name: "t", Type: connector.TypeText},
		{Name: "e", Type: connector.TypeText, EmptyIsNull: true},
		{Name: "i", Type: connector.TypeBigint},
		{Name: "n", Type: connector.TypeNumeric},
		{Name: "f", Type: connector.TypeDouble},
		{Name: "b", Type: connector.TypeBoolean},
		{Name: "d", Type: connector.TypeDate},
		{Name: "at", Type: connector.TypeTimestamp},
		{Name: "local", Type: connector.TypeTimestamp, Formats: []string{"2006-01-02 15:04:05", "unix"}},
		{Name: "j", Type: connector.TypeJSON},
		{Name: "t_again", Type: connector.TypeText, Path: []string{"t"}},
		{Name: "sender_name", Type: connector.TypeText, Path: []string{"s", "t"}},
		{Name: "sender_city", Type: connector.TypeText, Path: []string{"s", "s", "t"}},
		{Name: "whole", Type: connector.TypeJSON, Path: []string{"w"}},
		{Name: "part", Type: connector.TypeText, Path: []string{"w", "t"}},
		{Name: "hidden", Type: connector.TypeText, Path: []string{"w", "x"}, Secret: true},
		{Name: "password", Type: connector.TypeText, Path: []string{"x"}, Secret: true},
	},
}

// checkRecord holds Decode against encoding/json: every value is accepted or
// refused by the declared rules and says what the record says, and what is in no
// column is in Extra.
func checkRecord(t interface {
	Helper()
	Fatalf(format string, args ...any)
}, d *record.Decoder, row *record.Row, raw []byte,
) {
	t.Helper()
	err := d.Decode(raw, row)
	var fault *record.Error
	if err != nil && !errors.As(err, &fault) {
		t.Fatalf("%q: %v is no *record.Error", raw, err)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var rest map[string]any
	if !json.Valid(raw) || raw[bytes.IndexAny(raw, "{[\"0123456789-tfn")] != '{' {
		if err == nil || fault.Column != "" {
			t.Fatalf("%q: %v, want an error of the whole record", raw, err)
		}
		return
	}
	if err := dec.Decode(&rest); err != nil {
		t.Fatalf("%q: %v", raw, err)
	}

	remove(rest, []string{"w", "x"})
	remove(rest, []string{"x"})
	extra := map[string]any{}
	if err == nil && row.Extra != nil {
		if !utf8.Valid(row.Extra) {
			t.Fatalf("%q: extra is not UTF-8: %q", raw, row.Extra)
		}
		extra = decoded(t, row.Extra).(map[string]any)
		if len(extra) == 0 {
			t.Fatalf("%q: extra is empty, not nil", raw)
		}
	}
	accepted := true
	for i, c := range d.Columns() {
		v, _ := at(rest, c.Source())
		want, takes := recordtest.Meaning(v, c)
		if c.Name == "id" && takes {
			s, isText := want.(string)
			takes = isText && !strings.Contains(s, "\x00")
			if err != nil && strings.Contains(s, "\ufffd") {
				takes = false // it stands for something else
			}
		}
		if !takes {
			if accepted = false; err == nil {
				t.Fatalf("%q: column %s took %#v as %s", raw, c.Name, v, shown(row.Values[i], c.Type))
			}
			continue
		}
		if err != nil {
			if fault.Column == c.Name {
				t.Fatalf("%q: %v, want %#v", raw, err, want)
			}
			continue
		}
		// Where the value could not be stored as it is, extra has it too.
		kept, inExtra := at(extra, c.Source())
		if inExtra && !reflect.DeepEqual(kept, v) {
			t.Fatalf("%q: extra has %#v for column %s, want %#v", raw, kept, c.Name, v)
		}
		got := stored(t, row.Values[i], c.Type)
		if s, isText := want.(string); isText && strings.Contains(s, "\x00") || c.Type == connector.TypeJSON && !reflect.DeepEqual(got, want) {
			if !inExtra {
				t.Fatalf("%q: column %s lost something of %#v", raw, c.Name, v)
			}
			if recordtest.Collides(v) {
				continue
			}
			want = recordtest.Storable(want)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: column %s is %#v, want %#v", raw, c.Name, got, want)
		}
	}
	if accepted != (err == nil) {
		t.Fatalf("%q: %v, want accepted: %v", raw, err, accepted)
	}
	if err != nil {
		return
	}
	for _, c := range d.Columns() {
		remove(extra, c.Source())
		remove(rest, c.Source())
	}
	for _, m := range []map[string]any{rest, extra} {
		prune(m, "s", "s")
		prune(m, "s")
	}
	if !reflect.DeepEqual(extra, rest) {
		t.Fatalf("%q:\nextra %s\nwant  %#v", raw, row.Extra, rest)
	}

	var fresh record.Row
	if err := d.Decode(raw, &fresh); err != nil || fresh.Hash != row.Hash || !bytes.Equal(fresh.Extra, row.Extra) || !reflect.DeepEqual(fresh.Values, row.Values) {
		t.Fatalf("%q: a fresh row reads it differently: %v", raw, err)
	}
}

// stored gives a decoded value the form of expected.
func stored(t interface {
	Helper()
	Fatalf(format string, args ...any)
}, v record.Value, typ connector.Type,
) any {
	t.Helper()
	if v.Null {
		if !reflect.DeepEqual(v, record.Value{Null: true}) {
			t.Fatalf("a null value holds something: %+v", v)
		}
		return nil
	}
	if !utf8.Valid(v.Bytes) || typ == connector.TypeText && bytes.IndexByte(v.Bytes, 0) >= 0 {
		t.Fatalf("a value holds what cannot be stored: %q", v.Bytes)
	}
	switch typ {
	case connector.TypeBoolean:
		return v.Int == 1
	case connector.TypeDouble:
		return v.Float
	case connector.TypeJSON:
		return decoded(t, v.Bytes)
	default:
		return shown(v, typ)
	}
}

func decoded(t interface {
	Helper()
	Fatalf(format string, args ...any)
}, text []byte,
) any {
	t.Helper()
	v, err := recordtest.Decode(text)
	if err != nil {
		t.Fatalf("not JSON: %q: %v", text, err)
	}
	return v
}

func at(m map[string]any, path []string) (any, bool) {
	for _, key := range path[:len(path)-1] {
		inner, ok := m[key].(map[string]any)
		if !ok {
			return nil, false
		}
		m = inner
	}
	v, ok := m[path[len(path)-1]]
	return v, ok
}

func remove(m map[string]any, path []string) {
	last := len(path) - 1
	if last > 0 {
		parent, _ := at(m, path[:last])
		m, _ = parent.(map[string]any)
	}
	delete(m, path[last]) // of a nil map too
}

// prune removes an empty object or null that leads to columns.
func prune(m map[string]any, path ...string) {
	v, ok := at(m, path)
	if inner, isObject := v.(map[string]any); ok && (v == nil || isObject && len(inner) == 0) {
		remove(m, path)
	}
}

// scalars are values in which the types differ.
var scalars = []string{
	`null`, `true`, `false`, `0`, `-0`, `1`, `-1.50`, `2.0`, `1e3`, `1.25E-2`, `9223372036854775807`, `9223372036854775808`, `1e999`, `1e-1001`, `1e131073`, `123456789.123456789`,
	`""`, `" "`, `"a"`, `"1"`, `" 1.50 "`, `"1e2"`, `".5"`, `"+7."`, `"007"`, `"NaN"`, `"0x1"`, `"1_0"`, `"true"`, `"No"`, `"Y"`,
	`"2024-02-29"`, `"2023-02-29"`, `"0000-01-01"`, `"2024-03-05T12:34:56Z"`, `"2024-03-05T12:34:56.1234567+02:00"`, `"2024-03-05 12:34:56"`, `"2024-03-05T1:34:56Z"`, `"2024-03-05T12:34:56,5Z"`,
	`"1709642096.5"`, `-1.2345678`, `"\u0000"`, `"\ud800"`, `"\ud83d\ude00"`, `"a\"\\\/\b\f\n\r\t\u00e9"`, `"日本"`, "\"\xff\"", "\"a\xc3\\n\"", `"\u0031"`,
}

func genRecord() *rapid.Generator[string] {
	keys := rapid.SampledFrom([]string{
		`"id"`, `"id"`, `"t"`, `"e"`, `"i"`, `"n"`, `"f"`, `"b"`, `"d"`, `"at"`, `"local"`, `"j"`, `"s"`, `"s"`, `"w"`, `"w"`, `"x"`,
		`"new"`, `"newer"`, `"t_again"`, `"\u0074"`, `"ne\u0077"`, `"a\/b"`, `"é"`, "\"\xff\"", `"\u0000"`, `""`, `"\ud800"`,
	})
	space := rapid.SampledFrom([]string{"", "", "", " ", "\n\t"})
	var value func(depth int) *rapid.Generator[string]
	object := func(depth int) *rapid.Generator[string] {
		return rapid.Custom(func(t *rapid.T) string {
			var members []string
			for range rapid.IntRange(0, 8).Draw(t, "members") {
				members = append(members, space.Draw(t, "space")+keys.Draw(t, "key")+space.Draw(t, "space")+":"+value(depth+1).Draw(t, "value"))
			}
			return "{" + strings.Join(members, ",") + space.Draw(t, "space") + "}"
		})
	}
	value = func(depth int) *rapid.Generator[string] {
		kinds := []*rapid.Generator[string]{rapid.SampledFrom(scalars), rapid.SampledFrom(scalars)}
		if depth < 4 {
			kinds = append(kinds, object(depth), rapid.Custom(func(t *rapid.T) string {
				return "[" + space.Draw(t, "space") + strings.Join(rapid.SliceOfN(value(depth+1), 0, 3).Draw(t, "elements"), ",") + "]"
			}))
		}
		return rapid.OneOf(kinds...)
	}
	return object(0)
}

func TestDecodeAgreesWithEncodingJSON(t *testing.T) {
	t.Parallel()
	d, err := record.NewDecoder(oracleStream)
	if err != nil {
		t.Fatal(err)
	}
	var row record.Row
	// Each value in each column alone, since a record of many random values is
	// almost always refused.
	for _, c := range d.Columns() {
		for _, s := range scalars {
			path := c.Source()
			text := s
			for i := len(path) - 1; i >= 0; i-- {
				text = `{"` + path[i] + `":` + text + `}`
			}
			checkRecord(t, d, &row, []byte(`{"id":"1","new":0,`+text[1:]))
		}
	}
	t.Run("generated", func(t *testing.T) {
		gen := genRecord()
		rapid.Check(t, func(t *rapid.T) { checkRecord(t, d, &row, []byte(gen.Draw(t, "record"))) })
	})
}

// lenient has the columns that take nearly anything, so that most of what is
// generated is accepted.
func lenient(t testing.TB) *record.Decoder {
	stream := oracleStream
	stream.Columns = nil
	for _, c := range oracleStream.Columns {
		if c.Name == "id" || c.Type == connector.TypeJSON || c.Secret || len(c.Path) > 1 {
			stream.Columns = append(stream.Columns, c)
		}
	}
	d, err := record.NewDecoder(stream)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestExtraAgreesWithEncodingJSON(t *testing.T) {
	t.Parallel()
	d := lenient(t)
	var row record.Row
	accepted := 0
	gen := genRecord()
	rapid.Check(t, func(t *rapid.T) {
		raw := `{"id":"1",` + gen.Draw(t, "record")[1:]
		if strings.HasSuffix(strings.TrimRight(raw, "} \n\t"), ",") {
			raw = `{"id":"1"}`
		}
		if checkRecord(t, d, &row, []byte(raw)); row.Extra != nil {
			accepted++
		}
	})
	if accepted == 0 {
		t.Error("no record was accepted")
	}
}

func FuzzDecode(f *testing.F) {
	strict, err := record.NewDecoder(oracleStream)
	if err != nil {
		f.Fatal(err)
	}
	loose := lenient(f)
	f.Add([]byte(typicalRecord))
	f.Add([]byte(messyRecord))
	for i, s := range scalars {
		c := oracleStream.Columns[i%len(oracleStream.Columns)]
		f.Add([]byte(`{"id":"1","` + c.Source()[0] + `":` + s + `,"new":` + s + `}`))
		f.Add([]byte(`{"id":1,"s":{"t":"a","x":` + s + `},"w":{"t":` + s + `,"x":1},"s":{"s":{"t":` + s + `,"y":0}}}`))
	}
	var rows [2]record.Row
	f.Fuzz(func(t *testing.T, raw []byte) {
		if bytes.Count(raw, []byte("["))+bytes.Count(raw, []byte("{")) > 900 {
			return // the limits of nesting differ
		}
		checkRecord(t, strict, &rows[0], raw)
		checkRecord(t, loose, &rows[1], raw)
	})
}
