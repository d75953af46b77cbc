package sinktest

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/winchdata/winch/internal/record/recordtest"
	"github.com/winchdata/winch/pkg/connector"
)

// spellings are values in which types, formats and stores differ.
var spellings = []string{
	`null`, `true`, `false`, `0`, `-0`, `-0.0`, `1`, `-1.50`, `2.0`, `1e3`, `1.25E-2`, `1e308`, `-5e-324`, `1e-400`, `1e999`, `1e-1001`, `1e131072`,
	`9223372036854775807`, `-9223372036854775808`, `9223372036854775808`, `9007199254740993`, `123456789.123456789`, `10000.0001`,
	`""`, `" "`, `"a"`, `"1"`, `" 1.50 "`, `"1e2"`, `".5"`, `"+7."`, `"007"`, `"NaN"`, `"Infinity"`, `"0x1"`, `"true"`, `"No"`, `"Y"`, `"f"`,
	`"2024-02-29"`, `"2023-02-29"`, `"0001-01-01"`, `"0000-12-31"`, `"9999-12-31"`, `"31.12.1899"`, `"2024/2/9"`, `"20000229"`,
	`"2024-03-05T12:34:56Z"`, `"1969-12-31T23:59:59.9999999Z"`, `"2024-03-05T12:34:56.123456789+02:00"`, `"0001-01-01T00:30:00+01:00"`, `"9999-12-31T23:59:59.999999Z"`, `"9999-12-31T23:59:59-00:01"`,
	`"2024-03-05 12:34:56"`, `"1700-01-01 00:00:00.0000019"`, `"2024-03-05T12:34:56"`, `"Tue, 05 Mar 2024 12:34:56 +0530"`, `"Tue, 05 Mar 2024 12:34:56 GMT"`, `"Tue, 05 Mar 2024 12:34:56 CET"`, `"05/03/2024 12:34:56.789 -0800"`,
	`1709642096`, `"1709642096.5"`, `-1.2345678`, `1709642096789`, `-62135596800`, `253402300799.9999999`, `253402300800`, `-62135596800001`, `1.7e12`,
	`"\u0000"`, `"a\u0000b"`, `"\ud800"`, `"\ud83d\ude00"`, `"a\"\\\/\b\f\n\r\t\u00e9"`, `"日本"`, "\"\xff\"", `"\\N"`, `"\\."`,
	`{}`, `[]`, `{"a":[1,2.50,"x",null],"b":{"c":true}}`, `[1e400,{"k":"\u0000"}]`, `{"\u0000":1}`, `{"a":1,"a":2}`, `[0.1,1E+2,-0,12345678901234567890.123]`, ` [ 1 , "é" ] `,
}

// FuzzRoundTrip lands any value in every column of one of the stores and compares
// what then stands there with what recordtest says.
func FuzzRoundTrip(f *testing.F, harnesses ...Harness) {
	for i, s := range spellings {
		f.Add([]byte(s), byte(i))
	}
	var stores []*roundTrip
	for _, h := range harnesses {
		stores = append(stores, newRoundTrip(f.Context(), f, h))
	}
	f.Fuzz(func(t *testing.T, raw []byte, store byte) {
		if !json.Valid(raw) || len(raw) > 1<<16 || bytes.Count(raw, []byte("["))+bytes.Count(raw, []byte("{")) > 900 {
			return // of these FuzzDecode takes care
		}
		v, err := recordtest.Decode(bytes.TrimSpace(raw))
		if err != nil || recordtest.Collides(v) {
			return
		}
		var records []fields
		for _, c := range every.Columns[2:] {
			records = append(records, fields{c.Name: string(raw)})
		}
		stores[int(store)%len(stores)].check(t.Context(), t, t, records)
	})
}

var roundTripCases = map[string]func(*testing.T, Harness){
	"any value of any type stands there as it was sent": func(t *testing.T, h Harness) {
		r := newRoundTrip(t.Context(), t, h)
		most := 30
		if h.RowsOnly {
			most = 8 // whose writers are slow with many
		}
		records := rapid.SliceOfN(genFields(), 1, most)
		rapid.Check(t, func(rt *rapid.T) { r.check(t.Context(), t, rt, records.Draw(rt, "records")) })
	},
}

// genFields are records of which most are accepted.
func genFields() *rapid.Generator[fields] {
	return rapid.Custom(func(t *rapid.T) fields {
		values := fields{}
		for _, c := range every.Columns[2:] {
			values[c.Name] = genValue(c).Draw(t, c.Name)
		}
		if rapid.IntRange(0, 9).Draw(t, "odd") == 0 {
			c := rapid.SampledFrom(every.Columns[2:]).Draw(t, "column")
			odd := rapid.SampledFrom(spellings).Filter(func(s string) bool {
				v, _ := recordtest.Decode([]byte(strings.TrimSpace(s)))
				return !recordtest.Collides(v)
			})
			values[c.Name] = odd.Draw(t, "value")
		}
		return values
	})
}

// genValue are values that the column takes.
func genValue(c connector.Column) *rapid.Generator[string] {
	var values *rapid.Generator[string]
	switch c.Type {
	case connector.TypeText:
		values = rapid.Map(rapid.String(), quoted)
	case connector.TypeBigint:
		values = rapid.Map(rapid.Int64(), func(n int64) string { return strconv.FormatInt(n, 10) })
	case connector.TypeNumeric:
		values = rapid.Map(rapid.StringMatching(`-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?`), quoted)
	case connector.TypeDouble:
		values = rapid.Map(rapid.Float64(), func(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) })
	case connector.TypeBoolean:
		values = rapid.SampledFrom([]string{`true`, `false`, `0`, `1`, `"yes"`, `"F"`})
	case connector.TypeJSON:
		return genJSON(0)
	default:
		values = genTime(c)
	}
	return rapid.OneOf(values, values, values, rapid.SampledFrom([]string{`null`, `""`}))
}

// genTime are times of the years 1 to 9999 in one of the column's formats.
func genTime(c connector.Column) *rapid.Generator[string] {
	formats := c.Formats
	if formats == nil {
		formats = map[connector.Type][]string{connector.TypeDate: {time.DateOnly}, connector.TypeTimestamp: {time.RFC3339, time.RFC3339Nano}}[c.Type]
	}
	return rapid.Custom(func(t *rapid.T) string {
		// A day from either end, so that no zone leads out of these years.
		seconds := rapid.Int64Range(-62135596800+86400, 253402300799-86400).Draw(t, "seconds")
		zone := time.FixedZone("", 60*rapid.IntRange(-14*60, 14*60).Draw(t, "zone"))
		at := time.Unix(seconds, rapid.Int64Range(0, 999_999_999).Draw(t, "nanoseconds"))
		switch layout := rapid.SampledFrom(formats).Draw(t, "format"); layout {
		case "unix":
			return strconv.FormatInt(at.Unix(), 10) + "." + strconv.Itoa(at.Nanosecond())
		case "unix_ms":
			return strconv.FormatInt(at.UnixMilli(), 10)
		case time.RFC1123:
			return quoted(at.UTC().Format(layout))
		default:
			return quoted(at.In(zone).Format(layout))
		}
	})
}

func genJSON(depth int) *rapid.Generator[string] {
	kinds := []*rapid.Generator[string]{
		rapid.Map(rapid.String(), quoted),
		rapid.SampledFrom([]string{`null`, `true`, `1e3`, `-0`, `0.10`, `12345678901234567890.5`}),
		rapid.Map(rapid.Float64Range(-math.MaxFloat32, math.MaxFloat32), func(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }),
	}
	if depth < 3 {
		elements := rapid.SliceOfN(genJSON(depth+1), 0, 4)
		kinds = append(kinds,
			rapid.Map(elements, func(all []string) string { return "[" + strings.Join(all, ",") + "]" }),
			rapid.Map(elements, func(all []string) string {
				for i := range all {
					all[i] = quoted("k"+strconv.Itoa(i)) + ":" + all[i]
				}
				return "{" + strings.Join(all, ",") + "}"
			}))
	}
	return rapid.OneOf(kinds...)
}

// quoted is the text as JSON.
func quoted(text string) string {
	b, err := json.Marshal(text)
	if err != nil {
		panic(err) // every text has a spelling
	}
	return string(b)
}
