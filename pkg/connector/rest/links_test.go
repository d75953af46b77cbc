package rest

import (
	"net/http"
	"testing"
)

func TestNextLinkIsThatOfTheRelationNext(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		lines []string
		want  string
	}{
		{nil, ""},
		{[]string{`<https://a.example/x?page=2>; rel="next"`}, "https://a.example/x?page=2"},
		{[]string{`<https://a.example/x?page=1>; rel="prev", </x?page=3>; rel=next; title="a, b; c"`}, "/x?page=3"},
		{[]string{`<?a=1,2;b>; title="say \"<x>\"; rel=\"next\"" ; rel="last NEXT"`}, "?a=1,2;b"},
		{[]string{`</one>; rel=prev`, `</two>;rel=next`}, "/two"},
		{[]string{`</a>; rel=prev; rel=next`}, ""},
		{[]string{`</a>; rel="next"; anchor="/other"`, `</b>; rel="next"`}, "/b"},
		{[]string{`</a>; rel="nextish", </b>; hreflang; rel = "next"`}, "/b"},
		{[]string{`<>; rel=next`, `no link`, `</a>; rel="next`, `</a rel=next`, `</a> rel=next`}, ""},
	} {
		if got := NextLink(http.Header{"Link": tc.lines}); got != tc.want {
			t.Errorf("%q: got %q, want %q", tc.lines, got, tc.want)
		}
	}
}

func FuzzNextLink(f *testing.F) {
	f.Add(`<https://a.example/x?page=2>; rel="next", </b>; rel=prev; title="\""`)
	f.Add(`<a>;;rel=next,,<b>;=;rel="`)
	f.Fuzz(func(_ *testing.T, line string) { NextLink(http.Header{"Link": {line}}) }) // neither a panic nor an endless loop
}
