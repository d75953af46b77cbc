package connectortest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	maxRequestBody = 1 << 20
	maxVendorBody  = 64 << 20
)

// A gate stands between the connector and its vendor: a reverse proxy that sees
// every request and can answer instead of the vendor.
type gate struct {
	token, api *url.URL // upstream: where the vendor is; token is nil without a token flow
	vendor     http.Handler
	expired    http.Handler
	lifetimeOf *regexp.Regexp
	onSecret   func(name, value string) // told of each credential that passes
	listeners  map[string]net.Listener  // by upstream origin
	servers    sync.WaitGroup
	stop       []func()
	closed     chan struct{}

	flooded chan struct{} // closed when more requests came than the limit

	mu       sync.Mutex
	meddle   meddle
	limit    int           // of requests; 0 is none
	lifetime time.Duration // if not zero, tokens are said to live so long, and do
	passed   []*exchange
	grants   []grant
	revoked  map[string]bool // by credential
}

// A meddle answers in the vendor's place; nil lets the vendor answer. It may wait
// for x.gone.
type meddle func(x *exchange) *answer

// An exchange is one request and what became of it. Its first fields do not
// change.
type exchange struct {
	gate       *gate
	at         time.Time
	token      bool // a request to the token endpoint
	n          int  // counts the requests of its sort, from 1
	method     string
	target     string // path and query
	path       string
	query      url.Values
	header     http.Header
	body       []byte
	credential string // in the header Authorization, without the scheme
	gone       <-chan struct{}
	request    *http.Request

	// Guarded by gate.mu; exchanges gives copies.
	honest *answer // what the vendor said, if it was asked
	status int     // of the answer; 0 until there is one
}

// A grant is an answer of the token endpoint.
type grant struct {
	at    time.Time
	texts string // all strings of the answer
	asked string // the body of the request
}

// An answer is a response to the connector.
type answer struct {
	status int
	header http.Header
	body   []byte
	write  func(w http.ResponseWriter) // instead of all of the above
}

func reply(status int, body string) *answer {
	return &answer{status: status, header: http.Header{"Content-Type": {"application/json"}}, body: []byte(body)}
}

func (a *answer) with(name, value string) *answer {
	a.header = maps.Clone(a.header)
	a.header.Set(name, value)
	return a
}

// newGate opens the way to the candidate's vendor.
func newGate(c Candidate, onSecret func(name, value string)) (*gate, error) {
	g := &gate{
		vendor: c.Vendor, expired: c.Expired, lifetimeOf: c.lifetimePattern(), onSecret: onSecret,
		listeners: map[string]net.Listener{}, closed: make(chan struct{}), flooded: make(chan struct{}), revoked: map[string]bool{},
	}
	for key, to := range map[string]**url.URL{"base_url": &g.api, "token_url": &g.token} {
		text, ok := c.text(key)
		if !ok {
			continue
		}
		u, err := url.Parse(text)
		if err != nil {
			g.close()
			return nil, fmt.Errorf("setting %s is no address", key)
		}
		if c.Vendor != nil {
			u.Scheme, u.Host = "http", "vendor"
		}
		*to = u
		if err := g.open(origin(u)); err != nil {
			g.close()
			return nil, err
		}
	}
	return g, nil
}

func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }

// open listens for requests to an origin of the vendor.
func (g *gate) open(upstream string) error {
	if g.listeners[upstream] != nil {
		return nil
	}
	listener, closeServer, err := listen(&g.servers, func(w http.ResponseWriter, r *http.Request) { g.serve(upstream, w, r) })
	if err != nil {
		return err
	}
	g.listeners[upstream] = listener
	g.stop = append(g.stop, closeServer)
	return nil
}

// listen serves on loopback until the returned function is called, whose end
// servers waits for.
func listen(servers *sync.WaitGroup, handler http.HandlerFunc) (net.Listener, func(), error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, fmt.Errorf("listen for the connector's requests: %w", err)
	}
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // a connector that hangs up is no news
	}
	servers.Go(func() { _ = server.Serve(listener) }) // it ends when it is closed
	return listener, func() { _ = server.Close() }, nil
}

// close ends all connections.
func (g *gate) close() {
	close(g.closed)
	for _, stop := range g.stop {
		stop()
	}
	g.servers.Wait()
}

// address returns where the connector reaches what is upstream.
func (g *gate) address(upstream *url.URL) string {
	u := *upstream
	u.Scheme, u.Host = "http", g.listeners[origin(upstream)].Addr().String()
	return u.String()
}

// set changes how the gate answers from now on.
func (g *gate) set(m meddle) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.meddle = m
}

// allow sets how many requests may come before the pulls are ended that make
// them.
func (g *gate) allow(requests int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limit = requests
}

// shorten makes tokens that are issued from now on live for d.
func (g *gate) shorten(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lifetime = d
}

// revoke ends a token.
func (g *gate) revoke(credential string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.revoked[credential] = true
}

// exchanges returns the requests that came so far, to the token endpoint or to
// the rest.
func (g *gate) exchanges(token bool) []*exchange {
	g.mu.Lock()
	defer g.mu.Unlock()
	var copies []*exchange
	for _, x := range g.passed {
		if x.token == token {
			copied := *x
			copies = append(copies, &copied)
		}
	}
	return copies
}

// usedBetween reports whether a request to the API came between two moments.
func (g *gate) usedBetween(from, to time.Time) bool {
	return slices.ContainsFunc(g.exchanges(false), func(x *exchange) bool { return x.at.After(from) && x.at.Before(to) })
}

// granted returns when the token endpoint gave out a credential.
func (g *gate) granted(credential string) (time.Time, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.grantedAt(credential)
}

func (g *gate) grantedAt(credential string) (time.Time, bool) {
	for _, grant := range slices.Backward(g.grants) {
		if credential != "" && strings.Contains(grant.texts, credential) {
			return grant.at, true
		}
	}
	return time.Time{}, false
}

// first reports whether a credential is of the first that were granted to whoever
// asked in the same way.
func (g *gate) first(credential string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	asked := map[string]bool{}
	for _, grant := range g.grants {
		if credential != "" && !asked[grant.asked] && strings.Contains(grant.texts, credential) {
			return true
		}
		asked[grant.asked] = true
	}
	return false
}

// alive reports whether a credential has neither ended nor been revoked.
func (g *gate) alive(credential string, at time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.revoked[credential] {
		return false
	}
	issued, ok := g.grantedAt(credential)
	return !ok || g.lifetime == 0 || at.Before(issued.Add(g.lifetime))
}

func (g *gate) serve(upstream string, w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequestBody))
	if err != nil {
		http.Error(w, "request body", http.StatusBadRequest)
		return
	}
	x := g.enter(upstream, r, body)
	a := g.answer(x, upstream)
	g.mu.Lock()
	x.status = a.status
	if x.token && a.status/100 == 2 {
		g.grants = append(g.grants, grant{time.Now(), textsOf(a.body), string(body)})
	}
	g.mu.Unlock()
	if a.write != nil {
		a.write(w)
		return
	}
	maps.Copy(w.Header(), a.header)
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // a connector that hangs up is no news
}

func (g *gate) enter(upstream string, r *http.Request, body []byte) *exchange {
	x := &exchange{
		gate: g, at: time.Now(), method: r.Method, target: r.URL.RequestURI(), path: r.URL.EscapedPath(), query: r.URL.Query(),
		header: r.Header, body: body, gone: r.Context().Done(), request: r,
		token: g.token != nil && upstream == origin(g.token) && r.URL.Path == g.token.Path,
	}
	if _, credential, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok {
		x.credential = credential
		g.onSecret("a token", credential)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	x.n = 1
	for _, earlier := range g.passed {
		if earlier.token == x.token {
			x.n++
		}
	}
	g.passed = append(g.passed, x)
	if len(g.passed)-1 == g.limit && g.limit > 0 {
		close(g.flooded)
	}
	return x
}

// answer decides who answers, and what.
func (g *gate) answer(x *exchange, upstream string) *answer {
	g.mu.Lock()
	meddle := g.meddle
	lifetime := g.lifetime
	g.mu.Unlock()
	if !x.token && !g.alive(x.credential, x.at) {
		return g.refuse(x, upstream)
	}
	if meddle != nil {
		if a := meddle(x); a != nil {
			return a
		}
	}
	a := g.forward(x, upstream, x.header)
	if x.token && lifetime > 0 {
		a.body = g.lifetimeOf.ReplaceAll(a.body, fmt.Appendf(nil, "${1}%d", int(lifetime.Seconds())))
	}
	return a
}

// refuse answers a request as the vendor does when its token has ended.
func (g *gate) refuse(x *exchange, upstream string) *answer {
	if g.expired != nil {
		w := &capture{header: http.Header{}}
		g.expired.ServeHTTP(w, x.request.Clone(x.request.Context()))
		return w.answer()
	}
	header := x.header.Clone()
	if scheme, _, ok := strings.Cut(header.Get("Authorization"), " "); ok {
		header.Set("Authorization", scheme+" never-issued")
	}
	if a := g.forward(x, upstream, header); a.status == http.StatusUnauthorized {
		return a
	}
	return reply(http.StatusUnauthorized, `{"error":"invalid_token"}`).with("WWW-Authenticate", `Bearer error="invalid_token"`)
}

// ask returns what the vendor says to the request.
func (x *exchange) ask() *answer {
	upstream := x.gate.api
	if x.token {
		upstream = x.gate.token
	}
	return x.gate.forward(x, origin(upstream), x.header)
}

// hold waits for d; it reports false if the connector or the exam gave up first.
func (x *exchange) hold(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-x.gone:
	case <-x.gate.closed:
	}
	return false
}

// forward lets the vendor answer.
func (g *gate) forward(x *exchange, upstream string, header http.Header) *answer {
	r := x.request.Clone(x.request.Context())
	r.Header = header.Clone()
	r.Body = io.NopCloser(bytes.NewReader(x.body))
	var a *answer
	if g.vendor != nil {
		w := &capture{header: http.Header{}}
		g.vendor.ServeHTTP(w, r)
		a = w.answer()
	} else {
		var err error
		if a, err = g.fetch(r, upstream); err != nil {
			a = reply(http.StatusBadGateway, `{"error":"the exam cannot reach the vendor"}`)
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	x.honest = a
	copied := *a
	return &copied
}

// fetch asks a vendor at its address. What it says of its own address leads back
// to the gate.
func (g *gate) fetch(r *http.Request, upstream string) (*answer, error) {
	to, err := url.Parse(upstream)
	if err != nil {
		return nil, err
	}
	r.URL.Scheme, r.URL.Host, r.Host, r.RequestURI = to.Scheme, to.Host, to.Host, ""
	r.Header.Set("Accept-Encoding", "identity")
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxVendorBody+1))
	if err != nil || len(body) > maxVendorBody {
		return nil, errors.Join(err, errors.New("the vendor's answer is cut off or too large"))
	}
	header := resp.Header.Clone()
	for _, name := range []string{"Connection", "Content-Length", "Transfer-Encoding", "Keep-Alive"} {
		header.Del(name)
	}
	for from, listener := range g.listeners {
		to := "http://" + listener.Addr().String()
		body = bytes.ReplaceAll(body, []byte(from), []byte(to))
		if location := header.Get("Location"); location != "" {
			header.Set("Location", strings.ReplaceAll(location, from, to))
		}
	}
	return &answer{status: resp.StatusCode, header: header, body: body}, nil
}

// A capture is a ResponseWriter that keeps what is written.
type capture struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (c *capture) Header() http.Header { return c.header }

func (c *capture) WriteHeader(status int) {
	if c.status == 0 {
		c.status = status
	}
}

func (c *capture) Write(b []byte) (int, error) {
	c.WriteHeader(http.StatusOK)
	return c.body.Write(b)
}

func (c *capture) answer() *answer {
	c.WriteHeader(http.StatusOK)
	header := c.header.Clone()
	header.Del("Content-Length")
	return &answer{status: c.status, header: header, body: bytes.Clone(c.body.Bytes())}
}
