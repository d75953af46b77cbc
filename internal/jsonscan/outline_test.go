package jsonscan

import "testing"

func FuzzOutline(f *testing.F) {
	f.Add([]byte(`{"a":"b\\","c":[1,{"d":"\"{}[]"}]},{"y":"Y_|~"}  0123456789`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var b [block]byte
		copy(b[:], text)
		quotes, brackets, slashes := outline(&b)
		if q, br, s := outlineByWords(&b); q != quotes || br != brackets || s != slashes {
			t.Fatalf("%q: %064b %064b %064b, by words %064b %064b %064b", b, quotes, brackets, slashes, q, br, s)
		}
		for i, c := range b {
			bit := uint64(1) << i
			isBracket := c == '[' || c == ']' || c == '{' || c == '}'
			if (c == '"') != (quotes&bit != 0) || (c == '\\') != (slashes&bit != 0) || isBracket && brackets&bit == 0 {
				t.Fatalf("byte %d of %q: %064b %064b %064b", i, b, quotes, brackets, slashes)
			}
		}
	})
}
