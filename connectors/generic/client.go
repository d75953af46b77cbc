package generic

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/auth"
	"github.com/winchdata/winch/pkg/connector/rest"
)

// A client is the vendor's API under one credential.
type client struct {
	api    *api
	rest   *rest.Client
	tokens *auth.Cache
	gate   *gate
	posts  map[string]bool // paths of the URL to which POST only reads
	base   string          // base URL with the prefix
}

// newClient puts the parts of the token flow together. The client secret goes to
// the token URL's host and the token to the base URL's, and nowhere else.
func newClient(cfg config, a *api) (*client, error) {
	c := &client{api: a, base: withPrefix(cmp.Or(cfg.BaseURL, a.BaseURL), a.PathPrefix), posts: map[string]bool{}}
	root, err := url.Parse(c.base)
	if err != nil {
		return nil, invalid(errors.New("base_url: no address"))
	}
	for _, path := range a.ReadOnlyPost {
		c.posts[root.Path+path] = true
	}
	transport, err := rest.Through(cfg.ProxyURL)
	if err != nil {
		return nil, err
	}
	tokenURL := a.Auth.TokenURL
	if tokenURL == "" {
		tokenURL = c.base + a.Auth.TokenPath
	}
	params := map[string]any{}
	for name, value := range a.Auth.Params {
		params[name] = value
	}
	credentials := auth.ClientCredentials{
		TokenURL:      cmp.Or(cfg.TokenURL, tokenURL),
		ClientID:      cfg.ClientID,
		ClientSecret:  cfg.ClientSecret,
		Encoding:      auth.Encoding(a.Auth.Body),
		IDField:       a.Auth.IDField,
		SecretField:   a.Auth.SecretField,
		Params:        params,
		OmitGrantType: cmp.Or(cfg.GrantType, a.Auth.GrantType) == grantOmit,
		Answer: auth.Answer{
			Token: keysOf(a.Auth.Answer.Token), Type: keysOf(a.Auth.Answer.Type),
			ExpiresIn: keysOf(a.Auth.Answer.ExpiresIn), Scope: keysOf(a.Auth.Answer.Scope),
		},
		DefaultLifetime: duration(a.Auth.DefaultLifetime),
		Transport:       transport,
	}
	if err := credentials.Validate(); err != nil {
		return nil, err
	}
	c.tokens = auth.NewCache(credentials.Fetch, auth.Policy{})
	c.gate = &gate{spec: a.Rate}
	header := http.Header{}
	for name, value := range a.Headers {
		header.Set(name, value)
	}
	c.rest, err = rest.New(rest.Options{
		BaseURL:     c.base,
		Auth:        c,
		Rate:        cfg.rate(a),
		Concurrency: a.Concurrency,
		MaxWait:     longestWait,
		Header:      header,
		Classify:    c.classify,
		Transport:   transport,
	})
	return c, err
}

// withPrefix joins a base URL and a prefix that it may end in already.
func withPrefix(base, prefix string) string {
	base = strings.TrimRight(base, "/")
	if u, err := url.Parse(base); err == nil && prefix != "" && strings.HasSuffix(u.Path, prefix) {
		return base
	}
	return base + prefix
}

// keysOf are the keys of a path that has been checked; nil for none.
func keysOf(path string) []string {
	if path == "" {
		return nil
	}
	keys, _ := parseKeys(path)
	return keys
}

// Authorize signs a request that is about to be sent. It is also the guard that
// lets nothing pass but reads: every request, each retry and each redirect comes
// through here.
func (c *client) Authorize(req *http.Request) error {
	if req.Method != http.MethodGet && (req.Method != http.MethodPost || !c.posts[req.URL.Path]) {
		return &connector.Error{
			Kind: connector.KindConfig,
			Err:  fmt.Errorf("%s %s is not sent: it could change something at the vendor", req.Method, req.URL.Path),
		}
	}
	if err := c.gate.wait(req.Context()); err != nil {
		return err
	}
	return c.tokens.Authorize(req)
}

// Rejected renews the token; see [auth.Cache.Rejected].
func (c *client) Rejected(ctx context.Context, resp *http.Response) (again bool, err error) {
	return c.tokens.Rejected(ctx, resp)
}

// errSkip is the error of a request that a rule says to leave out.
var errSkip = errors.New("the vendor has nothing there")

// classify applies the manifest's rules to an answer that is no success. Where
// none holds, and for renew, the standard reading stands: 401 renews the token
// once.
func (c *client) classify(r *rest.Response) error {
	c.gate.note(r.Status, r.Header)
	if r.Status/100 == 2 || len(c.api.rules) == 0 {
		return nil
	}
	facts := c.api.facts(r)
	for _, rule := range c.api.rules {
		yes, err := holds(rule.when, facts)
		if err != nil {
			return &connector.Error{Kind: connector.KindConfig, Op: "errors.rules", Err: err}
		}
		if yes {
			return c.verdict(rule.then, r, facts)
		}
	}
	return nil
}

// verdict is the error that a rule makes of an answer.
func (c *client) verdict(then string, r *rest.Response, facts errorFacts) error {
	status := fmt.Errorf("%d %s%s", r.Status, http.StatusText(r.Status), facts.words())
	switch then {
	case "renew":
		return nil
	case "skip":
		return &connector.Error{Kind: connector.KindBadResponse, Err: fmt.Errorf("%w: %w", errSkip, status)}
	}
	e := &connector.Error{Kind: connector.ParseKind(then), Err: status}
	switch e.Kind {
	case connector.KindAuth:
		e.Hint = "the vendor says that it is the credentials; check client_id and client_secret"
	case connector.KindRateLimited, connector.KindUnavailable:
		asked, ok := rest.RetryAfter(r.Header)
		if !ok && e.Kind == connector.KindRateLimited {
			asked, _ = c.gate.reset(r.Header)
		}
		e.RetryAfter = asked
	default:
	}
	return e
}

// shortWord is what of an error's text may be shown: codes, never prose, which
// could repeat what was sent (P10).
var shortWord = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

func (f errorFacts) words() string {
	var words []string
	for _, word := range []string{f.Code, f.Reason} {
		if shortWord.MatchString(word) {
			words = append(words, word)
		}
	}
	if len(words) == 0 {
		return ""
	}
	return " (" + strings.Join(words, " ") + ")"
}

// facts reads an error's body by the manifest's paths. A body that is no JSON
// has none.
func (a *api) facts(r *rest.Response) errorFacts {
	facts := errorFacts{Status: r.Status}
	body, err := decodeJSON(r.Body)
	if err != nil {
		return facts
	}
	a.openStrings(&body)
	read := func(paths []route) string {
		for _, path := range paths {
			if text := textOf(first(path[0], body)); text != "" {
				return text
			}
		}
		return ""
	}
	facts.Code, facts.Reason, facts.Message = read(a.code), read(a.reason), read(a.message)
	return facts
}

// openStrings replaces texts that hold JSON, where the manifest says that there
// may be some.
func (a *api) openStrings(body *any) {
	for _, path := range a.jsonInString {
		if len(path[0]) == 0 {
			*body = opened(*body)
			continue
		}
		if value := path[0].First(*body); value != nil {
			if inner := opened(value); !same(inner, value) {
				_ = path[0].SetOne(*body, inner) // it was found, so it can be set
			}
		}
	}
}

func same(a, b any) bool {
	_, isText := a.(string)
	_, wasText := b.(string)
	return isText == wasText
}

// longestWait is the longest that a request waits for the rate limit here; a
// longer wait is the agent's.
const longestWait = 2 * time.Minute

// A gate holds requests back after the vendor has said that none are left, until
// the moment at which it said there will be more. It complements the rate
// windows, which know nothing of what others send with the same credentials.
type gate struct {
	spec rateSpec

	mu    sync.Mutex
	until time.Time
}

// note reads the rate headers of an answer.
func (g *gate) note(status int, h http.Header) {
	if g.spec.Remaining == "" {
		return
	}
	left, err := strconv.Atoi(strings.TrimSpace(h.Get(g.spec.Remaining)))
	if status != http.StatusTooManyRequests && (err != nil || left > 0) {
		return
	}
	wait, ok := g.reset(h)
	if !ok {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if until := time.Now().Add(wait); until.After(g.until) {
		g.until = until
	}
}

// reset returns how long after the answer the vendor grants more. A moment is
// measured against the answer's own Date, so that a clock that is off does no
// harm; one that has passed, or lies more than a day ahead, tells nothing.
func (g *gate) reset(h http.Header) (time.Duration, bool) {
	if g.spec.Reset == "" {
		return 0, false
	}
	seconds, err := strconv.ParseInt(strings.TrimSpace(h.Get(g.spec.Reset)), 10, 64)
	if err != nil || seconds < 0 || seconds > 1<<40 {
		return 0, false
	}
	wait := time.Duration(min(seconds, 1<<30)) * time.Second
	if g.spec.ResetFormat != "seconds" {
		now := time.Now()
		if date, err := http.ParseTime(h.Get("Date")); err == nil {
			now = date
		}
		wait = time.Unix(seconds, 0).Sub(now)
	}
	return wait, wait > 0 && wait <= 24*time.Hour
}

// wait returns when requests may go on, or with an error of KindRateLimited if
// that is too far ahead to wait for.
func (g *gate) wait(ctx context.Context) error {
	g.mu.Lock()
	wait := time.Until(g.until)
	g.mu.Unlock()
	if wait <= 0 {
		return ctx.Err()
	}
	if wait > longestWait {
		return &connector.Error{
			Kind: connector.KindRateLimited, RetryAfter: wait,
			Err: fmt.Errorf("the vendor says that no requests are left for %s", wait.Round(time.Second)),
		}
	}
	return rest.Sleep(ctx, wait)
}
