package rest_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/rest"
)

func TestPathsAreJoinedToTheBaseURL(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		base, path string
		query      url.Values
		want       string
	}{
		{"https://a.example/v2", "customers", nil, "https://a.example/v2/customers"},
		{"https://a.example/v2/", "/customers/", nil, "https://a.example/v2/customers/"},
		{"https://a.example", "customers", nil, "https://a.example/customers"},
		{"https://a.example/v2", "", nil, "https://a.example/v2"},
		{"https://a.example/v2", "customers/a%2Fb/..%2f", nil, "https://a.example/v2/customers/a%2Fb/..%2f"},
		{"https://a.example/v2", "customers/a b", nil, "https://a.example/v2/customers/a%20b"},
		{"https://a.example/v2", "x:y", nil, "https://a.example/v2/x:y"},
		{"https://a.example/v2", "//evil.example/x", nil, "https://a.example/v2//evil.example/x"},
		{"https://a.example/v2", "orders?cursor=a%2Bb", nil, "https://a.example/v2/orders?cursor=a%2Bb"},
		{"https://a.example/v2", "orders?cursor=a&page=1", url.Values{"page": {"2"}, "q": {"+&="}}, "https://a.example/v2/orders?cursor=a&page=2&q=%2B%26%3D"},
		{"https://a.example/v2", "https://a.example/other?x=1", nil, "https://a.example/other?x=1"},
		{"http://localhost:8080/k", "ping", nil, "http://localhost:8080/k/ping"},
		{"http://[::1]:8080/k", "ping", nil, "http://[::1]:8080/k/ping"},
	} {
		var got string
		client := newClient(t, rest.Options{BaseURL: test.base, Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			got = r.URL.String()
			return reply(r, 200, "{}"), nil
		})})
		if _, err := client.Get(t.Context(), test.path, test.query); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestRequestCarriesTheHeadersOfClientAndRequest(t *testing.T) {
	t.Parallel()
	client := newClient(t, rest.Options{
		UserAgent: "winch/1.2", Header: http.Header{"x-brand": {"one"}, "X-Both": {"client"}},
		Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			want := http.Header{
				"Accept": {"application/json"}, "Accept-Encoding": {"gzip"}, "User-Agent": {"winch/1.2"},
				"X-Brand": {"one"}, "X-Both": {"request"}, "Content-Type": {"application/json"},
			}
			if diff := cmp.Diff(want, r.Header); diff != "" {
				t.Error(diff)
			}
			return reply(r, 201, ""), nil
		}),
	})
	resp, err := client.Do(t.Context(), rest.Request{
		Method: "POST", Path: "x", Body: []byte("{}"), Header: http.Header{"X-Both": {"request"}, "Content-Type": {"application/json"}},
	})
	if err != nil || resp.Status != 201 {
		t.Errorf("got %v", err)
	}
}

func TestSettingsThatCannotWorkAreRefused(t *testing.T) {
	t.Parallel()
	for _, o := range []rest.Options{
		{},
		{BaseURL: "api.example.com/v1"},
		{BaseURL: "http://api.example.com/v1"},
		{BaseURL: "https://api.example.com/v1?key=a"},
		{BaseURL: "https://api.example.com", Rate: []rest.Window{{Requests: 0, Per: time.Second}}},
		{BaseURL: "https://api.example.com", Rate: []rest.Window{{Requests: 1}}},
		{BaseURL: "https://api.example.com", Concurrency: -1},
	} {
		_, err := rest.New(o)
		wantKind(t, err, connector.KindConfig)
	}
}

func TestRequestThatCannotBeSentIsAConfigurationError(t *testing.T) {
	t.Parallel()
	client := newClient(t, rest.Options{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		t.Error("it was sent")
		return reply(r, 200, ""), nil
	})})
	for _, request := range []rest.Request{{Path: "a%zz"}, {Path: "x", Method: "G T"}} {
		_, err := client.Do(t.Context(), request)
		wantKind(t, err, connector.KindConfig)
	}
}

func TestRetryAfterOfAnAnswer(t *testing.T) {
	t.Parallel()
	if got, ok := rest.RetryAfter(http.Header{"Retry-After": {"7"}}); got != 7*time.Second || !ok {
		t.Errorf("got %s, %t", got, ok)
	}
	if _, ok := rest.RetryAfter(http.Header{}); ok {
		t.Error("found where there is none")
	}
}
