package jsonscan_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"github.com/winchdata/winch/internal/jsonscan"
)

// FuzzAgainstEncodingJSON: the same texts are accepted, and what Object, Array
// and Unquote take apart is what encoding/json decodes.
func FuzzAgainstEncodingJSON(f *testing.F) {
	for _, text := range texts {
		f.Add([]byte(text))
	}
	f.Add([]byte(record))
	f.Fuzz(func(t *testing.T, text []byte) {
		if bytes.Count(text, []byte("["))+bytes.Count(text, []byte("{")) > jsonscan.MaxDepth {
			return // the limits differ
		}
		err := jsonscan.Valid(text)
		if valid := json.Valid(text); valid != (err == nil) {
			t.Fatalf("Valid = %v, encoding/json says %v", err, valid)
		}
		if _, _, lookupErr := jsonscan.Lookup(text, "a", "b"); (lookupErr == nil) != (err == nil) {
			t.Fatalf("Lookup = %v, Valid = %v", lookupErr, err)
		}
		if err != nil {
			return
		}
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.UseNumber()
		var want any
		if err := dec.Decode(&want); err != nil {
			t.Fatal(err)
		}
		// Not cmp.Diff, whose time grows exponentially with the nesting.
		if got := decode(t, text); !reflect.DeepEqual(want, got) {
			t.Fatalf("got  %#v\nwant %#v", got, want)
		}
	})
}

// decode builds what encoding/json would from the scanner's pieces.
func decode(t *testing.T, text []byte) any {
	t.Helper()
	start, end, err := jsonscan.Value(text, 0)
	if err != nil {
		t.Fatal(err)
	}
	switch text = text[start:end]; text[0] {
	case '{':
		m := map[string]any{}
		err = jsonscan.Object(text, func(key, value []byte) error {
			name := decode(t, key).(string)
			if !jsonscan.KeyIs(key, name) {
				t.Fatalf("KeyIs(%q, %q) = false", key, name)
			}
			m[name] = decode(t, value)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range m {
			value, ok, lookupErr := jsonscan.Lookup(text, name)
			if lookupErr != nil || !ok || value[0] != '{' && !reflect.DeepEqual(want, decode(t, value)) {
				t.Fatalf("Lookup(%q) = %q, %v, %v", name, value, ok, lookupErr)
			}
		}
		return m
	case '[':
		a := []any{}
		err = jsonscan.Array(text, func(value []byte) error {
			a = append(a, decode(t, value))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return a
	case '"':
		s, err := jsonscan.Unquote(nil, text)
		if err != nil {
			t.Fatal(err)
		}
		return string(s)
	case 't':
		return true
	case 'f':
		return false
	case 'n':
		return nil
	}
	return json.Number(text)
}
