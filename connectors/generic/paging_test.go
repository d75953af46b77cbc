package generic

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/pkg/connector"
)

func TestPaging(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		paging  string
		answers map[string]string
		want    []string
	}{
		"offset": {
			paging: "{type: offset, param: skip, size_param: take, size: 2}",
			answers: map[string]string{
				"GET /v1/items?skip=0&take=2": `{"items":[{"id":1},{"id":2}]}`,
				"GET /v1/items?skip=2&take=2": `{"items":[{"id":3}]}`,
			},
			want: []string{`{"id":1}`, `{"id":2}`, `{"id":3}`},
		},
		"cursor": {
			paging: "{type: cursor, param: after, next: meta.next}",
			answers: map[string]string{
				"GET /v1/items":             `{"items":[{"id":1}],"meta":{"next":"a b"}}`,
				"GET /v1/items?after=a+b":   `{"items":[],"meta":{"next":7}}`,
				"GET /v1/items?after=7":     `{"items":[{"id":2}],"meta":{"next":null}}`,
				"GET /v1/items?after=never": `{}`,
			},
			want: []string{`{"id":1}`, `{"id":2}`},
		},
		"address in the body": {
			paging: "{type: next_url, next: links.next, size_param: take, size: 2}",
			answers: map[string]string{
				"GET /v1/items?take=2":          `{"items":[{"id":1},{"id":2}],"links":{"next":"VENDOR/v1/items?after=2&take=2"}}`,
				"GET /v1/items?after=2&take=2":  `{"items":[],"links":{"next":"?after=2b#top"}}`,
				"GET /v1/items?after=2b":        `{"items":[{"id":3}],"links":{"next":"/v1/more/3"}}`,
				"GET /v1/more/3":                `{"items":[{"id":4}],"links":{}}`,
				"GET /v1/items?after=3&take=22": `{}`,
			},
			want: []string{`{"id":1}`, `{"id":2}`, `{"id":3}`, `{"id":4}`},
		},
		"link": {
			paging: "{type: link}",
			answers: map[string]string{
				"GET /v1/items":        "Link: </v1/items?page=2>; rel=\"next\", </v1/items?page=9>; rel=\"last\"\n" + `{"items":[{"id":1}]}`,
				"GET /v1/items?page=2": "Link: <VENDOR/v1/items?page=3>; rel=next\n" + `{"items":[{"id":2}]}`,
				"GET /v1/items?page=3": "Link: </v1/items?page=2>; rel=prev\n" + `{"items":[{"id":3}]}`,
			},
			want: []string{`{"id":1}`, `{"id":2}`, `{"id":3}`},
		},
		"short page before the total": {
			paging: "{type: page, param: page, start: 1, size: 2, total: total}",
			answers: map[string]string{
				"GET /v1/items?page=1": `{"total":"3","items":[{"id":1}]}`,
				"GET /v1/items?page=2": `{"total":"3","items":[{"id":2},{"id":3}]}`,
				"GET /v1/items?page=3": `{"total":"3","items":[]}`,
			},
			want: []string{`{"id":1}`, `{"id":2}`, `{"id":3}`},
		},
		"until empty, whatever the size": {
			paging: "{type: page, param: page, size_param: take, size: 2, stop: empty_page}",
			answers: map[string]string{
				"GET /v1/items?page=0&take=2": `{"items":[{"id":1}]}`,
				"GET /v1/items?page=1&take=2": `{"items":[{"id":2}]}`,
				"GET /v1/items?page=2&take=2": `{"items":[]}`,
			},
			want: []string{`{"id":1}`, `{"id":2}`},
		},
		"until empty": {
			paging: "{type: page, param: page, stop: empty_page}",
			answers: map[string]string{
				"GET /v1/items?page=0": `{"items":[{"id":1}]}`,
				"GET /v1/items?page=1": `{"items":[]}`,
			},
			want: []string{`{"id":1}`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVendor(t)
			for request, body := range tc.answers {
				v.answers[request] = []string{strings.ReplaceAll(body, "VENDOR", v.server.URL)}
			}
			src := v.open(t, map[string]any{"manifest": minimal(`
streams:
  - {name: items, path: /items, records: items, key: [id], columns: [{name: id, type: bigint}], paging: ` + tc.paging + `}
`)})
			out, err := pull(t, src, connector.Request{Stream: "items"})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, out.records); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
		})
	}
}

// Lists that go in a circle end with an error, also where their pages are empty
// or each one different.
func TestListsWithoutEndAreErrors(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		paging, answer string // # is the number of the request
		pages          int    // in the circle
	}{
		"the parameter is ignored":    {"{type: page, param: page, size: 1}", `{"items":[{"id":1}]}`, 1},
		"the offset is ignored":       {"{type: offset, param: skip, size: 1}", `{"items":[{"id":1}]}`, 1},
		"the cursor stays":            {"{type: cursor, param: after, next: next}", `{"items":[{"id":#}],"next":"x"}`, 1},
		"cursors in a circle":         {"{type: cursor, param: after, next: next}", `{"items":[],"next":"x@"}`, 3},
		"the address stays":           {"{type: next_url, next: next}", `{"items":[{"id":#}],"next":"/v1/items?after=1"}`, 1},
		"addresses in a circle":       {"{type: next_url, next: next}", `{"items":[],"next":"/v1/items?after=@"}`, 4},
		"links in a circle":           {"{type: link}", "Link: </v1/items?after=@>; rel=next\n" + `{"items":[{"id":#}]}`, 2},
		"each address leads to a new": {"{type: next_url, next: next}", `{"items":[{"id":1}],"next":"/v1/items?after=#"}`, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVendor(t)
			requests := 0
			v.handle = func(w http.ResponseWriter, _ *http.Request) {
				requests++
				v.say(w, strings.NewReplacer("#", strconv.Itoa(requests), "@", strconv.Itoa(requests%tc.pages)).Replace(tc.answer))
			}
			src := v.open(t, map[string]any{"manifest": minimal(`
streams:
  - {name: items, path: /items, records: items, key: [id], columns: [{name: id, type: bigint}], paging: ` + tc.paging + `}
`)})
			_, err := pull(t, src, connector.Request{Stream: "items"})
			if connector.KindOf(err) != connector.KindBadResponse || requests > tc.pages+2 {
				t.Errorf("after %d requests: %v", requests, err)
			}
		})
	}
}

// The token goes to no host that an answer names, and nothing of the address is
// shown but that host.
func TestNextPagesOfForeignHostsAreRefused(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"https://evil.example/v1/items?key=canary-address": "a link to evil.example, where credentials are not sent",
		"//evil.example/v1/items?key=canary-address":       "a link: want https",
		"http://127.0.0.1:1/v1/items?key=canary-address":   "a link to 127.0.0.1:1, where credentials are not sent",
		"https://user:canary-address@evil.example/":        "holds a user name or password",
		"ftp://evil.example/canary-address":                "the address of the next page cannot be read",
		"javascript:canary-address":                        "the address of the next page cannot be read",
		"%zz-canary-address":                               "the address of the next page cannot be read",
	} {
		for paging, answer := range map[string]string{
			"{type: next_url, next: next}": fmt.Sprintf(`{"items":[{"id":1}],"next":%q}`, address),
			"{type: link}":                 "Link: <" + address + ">; rel=next\n" + `{"items":[{"id":1}]}`,
		} {
			v := newVendor(t)
			v.handle = func(w http.ResponseWriter, _ *http.Request) { v.say(w, answer) }
			src := v.open(t, map[string]any{"manifest": minimal(`
streams:
  - {name: items, path: /items, records: items, key: [id], columns: [{name: id, type: bigint}], paging: ` + paging + `}
`)})
			_, err := pull(t, src, connector.Request{Stream: "items"})
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary-address") {
				t.Errorf("%s %s: error %v, want %q", paging, address, err, want)
			}
			if kind := connector.KindOf(err); kind != connector.KindBadResponse {
				t.Errorf("%s %s: kind %s", paging, address, kind)
			}
			wantRequests(t, v, tokenRequest, "GET /v1/items")
		}
	}
}

func TestPagingThatContradictsItselfIsRefused(t *testing.T) {
	t.Parallel()
	for paging, want := range map[string]string{
		"{type: link, param: page}":                                   "paging.param: the address of the next page has it all",
		"{type: link, next: next}":                                    "paging.next: belongs to type: cursor or next_url",
		"{type: next_url}":                                            "paging.next: belongs to type: cursor or next_url",
		"{type: cursor, next: a}":                                     "paging.param: missing",
		"{type: next_url, next: a, total: t}":                         "paging: start, stop and total belong to type: page or offset",
		"{type: page, param: p}":                                      "paging.size: missing",
		"{type: offset, param: p, size: 1, size_param: s, next: a.b}": "paging.next: belongs to type: cursor or next_url",
		"{type: link, size_param: s}":                                 "paging.size: missing beside size_param",
	} {
		_, err := parseManifest([]byte(minimal(`
streams:
  - {name: items, path: /items, records: items, key: [id], columns: [{name: id, type: bigint}], paging: ` + paging + `}
`)))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", paging, err, want)
		}
	}
}

// say sends an answer: header lines such as "Link: ...", and a body.
func (v *vendor) say(w http.ResponseWriter, answer string) {
	for {
		line, rest, more := strings.Cut(answer, "\n")
		name, value, isHeader := strings.Cut(line, ": ")
		if !more || !isHeader || strings.HasPrefix(line, "{") {
			break
		}
		w.Header().Set(name, value)
		answer = rest
	}
	_, _ = io.WriteString(w, answer)
}
