package auth

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/winchdata/winch/internal/tracing"
	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/cassette"
	"github.com/winchdata/winch/pkg/connector/internal/manners"
)

const (
	fetchAttempts = 3
	fetchTimeout  = 30 * time.Second // of one attempt
	fetchBackoff  = 2 * time.Second  // the longest wait of our own between attempts
	fetchPatience = 10 * time.Second // the longest wait that the vendor may ask for
	answerLimit   = 1 << 20          // bytes of an answer
	fetchOp       = "fetch token"
)

// A failure is a token request that brought no token.
type failure struct {
	err   *connector.Error
	retry bool          // asking again may help
	wait  time.Duration // what the vendor asked for before that; may be zero
}

// Fetch asks for a token. The endpoint's considered refusals are final: KindAuth
// for bad credentials, KindConfig where the request itself is wrong. Transport
// errors, 408, 425, 429 and 5xx are tried three times within seconds, then
// KindUnavailable or KindRateLimited. Errors hold neither the secret nor the
// answer's body, only the short error fields of it.
func (c ClientCredentials) Fetch(ctx context.Context) (connector.Token, error) {
	if err := c.Validate(); err != nil {
		return connector.Token{}, err
	}
	for attempt := 1; ; attempt++ {
		token, failed := c.traced(ctx, attempt)
		if failed == nil {
			connector.RecordUsage(ctx, connector.Usage{TokensFetched: 1})
			return token, nil
		}
		if ctx.Err() != nil {
			return connector.Token{}, manners.Cancelled(ctx, fetchOp)
		}
		if !failed.retry || failed.wait > fetchPatience || attempt == fetchAttempts {
			return connector.Token{}, failed.err
		}
		reason := tracing.WaitBackoff
		if failed.wait > 0 {
			reason = tracing.WaitRetryAfter
		}
		if manners.Sleep(ctx, max(failed.wait, manners.Backoff(attempt, fetchBackoff)), reason) != nil {
			return connector.Token{}, manners.Cancelled(ctx, fetchOp)
		}
	}
}

// traced is exchange with a span as the semantic conventions for HTTP clients
// want it: nothing of the request or the answer but where it went and the status.
func (c ClientCredentials) traced(ctx context.Context, attempt int) (connector.Token, *failure) {
	start := time.Now()
	defer func() { connector.RecordUsage(ctx, connector.Usage{FetchingTokens: time.Since(start)}) }()
	ctx, span := tracing.StartCall(ctx, http.MethodPost, semconv.HTTPRequestMethodPost)
	if u, err := url.Parse(c.TokenURL); err == nil {
		span.SetAttributes(semconv.URLScheme(u.Scheme), semconv.ServerAddress(u.Hostname()))
		if port, err := strconv.Atoi(u.Port()); err == nil {
			span.SetAttributes(semconv.ServerPort(port))
		}
	}
	if attempt > 1 {
		span.SetAttributes(semconv.HTTPRequestResendCount(attempt - 1))
	}
	token, failed := c.exchange(ctx)
	if failed != nil {
		tracing.End(span, failed.err)
		return token, failed
	}
	span.End()
	return token, nil
}

// exchange makes one token request.
func (c ClientCredentials) exchange(ctx context.Context) (connector.Token, *failure) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := c.request(ctx)
	if err != nil {
		return connector.Token{}, &failure{err: &connector.Error{Kind: connector.KindConfig, Op: fetchOp, Err: err}}
	}
	transport := c.Transport
	if transport == nil {
		transport = manners.Transport()
	}
	sent := time.Now()
	// Follows no redirect: the secret goes nowhere else.
	resp, err := cassette.Transport(transport).RoundTrip(req) //nolint:bodyclose // manners.ReadBody closes it
	if err != nil {
		return connector.Token{}, c.lost(req, err)
	}
	resp.Request = req
	trace.SpanFromContext(ctx).SetAttributes(semconv.HTTPResponseStatusCode(resp.StatusCode))
	body, err := manners.ReadBody(ctx, resp, answerLimit)
	switch {
	case err != nil && manners.Unreadable(err):
		return connector.Token{}, &failure{err: badAnswer(err)}
	case err != nil:
		return connector.Token{}, c.lost(req, err)
	case resp.StatusCode/100 != 2:
		return connector.Token{}, c.refused(resp, body)
	}
	token, err := c.read(body, sent)
	if err != nil {
		if manners.HTML(resp.Header, body) {
			err = errors.New("got an HTML page instead of JSON")
		}
		return connector.Token{}, &failure{err: badAnswer(c.withMessage(err, body))}
	}
	return token, nil
}

// request builds a token request.
func (c ClientCredentials) request(ctx context.Context) (*http.Request, error) {
	params := map[string]any{}
	for name, value := range c.Params {
		if secret, ok := value.(connector.Secret); ok {
			value = secret.Reveal()
		}
		params[name] = value
	}
	if !c.OmitGrantType {
		params["grant_type"] = "client_credentials"
	}
	if c.Encoding != Basic {
		params[cmp.Or(c.IDField, "client_id")] = c.ClientID
		params[cmp.Or(c.SecretField, "client_secret")] = c.ClientSecret.Reveal()
	}
	body, contentType, err := c.encode(params)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(cassette.ForToken(ctx), http.MethodPost, c.TokenURL, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("token_url is not a valid URL")
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Accept-Encoding", manners.AcceptEncoding)
	req.Header.Set("User-Agent", manners.UserAgent)
	if c.Encoding == Basic {
		req.Header.Set("Authorization", "Basic "+c.basic())
	}
	return req, nil
}

// basic returns the credentials as HTTP Basic has them, form-encoded before as
// RFC 6749 section 2.3.1 wants it.
func (c ClientCredentials) basic() string {
	pair := url.QueryEscape(c.ClientID) + ":" + url.QueryEscape(c.ClientSecret.Reveal())
	return base64.StdEncoding.EncodeToString([]byte(pair))
}

func (c ClientCredentials) encode(params map[string]any) (body []byte, contentType string, err error) {
	if c.Encoding == Form || c.Encoding == Basic {
		form := url.Values{}
		for name, value := range params {
			form.Set(name, fmt.Sprint(value))
		}
		return []byte(form.Encode()), "application/x-www-form-urlencoded", nil
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false) // "&" in a secret stays readable to parsers that do not unescape
	if err := enc.Encode(params); err != nil {
		return nil, "", errors.New("a parameter of the token request cannot be written as JSON") // the cause may print values
	}
	return bytes.TrimSpace(text.Bytes()), "application/json", nil
}

// lost is the failure of a request that got no whole answer.
func (c ClientCredentials) lost(req *http.Request, cause error) *failure {
	err, retry := manners.Unreachable(cause, req.URL.Host, c.secrets()...)
	err.Op = fetchOp
	return &failure{err: err, retry: retry}
}

// refused reads an answer whose status is not 2xx.
func (c ClientCredentials) refused(resp *http.Response, body []byte) *failure {
	host := resp.Request.URL.Host
	fail := func(kind connector.Kind, hint string) *failure {
		err := c.withMessage(fmt.Errorf("%s from %s", manners.Status(resp.StatusCode), host), body)
		return &failure{err: &connector.Error{Kind: kind, Op: fetchOp, Err: err, Hint: hint}}
	}
	const credentials = "check client_id and client_secret, and that they are for this token_url"
	switch code := resp.StatusCode; {
	case code == http.StatusTooManyRequests:
		f := fail(connector.KindRateLimited, "the token endpoint limits how often tokens are fetched")
		f.retry = true
		f.wait, _ = manners.RetryAfter(resp.Header, time.Now())
		f.err.RetryAfter = f.wait
		return f
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly, code >= 500:
		f := fail(connector.KindUnavailable, "")
		f.retry = true
		f.wait, _ = manners.RetryAfter(resp.Header, time.Now())
		f.err.RetryAfter = f.wait
		return f
	case code/100 == 3:
		return fail(connector.KindConfig, "is token_url right? it answers with a redirect, which a request with a secret does not follow")
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return fail(connector.KindAuth, credentials)
	case code == http.StatusBadRequest:
		switch manners.ErrorCode(body) { // RFC 6749 section 5.2
		case "invalid_scope":
			return fail(connector.KindConfig, "check the scope")
		case "invalid_request", "unsupported_grant_type":
			return fail(connector.KindConfig, "the endpoint wants other parameters or another encoding; check client_id and client_secret too")
		}
		return fail(connector.KindAuth, credentials)
	}
	return fail(connector.KindConfig, "is token_url right?")
}

func badAnswer(err error) *connector.Error {
	return &connector.Error{Kind: connector.KindBadResponse, Op: fetchOp, Err: err, Hint: "is token_url right?"}
}

// withMessage adds what the endpoint says in the short error fields of body.
func (c ClientCredentials) withMessage(err error, body []byte) error {
	if message := manners.Message(body, c.secrets()...); message != "" {
		return fmt.Errorf("%w (%s)", err, message)
	}
	return err
}

// secrets are what no error may show.
func (c ClientCredentials) secrets() []string {
	secrets := []string{c.ClientSecret.Reveal(), c.ClientID, c.basic()}
	for _, value := range c.Params {
		if secret, ok := value.(connector.Secret); ok {
			secrets = append(secrets, secret.Reveal())
		}
	}
	return secrets
}
