package rest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/winchdata/winch/internal/tracing"
	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/internal/manners"
)

const (
	// maxRedirects is how many redirects one attempt follows.
	maxRedirects = 5
	// maxMoves is how many base URLs in a row one attempt prepares for.
	maxMoves = 5
)

// An answer is a response with what only this package needs of it.
type answer struct {
	*Response
	http     *http.Response // its body is read
	secrets  []string       // what no error may show
	transfer Transfer       // not recorded yet
}

// judged records the answer, when it is known whether it is one.
func (a *answer) judged(ctx context.Context, failed *failure) {
	if failed != nil {
		a.transfer.Err = failed.err
	}
	a.transfer.Record(ctx)
}

// attempt sends the request once, follows redirects, and reads the answer. It
// waits for the concurrency and rate limits first; the base URL and the
// signature are those of the moment of sending.
func (c *Client) attempt(ctx context.Context, req Request, before repeat) (*answer, *failure) {
	if err := enter(ctx, c.places, tracing.WaitConcurrency); err != nil {
		return nil, &failure{err: err}
	}
	defer func() { <-c.places }()

	var base, target *url.URL
	for hop := 0; ; hop++ {
		if err := c.limiter.wait(ctx); err != nil {
			return nil, &failure{err: err}
		}
		var signed *http.Request
		var err error
		if hop == 0 {
			base, target, signed, err = c.prepare(ctx, req)
		} else {
			signed, err = c.sign(ctx, req, target)
		}
		if err != nil {
			return nil, &failure{err: err}
		}
		got, failed := c.send(ctx, req, signed, target, before)
		if failed != nil {
			return nil, failed
		}
		next, err := redirect(got.http, req)
		if next == nil && err == nil {
			return got, nil // the caller judges it
		}
		if err == nil && hop == maxRedirects {
			err = fmt.Errorf("more than %d redirects", maxRedirects)
		}
		if err == nil && !c.allowed(next, base) {
			err = fmt.Errorf("%s redirects to %s, where credentials are not sent", target.Host, next.Host)
		}
		if err != nil {
			failed := &failure{err: &connector.Error{Kind: connector.KindBadResponse, Err: err, Hint: "is base_url right?"}}
			got.judged(ctx, failed)
			return nil, failed
		}
		got.judged(ctx, nil)
		target = next
	}
}

// prepare returns the base URL, where the request goes, and the signed request.
// Where the base URL comes with the token, both are of the same one: a request that
// is signed with the next token while it goes where the last one belonged could be
// answered with 404, as if what it asks for did not exist.
func (c *Client) prepare(ctx context.Context, req Request) (base, target *url.URL, signed *http.Request, err error) {
	for range maxMoves {
		if base, target, err = c.target(ctx, req); err != nil {
			return nil, nil, nil, err
		}
		if signed, err = c.sign(ctx, req, target); err != nil || c.options.BaseURLFrom == nil {
			break
		}
		var now *url.URL
		if now, err = c.baseNow(ctx); err != nil || *now == *base {
			break
		}
	}
	return base, target, signed, err
}

func (c *Client) baseNow(ctx context.Context) (*url.URL, error) {
	if c.options.BaseURLFrom == nil {
		return c.base, nil
	}
	text, err := c.options.BaseURLFrom(ctx)
	if err != nil {
		return nil, err
	}
	base, err := baseURL(text)
	if err != nil {
		return nil, &connector.Error{Kind: connector.KindConfig, Err: err}
	}
	return base, nil
}

// target returns the base URL of this moment and the URL that the request goes
// to.
func (c *Client) target(ctx context.Context, req Request) (base, target *url.URL, err error) {
	wrong := func(err error) error { return &connector.Error{Kind: connector.KindConfig, Err: err} }
	if base, err = c.baseNow(ctx); err != nil {
		return nil, nil, err
	}
	target, err = resolve(base, req.Path)
	switch {
	case err != nil && absolute(req.Path): // a link of the vendor's, which concerns one list
		return nil, nil, &connector.Error{Kind: connector.KindBadResponse, Err: err}
	case err != nil:
		return nil, nil, wrong(err)
	}
	if !c.allowed(target, base) {
		return nil, nil, &connector.Error{
			Kind: connector.KindBadResponse,
			Err:  fmt.Errorf("a link to %s, where credentials are not sent", target.Host),
		}
	}
	if len(req.Query) > 0 {
		query := target.Query()
		maps.Copy(query, req.Query)
		target.RawQuery = query.Encode()
	}
	return base, target, nil
}

func absolute(path string) bool {
	return strings.HasPrefix(path, "https://") || strings.HasPrefix(path, "http://")
}

// resolve joins path to base, or takes it as it is if it is an absolute URL. A
// path is not cleaned: what a connector escaped stays one segment.
func resolve(base *url.URL, path string) (*url.URL, error) {
	if absolute(path) {
		u, err := manners.ParseURL(path)
		if err != nil {
			return nil, fmt.Errorf("a link: %w", err)
		}
		return u, nil
	}
	path, query, _ := strings.Cut(path, "?")
	escaped := base.EscapedPath()
	if path != "" {
		escaped = strings.TrimSuffix(escaped, "/") + "/" + strings.TrimPrefix(path, "/")
	}
	plain, err := url.PathUnescape(escaped)
	if err != nil {
		return nil, errors.New("the path of a request is not escaped as a URL wants it")
	}
	u := *base
	u.Path, u.RawPath, u.RawQuery = plain, escaped, query
	return &u, nil
}

// allowed reports whether a signed request may go to u: over TLS or on loopback,
// to the base URL's own host or one of the list.
func (c *Client) allowed(u, base *url.URL) bool {
	if manners.Secure(u) != nil || u.User != nil {
		return false
	}
	host := manners.Host(u)
	if host == manners.Host(base) || manners.Under(u, c.options.AllowSubdomainsOf) {
		return true
	}
	for _, allowed := range c.options.Hosts {
		if host == manners.Host(&url.URL{Scheme: "https", Host: allowed}) {
			return true
		}
	}
	return false
}

// redirect returns where an answer sends the request on to, or nil. Only what
// can be sent again unchanged is sent on.
func redirect(resp *http.Response, req Request) (*url.URL, error) {
	location := resp.Header.Get("Location")
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther:
		if req.method() != http.MethodGet && req.method() != http.MethodHead {
			return nil, nil
		}
	case http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		if !req.repeatable() {
			return nil, nil
		}
	default:
		return nil, nil
	}
	if location == "" {
		return nil, nil
	}
	next, err := resp.Request.URL.Parse(location)
	if err != nil || next.Hostname() == "" {
		return nil, errors.New("a redirect to something that is no URL")
	}
	return next, nil
}

// sign returns the request as it goes to target, with the credentials of this
// moment.
func (c *Client) sign(ctx context.Context, req Request, target *url.URL) (*http.Request, error) {
	httpReq, err := http.NewRequestWithContext(ctx, req.method(), target.String(), bytes.NewReader(req.Body))
	if err != nil {
		return nil, &connector.Error{Kind: connector.KindConfig, Err: errors.New("the request cannot be built")}
	}
	httpReq.Header.Set("Accept", "application/json")
	httpReq.Header.Set("User-Agent", c.options.UserAgent)
	for _, header := range []http.Header{c.options.Header, req.Header} {
		for name, values := range header {
			httpReq.Header[http.CanonicalHeaderKey(name)] = slices.Clone(values)
		}
	}
	httpReq.Header.Set("Accept-Encoding", manners.AcceptEncoding)
	if c.options.Auth != nil {
		if err := c.options.Auth.Authorize(httpReq); err != nil {
			return nil, err
		}
	}
	return httpReq, nil
}

// send sends a signed request and reads the answer, which is recorded when it is
// judged. This is the one place where a request leaves for the vendor.
func (c *Client) send(ctx context.Context, req Request, httpReq *http.Request, target *url.URL, before repeat) (got *answer, failed *failure) {
	usage := connector.Usage{Requests: 1}
	if before.sent > 0 {
		usage.Retries = 1
	}
	connector.RecordUsage(ctx, usage)
	transfer := Transfer{Method: req.method(), Target: target, Template: req.template(target), Since: time.Now(), before: before}
	defer func() {
		transfer.ended()
		if failed != nil {
			transfer.Err = failed.err
			transfer.Record(ctx)
			return
		}
		transfer.Status, transfer.Bytes = got.Status, int64(len(got.Body))
		got.transfer = transfer
	}()
	timed, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	httpReq = httpReq.WithContext(timed)
	secrets := secretsOf(httpReq)
	resp, err := c.options.Transport.RoundTrip(httpReq) //nolint:bodyclose // manners.ReadBody closes it
	var body []byte
	if err == nil {
		body, err = manners.ReadBody(ctx, resp, c.options.MaxBody)
	}
	switch {
	case err == nil:
	case manners.Unreadable(err):
		return nil, &failure{err: &connector.Error{
			Kind: connector.KindBadResponse, Err: err, Hint: "ask for smaller pages if there is a setting for it",
		}}
	case ctx.Err() == nil && timed.Err() != nil:
		return nil, &failure{retry: true, err: &connector.Error{
			Kind: connector.KindUnavailable, Err: fmt.Errorf("no whole answer from %s within %s", target.Host, c.options.Timeout),
		}}
	default:
		lost, retry := manners.Unreachable(err, target.Host, secrets...)
		return nil, &failure{err: lost, retry: retry}
	}
	resp.Request = httpReq
	return &answer{
		Response: &Response{
			Status: resp.StatusCode, Header: resp.Header, Body: body,
			URL: (&url.URL{Scheme: target.Scheme, Host: target.Host, Path: target.Path}).String(),
		},
		http: resp, secrets: secrets,
	}, nil
}

// secretsOf returns what in a request may be secret, for the case that an answer
// repeats it: credentials, and longer values of the query.
func secretsOf(req *http.Request) []string {
	var secrets []string
	if _, value, ok := strings.Cut(req.Header.Get("Authorization"), " "); ok {
		secrets = append(secrets, value)
	}
	for _, values := range req.URL.Query() {
		for _, value := range values {
			if len(value) >= 8 {
				secrets = append(secrets, value)
			}
		}
	}
	return secrets
}
