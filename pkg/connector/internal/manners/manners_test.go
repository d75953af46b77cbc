package manners

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRetryAfterIsSecondsOrADate(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"0": 0, "120": 2 * time.Minute, " 7 ": 7 * time.Second, "1.5": 1500 * time.Millisecond,
		"99999999999999999999999":        Year,
		"Sun, 01 Mar 2026 12:00:30 GMT":  30 * time.Second,
		"Sunday, 01-Mar-26 12:00:30 GMT": 30 * time.Second,
		"Sun Mar  1 12:00:30 2026":       30 * time.Second,
		"Sun, 01 Mar 2026 11:00:00 GMT":  0,
		"Fri, 01 Jan 9999 00:00:00 GMT":  Year,
		"":                               -1, "-1": -1, "soon": -1, "inf": -1, "1e9": -1, "0x10": -1, "1.2.3": -1, "nan": -1, "+5": -1,
	} {
		got, ok := RetryAfter(http.Header{"Retry-After": {value}}, now)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("%q: got %s, want %s", value, got, want)
		}
	}
	off := http.Header{"Retry-After": {"Sun, 01 Mar 2026 18:00:30 GMT"}, "Date": {"Sun, 01 Mar 2026 18:00:00 GMT"}}
	if got, ok := RetryAfter(off, now); got != 30*time.Second || !ok {
		t.Errorf("with a skewed Date: got %s", got)
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"0", "120", "1.5", "Sun, 01 Mar 2026 12:00:30 GMT", "-1", "1e400", "9223372036854775807", ".", "..", "5."} {
		f.Add(seed, "")
		f.Add(seed, "Sun, 01 Mar 2026 12:00:00 GMT")
	}
	f.Fuzz(func(t *testing.T, value, date string) {
		h := http.Header{}
		h.Set("Retry-After", value)
		h.Set("Date", date)
		got, ok := RetryAfter(h, time.Now())
		if got < 0 || got > Year || (!ok && got != 0) {
			t.Errorf("%q: %s, %t", value, got, ok)
		}
	})
}

func TestOnlyHTTPSAndLoopbackAreSecure(t *testing.T) {
	t.Parallel()
	for text, good := range map[string]bool{
		"https://a.example": true, "http://localhost:1": true, "http://127.9.9.9": true, "http://[::1]:1": true,
		"http://a.example": false, "http://localhost.evil.example": false, "http://127.0.0.1.evil.example": false,
		"http://0.0.0.0": false, "ftp://localhost": false, "https:a.example": false, "https:///x": false, "//a.example": false, "": false,
	} {
		if _, err := ParseURL(text); (err == nil) != good {
			t.Errorf("%q: good is %t: %v", text, err == nil, err)
		}
	}
}

func TestMessageShowsShortFieldsAlone(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"error":"invalid_client","error_description":"no such client"}`:                             "invalid_client: no such client",
		`{"success":false,"errorMessage":"Auth token is expired.","errorCode":"JWT_EXPIRED"}`:         "JWT_EXPIRED: Auth token is expired.",
		`{"error":{"code":"400","code_reason":"bad","message":"wrong","error_trace":{"weight":"x"}}}`: "400: bad: wrong",
		`{"code":400013,"message":"wrong"}`:                                                           "400013: wrong",
		`{"errors":["first","second"]}`:                                                               "first",
		`{"errors":[{"code":7,"message":"first"}]}`:                                                   "7: first",
		`{"errors":{"x":"y"}}`:                                                                        "",
		`{"errors":[]}`:                                                                               "",
		`{"error":"a","message":"a"}`:                                                                 "a",
		`{"message":{"deep":"CANARY"}}`:                                                               "",
		`{"message":"line\none\ttab\u0000\u202e"}`:                                                    "line one tab",
		`{"message":"with s3cr&t, s3cr%26t and s3cr\u0026t"}`:                                         "with [redacted], [redacted] and [redacted]",
		`{"data":[{"email":"CANARY"}]}`:                                                               "",
		`"CANARY"`:                                                                                    "", `[`: "", ``: "", `null`: "", "   ": "",
		`{"message":"` + strings.Repeat("x", 100_000) + `"}`: "",
	} {
		if diff := cmp.Diff(want, Message([]byte(body), "s3cr&t")); diff != "" {
			t.Errorf("%.60s: %s", body, diff)
		}
	}
}

func FuzzMessage(f *testing.F) {
	f.Add([]byte(`{"error":{"code":"1","message":"a"},"errors":["b"],"errorMessage":"sekrit"}`))
	f.Add([]byte(`{"error":"\u0073ekrit"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		got := Message(body, "sekrit")
		if len([]rune(got)) > messageLimit+3 || strings.ContainsAny(got, "\r\n\x00\x1b") || strings.Contains(got, "sekrit") {
			t.Errorf("got %q", got)
		}
		_ = ErrorCode(body)
	})
}

func TestUnreachableShowsNoURL(t *testing.T) {
	t.Parallel()
	err := &url.Error{Op: "Get", URL: "https://a.example/?key=CANARY", Err: &url.Error{Op: "Get", URL: "CANARY", Err: errors.New("odd")}}
	failure, retry := Unreachable(err, "a.example")
	if got := failure.Error(); got != "no answer from a.example: odd" || !retry {
		t.Errorf("got %q, %t", got, retry)
	}
}

func TestBackoffStaysInItsBounds(t *testing.T) {
	t.Parallel()
	for failures, bound := range map[int]time.Duration{-1: time.Second, 0: time.Second, 1: time.Second, 3: 4 * time.Second, 6: 30 * time.Second, 1 << 30: 30 * time.Second} {
		for range 1000 {
			if got := Backoff(failures, 30*time.Second); got <= 0 || got > bound {
				t.Fatalf("after %d failures: %s, bound %s", failures, got, bound)
			}
		}
	}
}

func TestHostsAreComparedByNameAndPort(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"https://API.Example.com./x": "api.example.com:443", "http://localhost": "localhost:80",
		"https://a.example:8443": "a.example:8443", "https://[::1]:9": "[::1]:9",
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := Host(u); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}
