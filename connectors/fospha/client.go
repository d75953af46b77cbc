package fospha

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/auth"
	"github.com/winchdata/winch/pkg/connector/rest"
)

// tokenLifetime is the documented life of a token (OAuth2 Client Credentials
// Flow), for answers of the token endpoint that do not say it.
const tokenLifetime = time.Hour

// A client is the vendor's API under one app client.
type client struct {
	rest     *rest.Client
	tokens   *auth.Cache
	url      string
	clientID string
	secret   connector.Secret
	partial  bool // answers with errors beside data are kept
	// last is the token that was sent last, to keep it out of errors.
	last atomic.Pointer[connector.Secret]
}

// newClient puts the parts of the token flow together. The client secret goes to
// the token URL's host and the token to the data URL's, and nowhere else.
func newClient(cfg config) (*client, error) {
	encoding := auth.Form
	if cfg.TokenAuthStyle == styleBasic {
		encoding = auth.Basic
	}
	transport, err := rest.Through(cfg.ProxyURL)
	if err != nil {
		return nil, err
	}
	credentials := auth.ClientCredentials{
		TokenURL:        cfg.TokenURL,
		ClientID:        cfg.ClientID,
		ClientSecret:    cfg.ClientSecret,
		Encoding:        encoding,
		IDField:         cfg.TokenParamNames.ClientID,
		SecretField:     cfg.TokenParamNames.ClientSecret,
		Params:          map[string]any{"scope": cfg.Scope},
		DefaultLifetime: tokenLifetime,
		Transport:       transport,
	}
	if err := credentials.Validate(); err != nil {
		return nil, err
	}
	c := &client{
		tokens: auth.NewCache(credentials.Fetch, auth.Policy{}),
		url:    cfg.dataURL(), clientID: cfg.ClientID, secret: cfg.ClientSecret,
		partial: cfg.PartialData == partialKeep,
	}
	var rate []rest.Window
	if cfg.RequestsPerSecond > 0 {
		rate = []rest.Window{{Requests: cfg.RequestsPerSecond, Per: time.Second}}
	}
	c.rest, err = rest.New(rest.Options{
		BaseURL:     c.url,
		Auth:        signer{c},
		Rate:        rate,
		Concurrency: cfg.Concurrency,
		Classify:    c.classify,
		Header:      http.Header{"Content-Type": {"application/json"}},
		Transport:   transport,
	})
	return c, err
}

// token returns a token that is good now, with the URL it is meant for.
func (c *client) token(ctx context.Context) (connector.Token, error) {
	token, err := c.tokens.Token(ctx)
	token.BaseURL = c.url
	return token, err
}

// A signer signs requests as its client's token cache does, and notes what it
// signed with.
type signer struct{ *client }

func (s signer) Authorize(req *http.Request) error {
	if err := s.tokens.Authorize(req); err != nil {
		return err
	}
	_, value, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	token := connector.NewSecret(value)
	s.last.Store(&token)
	if used, ok := req.Context().Value(usedKey{}).(*connector.Secret); ok {
		*used = token
	}
	return nil
}

func (s signer) Rejected(ctx context.Context, resp *http.Response) (again bool, err error) {
	return s.tokens.Rejected(ctx, resp)
}

// usedKey is the context key of the token that a request was signed with, which
// is renewed where the refusal comes as status 200.
type usedKey struct{}

// A question is one GraphQL request.
type question struct {
	op        string
	query     string
	operation string
	variables map[string]any
	header    http.Header
	// once sends the question a single time: a failure that a smaller question
	// may avoid is a *tooMuchError then, instead of being tried again.
	once bool
	// read is that of rest.Request; may be nil.
	read func(*rest.Response) error
}

// A tooMuchError is the failure of a question that was sent once: asking for less
// may succeed where asking again would not.
type tooMuchError struct{ err error }

func (e *tooMuchError) Error() string { return e.err.Error() }
func (e *tooMuchError) Unwrap() error { return e.err }

// ask sends a question and returns the answer, whose status is 2xx and which has
// no errors, or only such as partial_data allows. A token that is refused in the
// answer is renewed once, as after a 401.
func (c *client) ask(ctx context.Context, q question) (*rest.Response, error) {
	body, err := q.body()
	if err != nil {
		return nil, &connector.Error{Kind: connector.KindConfig, Op: q.op, Err: err}
	}
	request := rest.Request{Method: http.MethodPost, Header: q.header, Body: body, ReadOnly: !q.once, Op: q.op, Read: q.read}
	for renewed := false; ; {
		var used connector.Secret
		resp, err := c.rest.Do(context.WithValue(ctx, usedKey{}, &used), request)
		if err == nil {
			return resp, nil
		}
		var said *refusal
		refused := errors.As(err, &said)
		switch {
		case ctx.Err() != nil:
			return nil, err
		case refused && said.meaning.renew() && !renewed:
			if _, err := c.tokens.Renew(ctx, connector.Token{Value: used}); err != nil {
				return nil, &connector.Error{Op: q.op, Err: err}
			}
			renewed = true
		case q.once && connector.KindOf(err) == connector.KindRateLimited && !request.ReadOnly:
			request.ReadOnly = true // the client waits as long as the vendor asked, then goes on
		case q.once && c.tooMuch(err, said):
			return nil, &tooMuchError{err}
		case refused && said.meaning == meansOther:
			return nil, &connector.Error{Err: fmt.Errorf("%w (query %s)", err, q.hash())}
		default:
			return nil, c.support(err, q)
		}
	}
}

// tooMuch reports whether a failure may come from the size of what was asked for:
// the vendor says so, the answer is too large to read, or none came, in time or at
// all.
func (c *client) tooMuch(err error, said *refusal) bool {
	if said != nil {
		return said.meaning == meansTooMuch
	}
	var tooLarge *rest.TooLargeError
	return errors.As(err, &tooLarge) || connector.KindOf(err) == connector.KindUnavailable
}

// support adds to a refused permission what Fospha wants to see in a ticket
// (OAuth2 Client Credentials Flow: support): all but the time, which the log has.
func (c *client) support(err error, q question) error {
	if connector.KindOf(err) != connector.KindForbidden {
		return err
	}
	brand := cmp.Or(q.brand(), "of the brand")
	return &connector.Error{
		Kind: connector.KindForbidden, Err: err,
		Hint: fmt.Sprintf("ask Fospha support (servicedesk.fospha.com) to review the brand's data access, with app_client_id %s, fospha_client_id %s, POST %s, this error and its time",
			c.clientID, brand, c.url),
	}
}

// body is the request as GraphQL over HTTP has it. Its errors show no values.
func (q question) body() ([]byte, error) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	err := enc.Encode(struct {
		Query     string         `json:"query"`
		Operation string         `json:"operationName,omitempty"`
		Variables map[string]any `json:"variables,omitempty"`
	}{q.query, q.operation, q.variables})
	if err != nil {
		return nil, errors.New("the variables cannot be written as JSON")
	}
	return bytes.TrimSpace(body.Bytes()), nil
}

// hash names a query in errors without showing it: the first digits of its
// SHA-256.
func (q question) hash() string {
	sum := sha256.Sum256([]byte(q.query))
	return hex.EncodeToString(sum[:6])
}

// brand is the fospha_client_id that the question's op names in brackets.
func (q question) brand() string {
	_, rest, _ := strings.Cut(q.op, "[")
	name, _, _ := strings.Cut(rest, "]")
	return name
}
