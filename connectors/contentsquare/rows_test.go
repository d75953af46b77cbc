package contentsquare

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/pkg/connector"
)

func zipped(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, text)
	_ = z.Close()
	return b.String()
}

func TestRowsOfEveryForm(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		file string
		want []string
	}{
		"empty":               {"", nil},
		"empty and zipped":    {zipped(""), nil},
		"white space":         {"\n \r\n", nil},
		"JSONL":               {"{\"a\":1}\n{\"a\":2}\n", []string{`1 {"a":1}`, `2 {"a":2}`}},
		"without last break":  {"{\"a\":1}\r\n\r\n{\"a\":2}", []string{`1 {"a":1}`, `2 {"a":2}`}},
		"zipped":              {zipped("{\"a\":1}\n"), []string{`1 {"a":1}`}},
		"zipped in members":   {zipped("{\"a\":1}\n{") + zipped("\"a\":2}\n"), []string{`1 {"a":1}`, `2 {"a":2}`}},
		"byte order mark":     {"\xef\xbb\xbfa,b\n1,2\n", []string{`1 {"a":"1","b":"2"}`}},
		"CSV":                 {"a,\"b \"\"x\"\"\"\n1,\"two\nlines\"\n,é\n", []string{`1 {"a":"1","b \"x\"":"two\nlines"}`, `2 {"a":"","b \"x\"":"é"}`}},
		"CSV of a header":     {"a,b\n", nil},
		"longer than buffers": {`{"a":"` + strings.Repeat("x", 200<<10) + `"}`, []string{`1 {"a":"` + strings.Repeat("x", 200<<10) + `"}`}},
	} {
		for _, reader := range []io.Reader{strings.NewReader(tc.file), iotest.OneByteReader(strings.NewReader(tc.file))} {
			var got []string
			err := rows(reader, func(n int, raw []byte) error {
				got = append(got, fmt.Sprintf("%d %s", n, raw))
				return nil
			})
			if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
				t.Errorf("%s: %v (-want +got):\n%.500s", name, err, diff)
			}
		}
	}
}

func TestBadRowsAreRefused(t *testing.T) {
	t.Parallel()
	whole := zipped(strings.Repeat("{\"a\":1}\n", 1000))
	for name, tc := range map[string]struct {
		file io.Reader
		kind connector.Kind
		want string
	}{
		"not an object": {strings.NewReader("{\"a\":1}\n[1]\n"), connector.KindBadResponse, "row 2: not a JSON object"},
		"cut object":    {strings.NewReader("{\"a\":1}\n{\"a\""), connector.KindBadResponse, "row 2: not a JSON object"},
		"two objects":   {strings.NewReader(`{"a":1}{"a":2}`), connector.KindBadResponse, "row 1: not a JSON object"},
		"cut gzip":      {strings.NewReader(whole[:len(whole)-9]), connector.KindUnavailable, "the file is cut off or damaged: unexpected EOF"},
		"no gzip":       {strings.NewReader("\x1f\x8bzzzzzzzzzzzzzzzzzz"), connector.KindUnavailable, "the file is cut off or damaged: gzip: invalid header"},
		"a page":        {strings.NewReader("<!DOCTYPE html>\n<html></html>\n"), connector.KindBadResponse, "a page instead of a file"},
		"a zipped page": {strings.NewReader(zipped("\n<html>")), connector.KindBadResponse, "a page instead of a file"},
		"a failure":     {strings.NewReader(`{"success":false,"errorCode":"X","errorMessage":"no"}`), connector.KindBadResponse, "a failure instead of a file"},
		"header twice":  {strings.NewReader("a,a\n1,2\n"), connector.KindBadResponse, "row 0: the header has an empty name or one that comes twice"},
		"columns":       {strings.NewReader("a,b\n1,2\n1\n"), connector.KindBadResponse, "row 2: wrong number of fields"},
		"long line":     {io.LimitReader(endlessText{}, 1<<30), connector.KindBadResponse, "row 1: a row is longer than 16 MiB"},
		"open quote":    {io.MultiReader(strings.NewReader("a,b\n1,\""), io.LimitReader(endlessText{}, 1<<30)), connector.KindBadResponse, "row 1: a row is longer than 16 MiB"},
		"broken off":    {io.MultiReader(strings.NewReader("{\"a\":1}\n"), iotest.ErrReader(io.ErrUnexpectedEOF)), connector.KindUnavailable, "the file is cut off or damaged: unexpected EOF"},
	} {
		err := rows(tc.file, func(int, []byte) error { return nil })
		if err == nil || err.Error() != tc.want || connector.KindOf(err) != tc.kind {
			t.Errorf("%s: %v of kind %s, want %q", name, err, connector.KindOf(err), tc.want)
		}
	}
}

var braces = bytes.Repeat([]byte{'{'}, 64<<10)

// endlessText is one line without end: an object at first, then anything.
type endlessText struct{}

func (endlessText) Read(p []byte) (int, error) {
	return copy(p, braces), nil
}

func TestRowsEndWithTheReadersError(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"{}\n{}\n", "a\n1\n2\n"} {
		calls := 0
		err := rows(strings.NewReader(file), func(int, []byte) error { calls++; return errFull })
		if !errors.Is(err, errFull) || calls != 1 {
			t.Errorf("%q: %v after %d calls", file, err, calls)
		}
	}
}

func TestFlattenTakesBothForms(t *testing.T) {
	t.Parallel()
	wanted := []string{"a", "errors.message", "errors.time"}
	for raw, want := range map[string]string{
		`{"errors":{"message":["x"],"time":[1]}}`:           `{"errors":{"message":["x"],"time":[1]},"errors.message":["x"],"errors.time":[1]}`,
		`{"errors.message":[],"errors":{"message":["no"]}}`: `{"errors.message":[],"errors":{"message":["no"]}}`,
		`{"errors":[1]}`: `{"errors":[1]}`,
		`{"a":{"b":1}}`:  `{"a":{"b":1}}`,
	} {
		got, err := flatten([]byte(raw), wanted)
		if err != nil || string(got) != want {
			t.Errorf("%s: %s, %v", raw, got, err)
		}
	}
}

// Whatever a file holds, its rows are JSON objects and stay so with a stamp.
func FuzzRows(f *testing.F) {
	for _, seed := range []string{"{\"a\":1}\n{\"a.b\":{}}", "a,b\n1,2\n", zipped("{}\n"), "\x1f\x8b", "{\"a\":{\"b\":[1]}}", "\"", "a\n\xff\n"} {
		f.Add([]byte(seed))
	}
	mark := newStamp(42).with("part_id", "é\"")
	f.Fuzz(func(t *testing.T, file []byte) {
		last := 0
		_ = rows(bytes.NewReader(file), func(n int, raw []byte) error {
			if n != last+1 {
				t.Fatalf("row %d after %d", n, last)
			}
			last = n
			raw, err := flatten(raw, []string{"a.b"})
			if err != nil {
				t.Fatal(err)
			}
			record := mark.on(nil, raw)
			var object map[string]any
			if err := json.Unmarshal(record, &object); err != nil {
				t.Fatalf("%s: %v", record, err)
			}
			if object["project_id"] != 42.0 || object["part_id"] != "é\"" {
				t.Fatalf("%s: the stamp is not the last word", record)
			}
			return nil
		})
	})
}
