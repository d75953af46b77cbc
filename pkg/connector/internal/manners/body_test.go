package manners

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

func read(t *testing.T, text string, length int64) []byte {
	t.Helper()
	resp := &http.Response{ContentLength: length, Body: io.NopCloser(strings.NewReader(text))}
	body, err := ReadBody(t.Context(), resp, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func TestABodyIsNotOverwrittenByTheNextOne(t *testing.T) {
	texts := []string{strings.Repeat("a", 5000), strings.Repeat("b", 5000), "", strings.Repeat("c", 100)}
	var bodies [][]byte
	for _, text := range texts {
		bodies = append(bodies, read(t, text, -1))
	}
	for i, body := range bodies {
		if string(body) != texts[i] {
			t.Errorf("body %d is %.20q, want %.20q", i, body, texts[i])
		}
	}
}

// What is reused is only what was given back, and a body that is kept does not keep
// the memory that a larger one needed.
func TestTheMemoryOfABodyIsReused(t *testing.T) {
	kept := read(t, strings.Repeat("k", 50_000), -1)
	first := read(t, strings.Repeat("a", 100_000), -1)
	Reuse(first)
	for i, length := range []int64{-1, 90_000, 10, 0} { // also what a vendor declares wrongly
		text := strings.Repeat(string(rune('b'+i)), 90_000)
		body := read(t, text, length)
		if string(body) != text {
			t.Errorf("body %d is %.20q, want %.20q", i, body, text)
		}
		Reuse(body)
	}
	small := read(t, "small", -1)
	if string(small) != "small" || cap(small) > 100 {
		t.Errorf("%q keeps %d bytes", small, cap(small))
	}
	if string(kept) != strings.Repeat("k", 50_000) {
		t.Error("what was kept has changed")
	}
	Reuse(nil)
	if nothing := read(t, "", 0); len(nothing) != 0 {
		t.Errorf("%q, want nothing", nothing)
	}
}
