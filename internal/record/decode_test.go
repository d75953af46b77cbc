package record_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/record"
	"github.com/winchdata/winch/pkg/connector"
)

func newDecoder(t testing.TB, columns ...connector.Column) *record.Decoder {
	t.Helper()
	stream := connector.Stream{Name: "things", Mode: connector.ModeSnapshot, PrimaryKey: []string{"id"}}
	stream.Columns = append([]connector.Column{{Name: "id", Type: connector.TypeBigint}}, columns...)
	d, err := record.NewDecoder(stream)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// shown renders a value as the tables below write it.
func shown(v record.Value, typ connector.Type) string {
	switch {
	case v.Null:
		return "null"
	case typ == connector.TypeDouble:
		return fmt.Sprint(v.Float)
	case typ == connector.TypeDate:
		return time.Unix(v.Int*86400, 0).UTC().Format(time.DateOnly)
	case typ == connector.TypeTimestamp:
		return time.UnixMicro(v.Int).UTC().Format(time.RFC3339Nano)
	case v.Bytes != nil:
		return string(v.Bytes)
	}
	return fmt.Sprint(v.Int)
}

const refused = "refused"

func TestTypes(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("9", 300)
	for _, c := range []struct {
		column connector.Column
		want   map[string]string // by the value in the record
	}{
		{connector.Column{Type: connector.TypeText}, map[string]string{
			`"a"`: "a", `""`: "", `" a "`: " a ", `"a\n\u00e9\ud83d\ude00"`: "a\né😀", `"日本"`: "日本", `1.50`: "1.50", `-0`: "-0", `1e5`: "1e5",
			`true`: "true", `false`: "false", `null`: "null", `{}`: refused, `["a"]`: refused,
		}},
		{connector.Column{Type: connector.TypeText, EmptyIsNull: true}, map[string]string{`""`: "null", `" "`: " ", `"a"`: "a"}},
		{connector.Column{Type: connector.TypeBigint}, map[string]string{
			`0`: "0", `-0`: "0", `-1`: "-1", `1234567890123456789`: "1234567890123456789", `9223372036854775807`: "9223372036854775807",
			`-9223372036854775808`: "-9223372036854775808", `9223372036854775808`: refused, `-9223372036854775809`: refused,
			`18446744073709551615`: refused, `18446744073709551616`: refused, `28446744073709551616`: refused,
			`1.0`: "1", `1e3`: "1000", `1.5e1`: "15", `1500e-2`: "15", `1505e-2`: refused, `1.5`: refused, `1e-1`: refused, `1e18`: "1000000000000000000", `1e19`: refused,
			`0e999999999999`: "0", `1e999999999999`: refused, `1e-999999999999`: refused, `0.000`: "0",
			`"407382"`: "407382", `" 7 "`: "7", `"+7"`: "7", `"007"`: "7", `"7.00"`: "7", `"1e3"`: "1000", `"-9223372036854775808"`: "-9223372036854775808",
			`""`: "null", `"  "`: "null", `null`: "null", `"\u0037"`: "7",
			`"a"`: refused, `"1a"`: refused, `"1 2"`: refused, `"0x10"`: refused, `"1_000"`: refused, `"1,000"`: refused, `"--1"`: refused, `"-"`: refused, `"1e"`: refused, `"."`: refused, `"é"`: refused,
			`true`: refused, `{}`: refused, `[]`: refused,
		}},
		{connector.Column{Type: connector.TypeNumeric}, map[string]string{
			`28.50`: "28.50", `0.1`: "0.1", `-12.50`: "-12.50", `0`: "0", `-0`: "0", `-0.00`: "0.00", `-0.01`: "-0.01", `1e-7`: "0.0000001", `1.5E+3`: "1500", `1.50e1`: "15.0",
			`1.5e0`: "1.5", `0.05e1`: "0.5", `0.005e1`: "0.05", `0.0e2`: "0", `0e-3`: "0.000", `-0e-3`: "0.000", `10e-1`: "1.0", `12.34e-5`: "0.0001234",
			`123456789012345678901234567890.123456789`: "123456789012345678901234567890.123456789", long + `.5`: long + ".5",
			`1e1000`: "1" + strings.Repeat("0", 1000), `1e-1000`: "0." + strings.Repeat("0", 999) + "1", `1e1001`: refused, `1e-1001`: refused, `1e99999999999999999999`: refused,
			strings.Repeat("1", 131072): strings.Repeat("1", 131072), strings.Repeat("1", 131073): refused,
			`0.` + strings.Repeat("1", 16383): "0." + strings.Repeat("1", 16383), `0.` + strings.Repeat("1", 16384): refused,
			`"28.50"`: "28.50", `" -1.10 "`: "-1.10", `"+1.0"`: "1.0", `"007.5"`: "7.5", `".5"`: "0.5", `"+.5"`: "0.5", `"5."`: "5", `"-.0"`: "0.0", `"1E2"`: "100",
			`""`: "null", `null`: "null",
			`"NaN"`: refused, `"Infinity"`: refused, `"1,5"`: refused, `"1.2.3"`: refused, `"abc"`: refused, `"$5"`: refused, `"."`: refused, `"+"`: refused, `true`: refused, `[1]`: refused,
		}},
		{connector.Column{Type: connector.TypeDouble}, map[string]string{
			`1.5`: "1.5", `-0.0`: "-0", `1e308`: "1e+308", `1e-400`: "0", `0.1`: "0.1", `123456789012345678`: "1.2345678901234568e+17", `"2.5"`: "2.5", `" 2.5\t"`: "2.5",
			`""`: "null", `null`: "null", `1e309`: refused, `-1e309`: refused, `"NaN"`: refused, `"inf"`: refused, `"0x1p-2"`: refused, `"1_0"`: refused, `false`: refused, `{}`: refused,
		}},
		{connector.Column{Type: connector.TypeBoolean}, map[string]string{
			`true`: "1", `false`: "0", `1`: "1", `0`: "0", `1.0`: "1", `"1"`: "1", `"0"`: "0", `"t"`: "1", `"F"`: "0", `"True"`: "1", `"FALSE"`: "0", `"y"`: "1", `"N"`: "0", `"Yes"`: "1", `"no"`: "0",
			`""`: "null", `null`: "null", `2`: refused, `-1`: refused, `0.5`: refused, `"on"`: refused, `"ja"`: refused, `"truee"`: refused, `"falsey"`: refused, `"1.0"`: refused, `[]`: refused,
		}},
		{connector.Column{Type: connector.TypeDate}, map[string]string{
			`"2024-02-29"`: "2024-02-29", `"1969-12-31"`: "1969-12-31", `"0001-01-01"`: "0001-01-01", `"9999-12-31"`: "9999-12-31", `" 2024-01-01 "`: "2024-01-01",
			`""`: "null", `null`: "null", `"2023-02-29"`: refused, `"1900-02-29"`: refused, `"0000-01-01"`: refused, `"2024-13-01"`: refused, `"2024-00-01"`: refused, `"2024-01-32"`: refused, `"2024-01-00"`: refused,
			`"2024-1-1"`: refused, `"2024-01-01T00:00:00Z"`: refused, `"20240101"`: refused, `20240101`: refused, `"10000-01-01"`: refused, `"today"`: refused, `true`: refused,
		}},
		{connector.Column{Type: connector.TypeDate, Formats: []string{"02.01.2006", "20060102", time.RFC3339}}, map[string]string{
			`"31.12.2023"`: "2023-12-31", `"20231231"`: "2023-12-31", `"2023-12-31T23:30:00-05:00"`: "2023-12-31", `"2023-12-31"`: refused, `"31.12.0000"`: refused, `20231231`: refused,
		}},
		{connector.Column{Type: connector.TypeTimestamp}, map[string]string{
			`"2024-03-05T12:34:56Z"`: "2024-03-05T12:34:56Z", `"2024-03-05T12:34:56.123456Z"`: "2024-03-05T12:34:56.123456Z",
			`"2024-03-05T12:34:56.1234569Z"`: "2024-03-05T12:34:56.123456Z", `"1969-12-31T23:59:59.9999999Z"`: "1969-12-31T23:59:59.999999Z",
			`"2024-03-05T12:34:56.5+02:30"`: "2024-03-05T10:04:56.5Z", `"2024-03-05T12:34:56-05:00"`: "2024-03-05T17:34:56Z", `"2024-03-05T12:34:56.123456789012345Z"`: "2024-03-05T12:34:56.123456Z",
			`"0001-01-01T00:00:00Z"`: "0001-01-01T00:00:00Z", `"9999-12-31T23:59:59.999999Z"`: "9999-12-31T23:59:59.999999Z",
			`"0001-01-01T00:00:00+01:00"`: refused, `"9999-12-31T23:59:59-01:00"`: refused, `"0000-06-01T00:00:00Z"`: refused,
			`""`: "null", `null`: "null", `"2024-03-05T24:00:00Z"`: refused, `"2024-03-05T12:60:00Z"`: refused, `"2024-03-05T12:34:60Z"`: refused, `"2024-03-05T12:34:56"`: refused,
			`"2024-03-05 12:34:56Z"`: refused, `"2024-03-05"`: refused, `"2024-03-05T12:34:56.Z"`: refused, `"2024-03-05T12:34:56+0200"`: refused, `1709642096`: refused, `"1709642096"`: refused, `true`: refused,
		}},
		{connector.Column{Type: connector.TypeTimestamp, Formats: []string{time.DateTime, time.DateOnly, "2006-01-02T15:04:05", time.RFC1123}}, map[string]string{
			`"2011-11-14 23:00:00"`: "2011-11-14T23:00:00Z", `"2011-11-14 23:00:00.25"`: "2011-11-14T23:00:00.25Z", `"2011-11-14"`: "2011-11-14T00:00:00Z", `"2011-11-14T01:02:03"`: "2011-11-14T01:02:03Z",
			`"2011-11-14T01:02:03Z"`: refused, `"0000-01-01"`: refused,
			`"Mon, 14 Nov 2011 23:00:00 GMT"`: "2011-11-14T23:00:00Z", `"Mon, 14 Nov 2011 23:00:00 UTC"`: "2011-11-14T23:00:00Z",
			`"Mon, 14 Nov 2011 23:00:00 CET"`: refused, // its offset is not known
		}},
		{connector.Column{Type: connector.TypeTimestamp, Formats: []string{"unix", time.RFC3339}}, map[string]string{
			`1709642096`: "2024-03-05T12:34:56Z", `"1709642096"`: "2024-03-05T12:34:56Z", `1709642096.1234569`: "2024-03-05T12:34:56.123456Z", `1.709642096e9`: "2024-03-05T12:34:56Z", `-1`: "1969-12-31T23:59:59Z",
			`-1.2345678`: "1969-12-31T23:59:58.765433Z", `0`: "1970-01-01T00:00:00Z", `"2024-03-05T12:34:56Z"`: "2024-03-05T12:34:56Z",
			`253402300799`: "9999-12-31T23:59:59Z", `253402300800`: refused, `-62135596800`: "0001-01-01T00:00:00Z", `-62135596801`: refused, `1e300`: refused, `1709642096000`: refused, `""`: "null",
		}},
		{connector.Column{Type: connector.TypeTimestamp, Formats: []string{"unix_ms"}}, map[string]string{
			`1709642096123`: "2024-03-05T12:34:56.123Z", `"1709642096123.4567"`: "2024-03-05T12:34:56.123456Z", `1e-999999999`: "1970-01-01T00:00:00Z", `"now"`: refused, `true`: refused,
		}},
		{connector.Column{Type: connector.TypeJSON}, map[string]string{
			`{"b": [1, 2.50 ,null]}`: `{"b": [1, 2.50 ,null]}`, `"x"`: `"x"`, `1e5`: `1e5`, `true`: `true`, `[]`: `[]`, `"\n\\u0000"`: `"\n\\u0000"`, `{"a":1,"a":2}`: `{"a":1,"a":2}`,
			`null`: "null", `""`: "null",
		}},
	} {
		c.column.Name = "it"
		d := newDecoder(t, c.column)
		var row record.Row
		for in, want := range c.want {
			err := d.Decode([]byte(`{"id":1,"it":`+in+`}`), &row)
			var fault *record.Error
			switch {
			case err != nil && !errors.As(err, &fault):
				t.Errorf("%s %s: %v is no *record.Error", c.column.Type, in, err)
			case want == refused:
				if err == nil {
					t.Errorf("%s %.60s: accepted as %s", c.column.Type, in, shown(row.Values[1], c.column.Type))
				} else if fault.Column != "it" {
					t.Errorf("%s %.60s: %v, want an error of the column", c.column.Type, in, err)
				}
			case err != nil:
				t.Errorf("%s %.60s: %v", c.column.Type, in, err)
			default:
				if got := shown(row.Values[1], c.column.Type); got != want {
					t.Errorf("%s %.60s = %.60s, want %.60s", c.column.Type, in, got, want)
				}
				if row.Extra != nil {
					t.Errorf("%s %.60s: extra %s", c.column.Type, in, row.Extra)
				}
			}
		}
		if err := d.Decode([]byte(`{"id":1}`), &row); err != nil || !row.Values[1].Null {
			t.Errorf("%s: an absent key is not null: %v", c.column.Type, err)
		}
	}
}

// nested has columns at paths that overlap, and secrets below and beside them.
func nested(t testing.TB) *record.Decoder {
	return newDecoder(t,
		connector.Column{Name: "name", Type: connector.TypeText, Path: []string{"sender", "name"}},
		connector.Column{Name: "city", Type: connector.TypeText, Path: []string{"sender", "address", "city"}},
		connector.Column{Name: "tags", Type: connector.TypeJSON},
		connector.Column{Name: "auth", Type: connector.TypeJSON},
		connector.Column{Name: "user", Type: connector.TypeText, Path: []string{"auth", "user"}},
		connector.Column{Name: "token", Type: connector.TypeText, Path: []string{"auth", "token"}, Secret: true},
		connector.Column{Name: "key", Type: connector.TypeText, Path: []string{"auth", "deep", "key"}, Secret: true},
		connector.Column{Name: "password", Type: connector.TypeText, Secret: true},
		connector.Column{Name: "pin", Type: connector.TypeText, Path: []string{"sender", "pin"}, Secret: true},
		connector.Column{Name: "slashed", Type: connector.TypeText, Path: []string{`a/b"c`}},
	)
}

func TestExtraHoldsWhatIsNotDeclared(t *testing.T) {
	t.Parallel()
	d := nested(t)
	var row record.Row
	for _, c := range []struct{ name, in, values, extra string }{
		{"nothing beyond", `{"id":1,"sender":{"name":"a"}}`, "1 a null null null null null", ""},
		{"as it stands", ` { "x" : [1, 2.50,{"y": null}] , "id" : 1 , "n":null } `, "1 null null null null null null", `{"x":[1, 2.50,{"y": null}],"n":null}`},
		{"rest stays nested", `{"id":1,"sender":{"age":3,"name":"a","address":{"zip":"1","city":"c"}}}`, "1 a c null null null null", `{"sender":{"age":3,"address":{"zip":"1"}}}`},
		{"empty object and null on the way", `{"id":1,"sender":{"address":{}}}`, "1 null null null null null null", ""},
		{"null on the way", `{"id":1,"sender":null}`, "1 null null null null null null", ""},
		{"something else on the way", `{"id":1,"sender":"x"}`, "1 null null null null null null", `{"sender":"x"}`},
		{"array on the way", `{"id":1,"sender":[{"name":"a"}]}`, "1 null null null null null null", `{"sender":[{"name":"a"}]}`},
		{"json holds its object whole", `{"id":1,"auth":{"user":"u","k":[1]}}`, `1 null null null {"user":"u","k":[1]} u null`, ""},
		{"secret below json", `{"id":1,"auth":{"token":"sss","user":"u"}}`, `1 null null null {"user":"u"} u null`, ""},
		{"secret alone below json", `{"id":1,"auth":{"token":"sss"}}`, `1 null null null {} null null`, ""},
		{"secret far below json", `{"id":1,"auth":{"deep":{"key":"sss","x":{"key":1}},"y":{"key":1}}}`, `1 null null null {"deep":{"x":{"key":1}},"y":{"key":1}} null null`, ""},
		{"secret of another type", `{"id":1,"password":{"a":[1]},"sender":{"pin":1,"x":2}}`, "1 null null null null null null", `{"sender":{"x":2}}`},
		{"escaped secret key", `{"id":1,"p\u0061ssword":"sss","auth":{"t\u006fken":"sss"}}`, "1 null null null {} null null", ""},
		{"repeated secret key", `{"id":1,"password":"sss","password":"ttt"}`, "1 null null null null null null", ""},
		{"escaped key", `{"\u0069d":1,"a\/b\"c":"s","x\ny":"\u0041"}`, "1 null null null null null s", `{"x\u000ay":"\u0041"}`},
		{"last of equal keys", `{"id":7,"x":1,"tags":1,"y":2,"x":3,"id":1,"tags":null}`, "1 null null null null null null", `{"y":2,"x":3}`},
		{"last of equal keys, differently written", `{"id":1,"x":1,"\u0078":2}`, "1 null null null null null null", `{"x":2}`},
		{"last of equal objects replaces the first", `{"id":1,"sender":{"name":"a","x":1},"sender":{"address":{"city":"c"}}}`, "1 null c null null null null", ""},
		{"last of equal keys in an object", `{"id":1,"sender":{"x":1,"name":"a","x":2,"name":"b"}}`, "1 b null null null null null", `{"sender":{"x":2}}`},
		{"a refused value that comes again", `{"id":"oops","id":1}`, "1 null null null null null null", ""},
		{"NUL", `{"id":1,"sender":{"name":"a\u0000b"}}`, "1 a\ufffdb null null null null null", `{"sender":{"name":"a\u0000b"}}`},
		{"lone surrogate", `{"id":1,"sender":{"x":1,"name":"\ud800"},"z":1}`, "1 \ufffd null null null null null", `{"sender":{"x":1,"name":"\ud800"},"z":1}`},
		{"invalid UTF-8", "{\"id\":1,\"sender\":{\"name\":\"a\xff\"},\"z\":\"\xc3(\"}", "1 a\ufffd null null null null null", "{\"sender\":{\"name\":\"a\ufffd\"},\"z\":\"\ufffd(\"}"},
		{"invalid UTF-8 in a key", "{\"id\":1,\"\xff\":1}", "1 null null null null null null", "{\"\ufffd\":1}"},
		{"lone surrogate in a key", `{"id":1,"\ud800":1,"\ufffd":2}`, "1 null null null null null null", "{\"\\ud800\":1,\"\ufffd\":2}"},
		{"U+FFFD itself", `{"id":1,"sender":{"name":"\ufffd"}}`, "1 \ufffd null null null null null", ""},
		{"NUL in json", `{"id":1,"tags":[ "a\u0000","\u00e9",{"\u0000":1}]}`, "1 null null [ \"a\ufffd\",\"\\u00e9\",{\"\ufffd\":1}] null null null", `{"tags":[ "a\u0000","\u00e9",{"\u0000":1}]}`},
		{"surrogates in json", `{"id":1,"tags":["\ud83d\ude00","\udc00"]}`, "1 null null [\"\\ud83d\\ude00\",\"\ufffd\"] null null null", `{"tags":["\ud83d\ude00","\udc00"]}`},
		{"NUL in json with a secret", `{"id":1,"auth":{"token":"sss","user":"\u0000"}}`, "1 null null null {\"user\":\"\ufffd\"} \ufffd null", `{"auth":{"user":"\u0000"}}`},
		{"numbers beyond numeric in json", `{"id":1,"tags":[1e5,-1e131072,1e-16384,1e131071,"1e999999"]}`, `1 null null [1e5,"-1e131072","1e-16384",1e131071,"1e999999"] null null null`, `{"tags":[1e5,-1e131072,1e-16384,1e131071,"1e999999"]}`},
		{"not ASCII", `{"id":1,"é":"日本","sender":{"name":"日本"}}`, "1 日本 null null null null null", `{"é":"日本"}`},
	} {
		if err := d.Decode([]byte(c.in), &row); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var values []string
		for i, v := range row.Values {
			values = append(values, shown(v, d.Columns()[i].Type))
		}
		if diff := cmp.Diff(c.values, strings.Join(values, " ")); diff != "" {
			t.Errorf("%s: values: %s", c.name, diff)
		}
		if diff := cmp.Diff(c.extra, string(row.Extra)); diff != "" {
			t.Errorf("%s: extra: %s", c.name, diff)
		}
	}
}

func TestLastOfEqualKeysOfEachType(t *testing.T) {
	t.Parallel()
	for typ, values := range map[connector.Type][]string{
		connector.TypeText: {`"a"`, `""`, `null`, `1`}, connector.TypeBigint: {`1`, `2`, `""`, `null`}, connector.TypeNumeric: {`1.5`, `"2"`, `""`, `null`},
		connector.TypeDouble: {`1.5`, `"2"`, `""`}, connector.TypeBoolean: {`true`, `false`, `"y"`, `""`}, connector.TypeDate: {`"2024-01-02"`, `"1970-01-01"`, `null`},
		connector.TypeTimestamp: {`"2024-01-02T00:00:00Z"`, `"1970-01-01T00:00:00Z"`, `""`}, connector.TypeJSON: {`{"a":1}`, `[]`, `""`, `null`},
	} {
		d := newDecoder(t, connector.Column{Name: "it", Type: typ, EmptyIsNull: typ == connector.TypeText})
		for _, first := range values {
			for _, last := range values {
				var both, one record.Row
				for in, row := range map[string]*record.Row{`{"it":` + first + `,"id":1,"it":` + last + `}`: &both, `{"id":1,"it":` + last + `}`: &one} {
					if err := d.Decode([]byte(in), row); err != nil {
						t.Fatalf("%s: %v", in, err)
					}
				}
				if diff := cmp.Diff(one.Values, both.Values); diff != "" || one.Hash != both.Hash {
					t.Errorf("%s: %s then %s: %s", typ, first, last, diff)
				}
			}
		}
	}
}

func TestManyUndeclaredKeys(t *testing.T) {
	t.Parallel()
	d := newDecoder(t)
	var row record.Row
	for _, n := range []int{500, 3, 1000, 2, 2, 2, 2, 700} {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `"k%d":%d,`, i, i)
		}
		want := "{" + strings.TrimSuffix(b.String(), ",") + "}"
		if err := d.Decode([]byte("{"+b.String()+`"id":1}`), &row); err != nil || string(row.Extra) != want {
			t.Fatalf("%d keys: %v, extra %.80s", n, err, row.Extra)
		}
		want = strings.Replace(want, `"k1":1,`, "", 1)
		want = strings.TrimSuffix(want, "}") + `,"k1":true}`
		if n == 2 {
			want = `{"k0":0,"k1":true}`
		}
		if err := d.Decode([]byte("{"+b.String()+`"id":1,"k1":true}`), &row); err != nil || string(row.Extra) != want {
			t.Fatalf("%d keys, one again: %v, extra %.80s", n, err, row.Extra)
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	stream := connector.Stream{
		Name: "things", Mode: connector.ModeSnapshot, PrimaryKey: []string{"id", "name"},
		Columns: []connector.Column{
			{Name: "id", Type: connector.TypeBigint},
			{Name: "name", Type: connector.TypeText},
			{Name: "mail", Type: connector.TypeBigint, Personal: true},
			{Name: "at", Type: connector.TypeTimestamp, Formats: []string{time.DateTime, "unix"}},
			{Name: "token", Type: connector.TypeText, Path: []string{"name", "token"}, Secret: true},
		},
	}
	d, err := record.NewDecoder(stream)
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		`{"id":"abc","name":"a"}`:                             `column id: want a number without fractional part in the range of 64 bits, got "abc"`,
		`{"id":1.5,"name":"a"}`:                               `column id: want a number without fractional part in the range of 64 bits, got 1.5`,
		`{"id":"` + strings.Repeat("é", 60) + `","name":"a"}`: `column id: want a number without fractional part in the range of 64 bits, got "` + strings.Repeat("é", 39) + "…",
		"{\"id\":\"\xff\",\"name\":\"a\"}":                    "column id: want a number without fractional part in the range of 64 bits, got \"\ufffd\"",
		`{"id":1,"name":{"token":"sss"}}`:                     `column name: want a string, a number or a boolean, got an object`,
		`{"id":1,"name":"a","mail":"ada@example.com"}`:        `column mail: want a number without fractional part in the range of 64 bits, got a string`,
		`{"id":1,"name":"a","at":"yesterday"}`:                `column at: want a time of the years 1 to 9999 like 2006-01-02 15:04:05 or unix, got "yesterday"`,
		`{"name":"a"}`:                                        `column id: want a value, because it identifies the row, got nothing or null`,
		`{"id":1,"name":null}`:                                `column name: want a value, because it identifies the row, got nothing or null`,
		`{"id":1,"name":"a\u0000"}`:                           `column name: want text without NUL, lone surrogates and invalid UTF-8, because it identifies the row, got "a\u0000"`,
		`[]`:                                                  `record: want a JSON object, got an array`,
		` null `:                                              `record: want a JSON object, got null`,
		`<html>`:                                              `record: want a JSON object, got invalid JSON at byte 0: want a value`,
		``:                                                    `record: want a JSON object, got invalid JSON at byte 0: want an object`,
		`{"id":1,"name":"a"`:                                  `record: want a JSON object, got invalid JSON at byte 18: want a comma or the end of the object`,
		`{"id":1,"name":"a"} {}`:                              `record: want a JSON object, got invalid JSON at byte 20: want the end of the text`,
		`{"id":01,"name":"a"}`:                                `record: want a JSON object, got invalid JSON at byte 7: want a comma or the end of the object`,
		`{"id":1,"name":"a",}`:                                `record: want a JSON object, got invalid JSON at byte 19: want a quoted object key`,
		`{"id":1,"name" "a"}`:                                 `record: want a JSON object, got invalid JSON at byte 15: want a colon after the object key`,
		`{"id":1,"name":"a","x":` + strings.Repeat("[", 5000):     `record: want a JSON object, got invalid JSON at byte 1022: nested deeper than 1000 levels`,
		`{"id":1,"name":"a","token":tru}`:                         `record: want a JSON object, got invalid JSON at byte 27: want true, false or null`,
		`{"id":1,"name":"a","x":1e}`:                              `record: want a JSON object, got invalid JSON at byte 25: want a digit`,
		`{"id":1,"name":{"token":"s\x"}}`:                         `record: want a JSON object, got invalid JSON at byte 26: unknown escape in a string`,
		`{"id":1,"name":"a","mail":{"a":"` + "\x01" + `secret"}}`: `record: want a JSON object, got invalid JSON at byte 32: unescaped control character in a string`,
	} {
		var row record.Row
		err := d.Decode([]byte(in), &row)
		var fault *record.Error
		if !errors.As(err, &fault) || err.Error() != want {
			t.Errorf("Decode(%.60s)\n got %v\nwant %s", in, err, want)
		}
	}
}

func TestNewDecoderRefusesWhatItCannotKeep(t *testing.T) {
	t.Parallel()
	id := connector.Column{Name: "id", Type: connector.TypeBigint}
	for want, stream := range map[string]connector.Stream{
		`primary key is empty`: {Columns: []connector.Column{id}},
		`primary key column "x" is not among the stored columns`: {PrimaryKey: []string{"id", "x"}, Columns: []connector.Column{id}},
		`primary key column "id" is not among`:                   {PrimaryKey: []string{"id"}, Columns: []connector.Column{{Name: "id", Type: connector.TypeText, Secret: true}}},
		`json cannot identify a row`:                             {PrimaryKey: []string{"id"}, Columns: []connector.Column{{Name: "id", Type: connector.TypeJSON}}},
		`unknown type "int"`:                                     {PrimaryKey: []string{"id"}, Columns: []connector.Column{{Name: "id", Type: "int"}}},
		`column "b" reads what is marked secret`: {PrimaryKey: []string{"id"}, Columns: []connector.Column{
			id, {Name: "a", Type: connector.TypeJSON, Secret: true}, {Name: "b", Type: connector.TypeText, Path: []string{"a", "b"}},
		}},
		`format "YYYY-MM-DD" does not hold year, month and day`: {PrimaryKey: []string{"id"}, Columns: []connector.Column{id, {Name: "d", Type: connector.TypeDate, Formats: []string{"YYYY-MM-DD"}}}},
		`format "unix" is for timestamptz`:                      {PrimaryKey: []string{"id"}, Columns: []connector.Column{id, {Name: "d", Type: connector.TypeDate, Formats: []string{"unix"}}}},
		`formats need the type date or timestamptz`:             {PrimaryKey: []string{"id"}, Columns: []connector.Column{id, {Name: "d", Type: connector.TypeText, Formats: []string{"unix"}}}},
	} {
		stream.Name = "things"
		if _, err := record.NewDecoder(stream); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("NewDecoder = %v, want %s", err, want)
		}
	}
}
