package rest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/winchdata/winch/internal/tracing"
	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/cassette"
	"github.com/winchdata/winch/pkg/connector/internal/manners"
)

// An Authorizer signs requests. *auth.Cache and *auth.Digest are Authorizers.
type Authorizer interface {
	// Authorize puts credentials on req. The client calls it when req is about to
	// be sent, after every wait, and anew for each retry and each redirect.
	Authorize(req *http.Request) error
	// Rejected is told that the vendor answered 401 to resp.Request; the body is
	// already read. It gets new credentials, and says whether the request is
	// worth sending again. The client calls it at most once per request.
	Rejected(ctx context.Context, resp *http.Response) (again bool, err error)
}

// A Window is a rate limit: at most Requests in any span of length Per.
type Window struct {
	Requests int
	Per      time.Duration
}

// Options are the settings of a Client.
type Options struct {
	// BaseURL is what the paths of requests are joined to: https, or http on a
	// loopback host; a path such as /v2 in it is kept.
	BaseURL string
	// BaseURLFrom gives the base URL before each attempt instead, for vendors
	// that name it with the token: auth.Cache.BaseURL. Its host is trusted: check
	// it where it comes from.
	BaseURLFrom func(ctx context.Context) (string, error)
	// Auth signs the requests; nil sends them unsigned.
	Auth Authorizer
	// Hosts are hosts besides the base URL's, as name or name:port, that requests
	// and redirects may go to, signed.
	Hosts []string
	// AllowSubdomainsOf are domains that, with all their hosts, may be gone to as
	// well, by https on its usual port.
	AllowSubdomainsOf []string
	// Rate limits hold all at once, for all users of the client together.
	Rate []Window
	// Concurrency is how many requests may be under way at once; zero means 1.
	Concurrency int
	// MaxAttempts is how often a request is sent before its error is given up
	// on, the replay after a 401 not counted; zero means 5.
	MaxAttempts int
	// MaxBody bounds a response body in bytes, after decompression; zero means
	// 64 MiB.
	MaxBody int64
	// Timeout bounds one attempt with the reading of its answer; zero means two
	// minutes.
	Timeout time.Duration
	// MaxWait is the longest wait that the vendor may ask for: a request that
	// would have to wait longer fails with KindRateLimited and RetryAfter, so
	// that the agent can do something else meanwhile. Zero means two minutes.
	MaxWait time.Duration
	// UserAgent is sent with each request; empty means "winch".
	UserAgent string
	// Header is sent with each request, to allowed hosts alone.
	Header http.Header
	// Classify is the vendor's own reading of an answer. It sees each one before
	// the standard reading does, also those of 200 and 401; nil from it means
	// the standard reading. An error of KindUnavailable or KindRateLimited is
	// retried like a 503 or 429, any other is final.
	Classify func(*Response) error
	// Transport sends the requests; nil means a shared one with sane limits, see
	// also Through. It must not follow redirects.
	Transport http.RoundTripper
}

// A Client talks to one vendor with one credential. It is safe for concurrent
// use, and is shared by all streams of a source so that they share its limits.
type Client struct {
	options Options // with defaults filled in
	base    *url.URL
	places  chan struct{}
	limiter *limiter
}

// New returns a client. An error is of KindConfig; the network is not used.
func New(o Options) (*Client, error) {
	o.Concurrency = cmp.Or(o.Concurrency, 1)
	o.MaxAttempts = cmp.Or(o.MaxAttempts, 5)
	o.MaxBody = cmp.Or(o.MaxBody, 64<<20)
	o.Timeout = cmp.Or(o.Timeout, 2*time.Minute)
	o.MaxWait = cmp.Or(o.MaxWait, 2*time.Minute)
	o.UserAgent = cmp.Or(o.UserAgent, manners.UserAgent)
	if o.Transport == nil {
		o.Transport = manners.Transport()
	}
	o.Transport = cassette.Transport(o.Transport)
	c := &Client{options: o}
	if err := c.check(); err != nil {
		return nil, &connector.Error{Kind: connector.KindConfig, Op: "HTTP settings", Err: err}
	}
	c.places = make(chan struct{}, o.Concurrency)
	c.limiter = newLimiter(o.Rate, o.MaxWait)
	return c, nil
}

// Limits are what the client keeps its requests to.
func (c *Client) Limits() connector.Limits {
	limits := connector.Limits{Concurrency: c.options.Concurrency}
	for _, w := range c.options.Rate {
		limits.Rates = append(limits.Rates, connector.Rate(w))
	}
	return limits
}

func (c *Client) check() (err error) {
	o := c.options
	for _, w := range o.Rate {
		if w.Requests <= 0 || w.Per <= 0 {
			return fmt.Errorf("rate of %d requests per %s: want both above zero", w.Requests, w.Per)
		}
	}
	if o.Concurrency < 0 || o.MaxAttempts < 0 || o.MaxBody < 0 || o.Timeout < 0 || o.MaxWait < 0 {
		return errors.New("a limit is negative")
	}
	if o.BaseURLFrom == nil {
		c.base, err = baseURL(o.BaseURL)
	}
	return err
}

func baseURL(text string) (*url.URL, error) {
	u, err := manners.ParseURL(text)
	if err == nil && (u.RawQuery != "" || u.Fragment != "") {
		err = errors.New("the URL has a query or a fragment")
	}
	if err != nil {
		return nil, fmt.Errorf("base_url: %w", err)
	}
	return u, nil
}

// A Request is one request to the vendor.
type Request struct {
	// Method is empty for GET.
	Method string
	// Path is joined to the base URL. It is escaped already and may have a query,
	// as links to a next page do. An absolute URL to an allowed host is taken as
	// it is.
	Path string
	// Query replaces parameters of the same name in Path. Errors never show it.
	Query url.Values
	// Header is sent besides the client's, and wins over it.
	Header http.Header
	// Body is sent as it is; set Content-Type in Header.
	Body []byte
	// ReadOnly says that a request with a method other than GET changes nothing
	// at the vendor, so that it may be sent again when it is unknown what became
	// of it. GET and HEAD always are.
	ReadOnly bool
	// Read reads a good answer, as far as it takes to know that it is what was asked
	// for: a status of 200 with another body is no answer. Its error ends Do, which
	// does not ask again, and shows on the request's span. May be nil.
	Read func(*Response) error
	// Op says in errors what is being done: "cdrs_in page 3". Empty means method
	// and path.
	Op string
	// Template is Path as traces may show it, with {} for what differs from
	// request to request: "customers/{}/calls". Without it they show the parts of
	// Path that look like words and {} for the others, so it is needed where a
	// part that looks like a word could be somebody's name.
	Template string
}

// A Response is the vendor's answer, read whole.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
	// URL is scheme, host and path of what answered. The query is left out, its
	// values may be secret.
	URL string
}

// Release gives the memory of Body to answers to come, which spares the collector
// most of its work where there are many. Nothing in it may be used after: neither
// Body nor a record of it. It is never needed.
func (r *Response) Release() {
	manners.Reuse(r.Body)
	r.Body = nil
}

func (r Request) method() string { return cmp.Or(r.Method, http.MethodGet) }

func (r Request) op() string {
	path, _, _ := strings.Cut(r.Path, "?")
	return cmp.Or(r.Op, r.method()+" "+path)
}

// repeatable reports whether sending the request twice does no harm.
func (r Request) repeatable() bool {
	return r.ReadOnly || r.method() == http.MethodGet || r.method() == http.MethodHead
}

// RetryAfter reads the header of that name, in seconds or as a date; a date is
// measured against the header's own Date, or the local clock where there is
// none. It is for Classify, as are vendors' own headers of other names.
func RetryAfter(h http.Header) (time.Duration, bool) { return manners.RetryAfter(h, time.Now()) }

// Sleep waits for d or for the end of ctx, whose error it returns then. A connector
// that waits for its vendor by itself waits here: the time counts as waited, and
// while a cassette is replayed there is nobody to wait for.
func Sleep(ctx context.Context, d time.Duration) error {
	return manners.Sleep(ctx, d, tracing.WaitVendor)
}
