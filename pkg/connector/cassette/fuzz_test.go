package cassette

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/winchdata/winch/pkg/connector"
)

// What is decoded can be encoded, and says the same when it is decoded again.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		"", "{\"cassette\":1}\n", "{\"cassette\":1}\n{\"pull\":{\"stream\":\"s\"}}\n{\"full\":3}\n",
		"{\"cassette\":1}\n{\"exchange\":{\"method\":\"GET\",\"path\":\"/\",\"status\":200,\"answer\":{\"a\":[1]},\"lines\":[1,\"x\"]}}\n",
		"{\"cassette\":1}\n{\"exchange\":{\"method\":\"GET\",\"path\":\"/\",\"failed\":\"no answer\"}}\n{\"exch",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		first, err := decode(bytes.NewReader(text))
		if err != nil {
			return
		}
		out, err := encodeLine(line{Cassette: version})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range first.exchanges {
			keysOf(e)
			part, err := encodeLine(line{Exchange: e})
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, part...)
		}
		second, err := decode(bytes.NewReader(out))
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if len(second.exchanges) != len(first.exchanges) {
			t.Errorf("%d exchanges became %d", len(first.exchanges), len(second.exchanges))
		}
	})
}

// Redaction of JSON gives JSON and leaves no secret.
func FuzzRedact(f *testing.F) {
	for _, seed := range []string{
		`{"name":"x","a":[{"name":1.5},"Zop-secret",true,null]}`, `"{\"name\":\"Zop-secret\"}"`, `"a@b.se +46 70 123 45 67"`,
		`{"name":{"deep":["2020-01-01",-7]}}`, `"https://a.example/?token=Zop-secret"`, `1e5`, `{"Zop-secret":{"Zop-secret":"\ud800"}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r := newRedactor([]string{"Zop-secret"}, []connector.Stream{{Columns: []connector.Column{{Name: "name", Type: connector.TypeText, Personal: true}}}})
		for _, redact := range []func(dst, raw []byte) ([]byte, bool){r.json, r.tokenAnswer} {
			out, ok := redact(nil, raw)
			if !ok {
				continue
			}
			if !json.Valid(out) {
				t.Fatalf("%q became %q", raw, out)
			}
			if bytes.Contains(out, []byte("Zop-secret")) {
				t.Errorf("a secret is left in %q", out)
			}
		}
	})
}
