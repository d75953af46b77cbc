package manners

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestABodyIsNotOverwrittenByTheNextOne(t *testing.T) {
	t.Parallel()
	read := func(text string) []byte {
		resp := &http.Response{ContentLength: -1, Body: io.NopCloser(strings.NewReader(text))}
		body, err := ReadBody(t.Context(), resp, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	texts := []string{strings.Repeat("a", 5000), strings.Repeat("b", 5000), "", strings.Repeat("c", 100)}
	var bodies [][]byte
	for _, text := range texts {
		bodies = append(bodies, read(text))
	}
	for i, body := range bodies {
		if string(body) != texts[i] {
			t.Errorf("body %d is %.20q, want %.20q", i, body, texts[i])
		}
	}
}
