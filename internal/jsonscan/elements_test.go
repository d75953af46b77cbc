package jsonscan_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/jsonscan"
)

// elementsByTwo finds the elements as Lookup and Array do.
func elementsByTwo(b []byte, path ...string) (elements []string, ok bool, err error) {
	value, ok, err := jsonscan.Lookup(b, path...)
	if err != nil || !ok || value[0] != '[' {
		return nil, false, err
	}
	err = jsonscan.Array(value, func(element []byte) error {
		elements = append(elements, string(element))
		return nil
	})
	return elements, true, err
}

func elements(b []byte, path ...string) (all []string, ok bool, err error) {
	raw, ok, err := jsonscan.Elements(nil, b, path...)
	for _, element := range raw {
		all = append(all, string(element))
	}
	if !ok {
		return nil, false, err
	}
	return all, ok, err
}

var elementsSeeds = []string{
	`{"data":{"list":[1,{"a":[2]}, "x" ]},"n":1}`, `{"data":{"list":[]}}`, `{"data":{"list":[1],"list":[2,3]}}`,
	`{"data":{"list":[1]},"data":{"list":{}}}`, `{"data":{"list":[1]},"data":null}`, `{"data":[1]}`, `[1,2]`, ` { } `, `{"data":{"list":[1,]}}`,
	`{"data":{"list":[1}}`, `{"data":{"list":[1]}`, `{"data":{"list":[1]}} x`, `{"d\u0061ta":{"list":[null]}}`, `{"data":1,}`, `{"data"}`, ``, `{`,
}

func TestElementsAreThoseOfLookupAndArray(t *testing.T) {
	t.Parallel()
	for _, text := range elementsSeeds {
		compareElements(t, []byte(text))
	}
	deep := strings.Repeat(`[`, 2000) + strings.Repeat(`]`, 2000)
	compareElements(t, []byte(`{"data":{"list":`+deep+`}}`))
	for _, depth := range []int{997, 998, 999, 1000, 1001} {
		nested := strings.Repeat(`[`, depth) + strings.Repeat(`]`, depth)
		compareElements(t, []byte(`{"data":{"list":`+nested+`}}`))
	}
}

// compareElements: a valid text is taken apart in the same way; of another one at
// least one element is invalid, if it is taken apart at all.
func compareElements(t *testing.T, b []byte) {
	t.Helper()
	for _, path := range [][]string{nil, {"data"}, {"data", "list"}} {
		want, wantOK, wantErr := elementsByTwo(b, path...)
		got, ok, err := elements(b, path...)
		if wantErr != nil {
			valid := func(element string) bool { return jsonscan.Valid([]byte(element)) == nil }
			if err == nil && !slices.ContainsFunc(got, func(element string) bool { return !valid(element) }) {
				t.Fatalf("%.60q at %v: no error and valid elements %q, want %v", b, path, got, wantErr)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%.60q at %v: %v", b, path, err)
		}
		if diff := cmp.Diff(want, got); diff != "" || ok != wantOK {
			t.Fatalf("%.60q at %v: ok %v, want %v (-want +got):\n%s", b, path, ok, wantOK, diff)
		}
	}
}

// Elements are found in blocks of 64 bytes: what matters stands at each place of
// one.
func TestElementsWhereverTheyStand(t *testing.T) {
	t.Parallel()
	for _, list := range []string{
		`{},{"a":{"b":[1,{}]}},{"a":"}"}`, `{"a":"\\"},{"b":"\\\"},{"}`, `{"a":"\\\\\\"},{"b":"\\\\\\\"}"}`, `{} , {"a":1},
		{"b":[]}`, `{},1,{},"{},{}",{},[{}],{}`, `{"a":"[","b":"y"},{"_":"~"},{}`, `{},{`, `{}{}`, `{},,{}`, `{}],{}`, `{]`, `{}}`, `{"a":}`, `{},`,
	} {
		for before := range 70 {
			for _, after := range []int{0, 1, 63, 64, 65, 130} {
				compareElements(t, []byte(`{"data":{"list":[`+strings.Repeat(" ", before)+list+strings.Repeat(" ", after)+`]}}`))
				compareElements(t, []byte(`{"data":{"list":[{"`+strings.Repeat("k", before)+`":1},`+list+`,{"`+strings.Repeat("k", after)+`":2}]}}`))
			}
		}
	}
}

// What ends too early is not taken for whole, wherever it ends.
func TestElementsOfATextThatIsCut(t *testing.T) {
	t.Parallel()
	text := []byte(`{"data":{"list":[` + strings.Repeat(record+`,`, 3) + record + `]},"next":"` + strings.Repeat("n", 100) + `"}`)
	for end := range text {
		if all, ok, err := jsonscan.Elements(nil, text[:end], "data", "list"); err == nil {
			t.Fatalf("%d of %d bytes: %d elements, %v", end, len(text), len(all), ok)
		}
	}
}

func FuzzElements(f *testing.F) {
	for _, text := range elementsSeeds {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) { compareElements(t, b) })
}

func TestElementsMakeRoomOnce(t *testing.T) {
	text := []byte(`{"records":[` + strings.Repeat(record+",", 999) + record + `]}`)
	allocs := testing.AllocsPerRun(10, func() {
		if all, ok, err := jsonscan.Elements(nil, text, "records"); len(all) != 1000 || !ok || err != nil {
			t.Errorf("%d elements, %v, %v", len(all), ok, err)
		}
	})
	if allocs > 2 { // one, but for the race detector
		t.Errorf("%v allocations, want 1", allocs)
	}
}
