package rest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/rest"
)

func customers(r *rest.Response) ([][]byte, error) { return rest.Records(r.Body, "customers") }

// list answers with pages of a list of so many customers; extra is added to each.
func list(total int, extra string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		page, _ := strconv.Atoi(r.URL.Query().Get("page"))
		size, err := strconv.Atoi(r.URL.Query().Get("pagesize"))
		if err != nil {
			size = 3
		}
		var rows []string
		for i := page * size; i < min(total, (page+1)*size); i++ {
			rows = append(rows, fmt.Sprintf(`{"customer_id": "%d"}`, i))
		}
		_, _ = fmt.Fprintf(w, `{"customers":[%s]%s}`, strings.Join(rows, ","), extra)
	}
}

func TestPagesEndWhereTheListEnds(t *testing.T) {
	t.Parallel()
	numpages := rest.LastByCount(0, "numpages")
	for name, test := range map[string]struct {
		total  int
		extra  string
		paging rest.PageNumber
		want   string // records of each page
	}{
		"short page":                   {7, "", rest.PageNumber{SizeParam: "pagesize", Size: 3}, "3 3 1"},
		"full last page, size known":   {6, "", rest.PageNumber{SizeParam: "pagesize", Size: 3}, "3 3 0"},
		"size unknown":                 {7, "", rest.PageNumber{}, "3 3 1 0"},
		"empty list":                   {0, "", rest.PageNumber{Size: 3}, "0"},
		"count":                        {6, `,"numpages":2`, rest.PageNumber{SizeParam: "pagesize", Size: 3, Last: numpages}, "3 3"},
		"count as text":                {6, `,"numpages":"2"`, rest.PageNumber{SizeParam: "pagesize", Size: 3, Last: numpages}, "3 3"},
		"count missing":                {7, "", rest.PageNumber{SizeParam: "pagesize", Size: 3, Last: numpages}, "3 3 1"},
		"count of nonsense":            {7, `,"numpages":"many"`, rest.PageNumber{SizeParam: "pagesize", Size: 3, Last: numpages}, "3 3 1"},
		"count knows of more than few": {7, `,"numpages":3`, rest.PageNumber{Size: 1000, Last: numpages}, "3 3 1"},
		"count promises too much":      {4, `,"numpages":9`, rest.PageNumber{Size: 3, Last: numpages}, "3 1 0"},
		"resumed":                      {7, "", rest.PageNumber{First: 1, Size: 3}, "3 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, _ := serve(t, rest.Options{}, list(test.total, test.extra))
			test.paging.Param, test.paging.Records = "page", customers
			var got []string
			number, next := test.paging.First, test.paging.First*3
			for page, err := range client.Pages(t.Context(), rest.Request{Path: "customers"}, test.paging) {
				if err != nil {
					t.Fatal(err)
				}
				if page.Number != number {
					t.Errorf("page %d, want %d", page.Number, number)
				}
				number++
				for _, record := range page.Records {
					if want := fmt.Sprintf(`{"customer_id": "%d"}`, next); string(record) != want {
						t.Errorf("got %s, want %s", record, want)
					}
					next++
				}
				got = append(got, strconv.Itoa(len(page.Records)))
				page.Response.Release()
			}
			if diff := cmp.Diff(test.want, strings.Join(got, " ")); diff != "" {
				t.Error(diff)
			}
			if next != test.total && test.total > 0 {
				t.Errorf("%d records, want %d", next, test.total)
			}
		})
	}
}

func TestPagesKeepTheQueryOfTheRequest(t *testing.T) {
	t.Parallel()
	client, _ := serve(t, rest.Options{}, func(w http.ResponseWriter, r *http.Request) {
		if want := "from_date=2026-01-01+00%3A00%3A00&page=0&pagesize=1000"; r.URL.RawQuery != want {
			t.Errorf("got %s, want %s", r.URL.RawQuery, want)
		}
		_, _ = io.WriteString(w, `{"customers":[]}`)
	})
	query := url.Values{"from_date": {"2026-01-01 00:00:00"}}
	paging := rest.PageNumber{Param: "page", SizeParam: "pagesize", Size: 1000, Records: customers}
	for _, err := range client.Pages(t.Context(), rest.Request{Path: "customers", Query: query}, paging) {
		if err != nil {
			t.Error(err)
		}
	}
	if len(query) != 1 {
		t.Errorf("the caller's query was changed: %v", query)
	}
}

func TestServerThatIgnoresThePageIsFoundOut(t *testing.T) {
	t.Parallel()
	requests := 0
	client, _ := serve(t, rest.Options{}, func(w http.ResponseWriter, _ *http.Request) {
		requests++
		_, _ = io.WriteString(w, `{"customers":[{"customer_id":"1"},{"customer_id":"2"}]}`)
	})
	pages := 0
	var failed error
	for page, err := range client.Pages(t.Context(), rest.Request{Path: "customers", Op: "customers"}, rest.PageNumber{Param: "page", Size: 2, Records: customers}) {
		if failed = err; err == nil {
			pages++
			page.Response.Release()
		}
		if pages == 10 {
			t.Fatal("reads on and on")
		}
	}
	wantKind(t, failed, connector.KindBadResponse)
	if want := "customers page 1: the page begins like the one before it: the server ignores page"; failed.Error() != want {
		t.Errorf("got %q, want %q", failed, want)
	}
	if pages != 1 || requests != 2 {
		t.Errorf("%d pages, %d requests", pages, requests)
	}
}

func TestPagesEndAtTheFirstErrorAndWhenTheReaderStops(t *testing.T) {
	t.Parallel()
	var requests []string
	client, _ := serve(t, rest.Options{}, func(w http.ResponseWriter, r *http.Request) {
		requests = append(requests, r.URL.Query().Get("page"))
		if r.URL.Query().Get("page") == "2" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		list(100, "")(w, r)
	})
	paging := rest.PageNumber{Param: "page", Records: customers}
	var failed error
	for _, err := range client.Pages(t.Context(), rest.Request{Path: "customers", Op: "customers"}, paging) {
		if failed != nil {
			t.Error("goes on after an error")
		}
		failed = err
	}
	wantKind(t, failed, connector.KindForbidden)
	if !strings.HasPrefix(failed.Error(), "customers page 2: 403 Forbidden") {
		t.Error(failed)
	}
	for _, err := range client.Pages(t.Context(), rest.Request{Path: "customers"}, paging) {
		if err != nil {
			t.Error(err)
		}
		break
	}
	if diff := cmp.Diff([]string{"0", "1", "2", "0"}, requests); diff != "" {
		t.Error(diff)
	}
	paging.Records = func(*rest.Response) ([][]byte, error) { return rest.Records([]byte(`{"other":1}`), "customers") }
	for _, err := range client.Pages(t.Context(), rest.Request{Path: "customers", Op: "customers"}, paging) {
		wantKind(t, err, connector.KindBadResponse)
		if want := `customers page 0: no array at customers: the answer has "other"`; err.Error() != want {
			t.Errorf("got %q, want %q", err, want)
		}
	}
}
