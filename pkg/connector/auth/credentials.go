package auth

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/internal/manners"
)

// An Encoding says how a token request carries the credentials.
type Encoding string

// The encodings.
const (
	// JSON sends everything as a JSON object.
	JSON Encoding = "json"
	// Form sends everything as application/x-www-form-urlencoded.
	Form Encoding = "form"
	// Basic sends id and secret as HTTP Basic, form-encoded first as RFC 6749
	// section 2.3.1 says, and the rest as a form.
	Basic Encoding = "basic"
)

// ClientCredentials is the OAuth 2.0 client credentials grant (RFC 6749 section
// 4.4) with the liberties that vendors take.
type ClientCredentials struct {
	// TokenURL is where tokens are fetched: https, or http on a loopback host.
	TokenURL string
	ClientID string
	// ClientSecret is sent to TokenURL's host and nowhere else: redirects are
	// not followed.
	ClientSecret connector.Secret
	// Encoding of the request; empty means JSON.
	Encoding Encoding
	// IDField and SecretField name the parameters of the credentials; empty means
	// client_id and client_secret.
	IDField, SecretField string
	// Params are sent besides: "scope", "project_id", "audience". In JSON they
	// keep their type, in a form they are text. A connector.Secret is sent as its
	// value and kept out of errors.
	Params map[string]any
	// OmitGrantType leaves grant_type=client_credentials out.
	OmitGrantType bool
	// Answer says where the fields of the answer are.
	Answer Answer
	// DefaultLifetime is the vendor's documented lifetime, used when the answer
	// has none; zero means five minutes.
	DefaultLifetime time.Duration
	// CheckBaseURL says whether the base URL of an answer may be used; it is asked
	// at each renewal. A nil func allows the token URL's own host alone. Https is
	// demanded in any case, and a loopback host is refused, except where the
	// token URL itself is loopback.
	CheckBaseURL func(*url.URL) error
	// Transport sends the requests; nil means a shared one with sane limits, see
	// also rest.Through.
	Transport http.RoundTripper
}

// Validate reports, without using the network, everything that is wrong with the
// settings: an error of KindConfig.
func (c ClientCredentials) Validate() error {
	var errs []error
	if _, err := manners.ParseURL(c.TokenURL); err != nil {
		errs = append(errs, fmt.Errorf("token_url: %w", err))
	}
	if c.ClientID == "" {
		errs = append(errs, errors.New("client_id is empty"))
	}
	if c.ClientSecret.IsZero() {
		errs = append(errs, errors.New("client_secret is empty"))
	}
	switch c.Encoding {
	case "", JSON, Form, Basic:
	default:
		errs = append(errs, fmt.Errorf("encoding %q: want json, form or basic", c.Encoding))
	}
	if len(errs) == 0 {
		return nil
	}
	return &connector.Error{Kind: connector.KindConfig, Op: "token settings", Err: oneLine(errs)}
}

// oneLine joins errors with semicolons, since an error is one line.
func oneLine(errs []error) error {
	texts := make([]string, len(errs))
	for i, err := range errs {
		texts[i] = err.Error()
	}
	return errors.New(strings.Join(texts, "; "))
}

// HostsUnder returns a check for ClientCredentials.CheckBaseURL: it allows https
// on the domains and their subdomains, and loopback hosts, which
// ClientCredentials allows only where the token URL itself is loopback.
func HostsUnder(domains ...string) func(*url.URL) error {
	return func(u *url.URL) error {
		if manners.Loopback(u.Hostname()) || manners.Under(u, domains) {
			return nil
		}
		return fmt.Errorf("want https and a host under %s", strings.Join(domains, " or "))
	}
}

// checkBaseURL returns the base URL of an answer in the form in which it is used.
func (c ClientCredentials) checkBaseURL(text string) (string, error) {
	base, err := manners.ParseURL(text)
	if err != nil {
		return "", err
	}
	token, err := manners.ParseURL(c.TokenURL)
	if err != nil {
		return "", err
	}
	if base.RawQuery != "" || base.Fragment != "" {
		return "", errors.New("the URL has a query or a fragment")
	}
	if manners.Loopback(base.Hostname()) && !manners.Loopback(token.Hostname()) {
		return "", fmt.Errorf("%s is this machine, the token comes from %s", base.Host, token.Host)
	}
	check := c.CheckBaseURL
	if check == nil {
		check = func(u *url.URL) error {
			if manners.Host(u) != manners.Host(token) {
				return fmt.Errorf("want the token URL's own host %s", token.Host)
			}
			return nil
		}
	}
	if err := check(base); err != nil {
		return "", fmt.Errorf("host %s: %w", base.Host, err)
	}
	return base.String(), nil
}
