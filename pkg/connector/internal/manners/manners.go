// Package manners is what requests for tokens and requests for records have in
// common: how to wait, how to read a body within bounds, how to name a failure
// so that a person understands it, and which URLs may be used at all.
package manners

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/winchdata/winch/internal/tracing"
	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/cassette"
)

// Sleep waits for d or for the end of ctx, whose error it returns then. The wait
// is recorded as usage, and in the trace with its reason, one of tracing.Wait....
// While a cassette is replayed nobody is waited for.
func Sleep(ctx context.Context, d time.Duration, reason string) error {
	if cassette.Replaying(ctx) {
		return ctx.Err()
	}
	wait := StartWait(ctx, reason)
	defer wait.End()
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-wait.C:
			wait.Note()
		}
	}
}

// A Wait records as usage, and at its end in the trace, how long one waits. It does so each second, so that whoever
// watches the usage can tell a wait from a standstill.
type Wait struct {
	*time.Ticker // when to Note
	ctx          context.Context
	reason       string
	began, noted time.Time
}

// StartWait begins a wait for a reason, one of tracing.Wait..., which End ends.
func StartWait(ctx context.Context, reason string) *Wait {
	now := time.Now()
	return &Wait{Ticker: time.NewTicker(time.Second), ctx: ctx, reason: reason, began: now, noted: now}
}

// Note records what has passed since the last time.
func (w *Wait) Note() {
	now := time.Now()
	usage := connector.Usage{Waited: now.Sub(w.noted)}
	if w.reason == tracing.WaitRateLimit || w.reason == tracing.WaitRetryAfter {
		usage.WaitedForLimit = usage.Waited
	}
	connector.RecordUsage(w.ctx, usage)
	w.noted = now
}

// End records the rest.
func (w *Wait) End() {
	w.Stop()
	w.Note()
	tracing.Waited(w.ctx, w.began, w.reason)
}

// Backoff returns how long to wait after the given number of failures: random
// between zero and a bound that starts at a second, doubles with each failure
// and ends at limit ("full jitter"). Many clients that failed together so do not
// return together.
func Backoff(failures int, limit time.Duration) time.Duration {
	bound := time.Second << min(max(failures-1, 0), 16)
	return rand.N(min(bound, limit)) + 1
}

// UserAgent is what requests call themselves.
const UserAgent = "winch"

// Status returns a status as people write it: "503 Service Unavailable".
func Status(code int) string {
	return strings.TrimSpace(strconv.Itoa(code) + " " + http.StatusText(code))
}

// Year is the longest time that is believed when a vendor names one.
const Year = 365 * 24 * time.Hour

// RetryAfter reads the header Retry-After (RFC 9110 section 10.2.3): seconds, or
// a date, which is measured against the header's own Date so that a skewed clock
// does no harm, or against now where there is none.
func RetryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, ok := Seconds(value); ok {
		return seconds, true
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return min(max(at.Sub(now), 0), Year), true
}

// Seconds reads a plain decimal number of seconds, at most Year.
func Seconds(text string) (time.Duration, bool) {
	if text == "" || strings.Trim(text, "0123456789.") != "" {
		return 0, false // ParseFloat alone would take "inf", "1e9" and "0x1p4"
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, false
	}
	return time.Duration(min(f, Year.Seconds()) * float64(time.Second)), true
}

// ParseURL parses an absolute URL that credentials may be sent to. Its errors do
// not show the text, which may hold a password.
func ParseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || u.Opaque != "":
		return nil, errors.New("not a valid URL: want one such as https://api.example.com/v1")
	case u.User != nil:
		return nil, errors.New("the URL holds a user name or password")
	}
	return u, Secure(u)
}

// Secure returns an error unless u is https, or http on a loopback host.
func Secure(u *url.URL) error {
	if u.Scheme == "https" || (u.Scheme == "http" && Loopback(u.Hostname())) {
		return nil
	}
	return errors.New("want https: plain http is for loopback hosts alone")
}

// Loopback reports whether host, without port, is this machine.
func Loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// Host returns where u goes as "name:port", in lower case, by which two URLs are
// compared.
func Host(u *url.URL) string {
	name := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	port := map[string]string{"https": "443", "http": "80"}[u.Scheme]
	return net.JoinHostPort(name, cmp.Or(u.Port(), port))
}

// Under reports whether u is an https URL on the usual port of one of the domains
// or their subdomains.
func Under(u *url.URL, domains []string) bool {
	name, port, _ := net.SplitHostPort(Host(u))
	for _, domain := range domains {
		domain = strings.Trim(strings.ToLower(domain), ".")
		if domain != "" && u.Scheme == "https" && port == "443" && (name == domain || strings.HasSuffix(name, "."+domain)) {
			return true
		}
	}
	return false
}
