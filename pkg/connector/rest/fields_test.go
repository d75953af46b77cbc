package rest_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/jsonscan"
	"github.com/winchdata/winch/pkg/connector/rest"
)

func TestFieldTakesTheExactNameAndTheLastValue(t *testing.T) {
	t.Parallel()
	const object = ` {"a":{"b":1,"b":[2]},"A":3,"\u0061":{ "b" : {"c":-4.50} },"n":null,"text":"a"} `
	for _, c := range []struct {
		path []string
		want string
	}{
		{[]string{"a", "b", "c"}, "-4.50"}, // the escaped duplicate of "a" came last
		{[]string{"a", "b"}, `{"c":-4.50}`},
		{[]string{"A"}, "3"},
		{[]string{"n"}, "null"},
		{[]string{"N"}, ""},
		{[]string{"n", "a"}, ""},
		{[]string{"text", "a"}, ""},
		{[]string{"none", "b"}, ""},
		{nil, strings.TrimSpace(object)},
	} {
		if got := rest.Field([]byte(object), c.path...); string(got) != c.want || (got == nil) != (c.want == "") {
			t.Errorf("Field(%q) = %q, want %q", c.path, got, c.want)
		}
	}
	got := rest.Fields([]byte(object), "text", "none", "A", "a", "text")
	want := []json.RawMessage{json.RawMessage(`"a"`), nil, json.RawMessage(`3`), json.RawMessage(`{ "b" : {"c":-4.50} }`), json.RawMessage(`"a"`)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// What stands before a fault is not handed out as if the rest were fine.
func TestFieldOfWhatIsNoObjectIsNil(t *testing.T) {
	t.Parallel()
	deep := `{"a":1,"b":` + strings.Repeat("[", jsonscan.MaxDepth) + strings.Repeat("]", jsonscan.MaxDepth) + `}`
	for _, text := range []string{``, `[]`, `null`, `{"a":1`, `{"a":1,"b":tru}`, `{"a":1} {}`, `{"a" 1}`, deep} {
		if got := rest.Field([]byte(text), "a"); got != nil {
			t.Errorf("Field of %q = %q", text, got)
		}
		if diff := cmp.Diff([]json.RawMessage{nil, nil}, rest.Fields([]byte(text), "a", "b")); diff != "" {
			t.Errorf("Fields of %q (-want +got):\n%s", text, diff)
		}
		if got := rest.Field([]byte(text)); got != nil && !json.Valid(got) || got != nil && text == deep {
			t.Errorf("Field of %.40q without a path = %.40q", text, got)
		}
	}
}

func TestFieldAllocatesNothing(t *testing.T) {
	object := []byte(callRecord)
	for name, c := range map[string]struct {
		want float64
		read func() int
	}{
		"Field":  {0, func() int { return len(rest.Field(object, "start")) }},
		"Fields": {1, func() int { return len(rest.Fields(object, "start", "customer_id")[1]) }},
	} {
		if n := testing.AllocsPerRun(100, func() {
			if c.read() == 0 {
				t.Error("nothing found")
			}
		}); n != c.want {
			t.Errorf("%s: %v allocations, want %v", name, n, c.want)
		}
	}
}

// FuzzField compares with encoding/json, of which a map is exact about names.
func FuzzReadFields(f *testing.F) {
	for _, object := range []string{
		`{"start":"2024-03-05 09:12:44","customer_id":"1"}`, ` { "start" : null , "n" : {"start":[1,"}"]} } `,
		`{"START":1}`, `{"\u0073tart":"\"","start\n":2}`, `{"start":1,"start":-2.5e3}`, `{"start":{"customer_id":2}}`,
		`{}`, `[]`, ``, `{"start"`, `{"start":"\`, `{"a":]}`, `{"a" "b"}`,
	} {
		f.Add([]byte(object))
	}
	f.Fuzz(func(t *testing.T, object []byte) {
		names := []string{"start", "customer_id"}
		got := rest.Fields(object, names...)
		deep := rest.Field(object, names...)
		var want map[string]json.RawMessage
		if jsonscan.Valid(object) != nil || json.Unmarshal(object, &want) != nil {
			want = nil
		}
		for i, name := range names {
			if string(got[i]) != string(want[name]) {
				t.Errorf("%s of %q: %q, want %q", name, object, got[i], want[name])
			}
			if one := rest.Field(object, name); string(one) != string(got[i]) {
				t.Errorf("%s of %q: Field has %q, Fields %q", name, object, one, got[i])
			}
		}
		var inner map[string]json.RawMessage
		if json.Unmarshal(want["start"], &inner) != nil {
			inner = nil
		}
		if string(deep) != string(inner["customer_id"]) {
			t.Errorf("start.customer_id of %q: %q, want %q", object, deep, inner["customer_id"])
		}
	})
}

const callRecord = `{"cdr_id": "90000001", "start": "2024-03-05 09:12:44", "duration": "133", "duration_adjusted": "0",
	"anum": "+4790012xxx", "anum_md5": "5f2b1c0d9e8a7b6c5d4e3f2a1b0c9d8e", "bnum": "+4721000009", "cnum": "+4722000001",
	"customer_id": "500101", "source_id": "710001", "custnr": "NB-001", "answered": "1", "quarantined": "0",
	"anum_ndc_name": "22 Oslo", "timestamp": "2024-02-29 23:00:00", "expire": null, "source_media": "example.com",
	"source_name": "Spring banner", "class": "0", "recording_id": "6d1f0c7e-2f5a-4b7e-9a31-7c0e5d2b4f88"}`

func BenchmarkField(b *testing.B) {
	object := []byte(callRecord)
	b.ReportAllocs()
	for b.Loop() {
		rest.Field(object, "start")
	}
}

func BenchmarkFields(b *testing.B) {
	object := []byte(callRecord)
	b.ReportAllocs()
	for b.Loop() {
		rest.Fields(object, "start", "customer_id", "none")
	}
}
