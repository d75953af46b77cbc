package jsonscan_test

import (
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

func compareElements(t *testing.T, b []byte) {
	t.Helper()
	for _, path := range [][]string{nil, {"data"}, {"data", "list"}} {
		want, wantOK, wantErr := elementsByTwo(b, path...)
		got, ok, err := elements(b, path...)
		if (err != nil) != (wantErr != nil) {
			t.Fatalf("%.60q at %v: error %v, want %v", b, path, err, wantErr)
		}
		if err != nil {
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" || ok != wantOK {
			t.Fatalf("%.60q at %v: ok %v, want %v (-want +got):\n%s", b, path, ok, wantOK, diff)
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
