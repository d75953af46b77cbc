package auth

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/winchdata/winch/internal/jsonscan"
	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/internal/manners"
)

// An Answer says where in a token endpoint's JSON answer the fields are, each as
// object keys from the outside in. Where a path leads into a string, the JSON
// that the string holds is read.
type Answer struct {
	// Token is required; empty means access_token.
	Token []string
	// Type is the scheme of the Authorization header; empty means token_type. An
	// answer without it means Bearer.
	Type []string
	// ExpiresIn is the lifetime in seconds, a number or a string that holds one;
	// empty means expires_in.
	ExpiresIn []string
	// Scope is what was granted; empty means scope.
	Scope []string
	// BaseURL is where requests go; empty means that the answer has none. With a
	// path, an answer without it is an error.
	BaseURL []string
}

// fallbackLifetime is believed of a token whose answer names none and whose
// vendor documents none. Too short costs a request, too long a 401.
const fallbackLifetime = 5 * time.Minute

// read reads the body of a 2xx answer to a request that was sent at that moment.
// Its errors show none of the body.
func (c ClientCredentials) read(body []byte, sent time.Time) (connector.Token, error) {
	if err := jsonscan.Valid(body); err != nil {
		if len(body) == 0 {
			return connector.Token{}, errors.New("the answer is empty")
		}
		return connector.Token{}, fmt.Errorf("the answer is not JSON: %w", err)
	}
	a := c.Answer
	path := orDefault(a.Token, "access_token")
	value := text(body, path)
	if value == "" {
		return connector.Token{}, fmt.Errorf("the answer has no token at %s", strings.Join(path, "."))
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return connector.Token{}, errors.New("the token has characters that no header can carry")
	}
	scheme := cmp.Or(text(body, orDefault(a.Type, "token_type")), "Bearer")
	if strings.EqualFold(scheme, "Bearer") {
		scheme = "Bearer" // some vendors answer "bearer" and then refuse it
	}
	if len(scheme) > 32 || strings.ContainsFunc(scheme, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ',' }) {
		return connector.Token{}, fmt.Errorf("the answer's %s is no authorization scheme", strings.Join(orDefault(a.Type, "token_type"), "."))
	}
	lifetime := cmp.Or(c.DefaultLifetime, fallbackLifetime)
	if answered, ok := manners.Seconds(strings.TrimSpace(text(body, orDefault(a.ExpiresIn, "expires_in")))); ok && answered > 0 {
		lifetime = answered
	}
	token := connector.Token{
		Value:     connector.NewSecret(value),
		Type:      scheme,
		ExpiresAt: sent.Add(lifetime),
		Scope:     text(body, orDefault(a.Scope, "scope")),
	}
	if len(a.BaseURL) > 0 {
		base, err := c.checkBaseURL(text(body, a.BaseURL))
		if err != nil {
			return connector.Token{}, fmt.Errorf("the answer's base URL at %s: %w", strings.Join(a.BaseURL, "."), err)
		}
		token.BaseURL = base
	}
	return token, nil
}

func orDefault(path []string, name string) []string {
	if len(path) > 0 {
		return path
	}
	return []string{name}
}

// text returns the string or number at a path as text, or "".
func text(b []byte, path []string) string {
	for _, key := range path {
		if inner := unquoted(b); inner != nil {
			b = inner
		}
		value, ok, err := jsonscan.Lookup(b, key)
		if err != nil || !ok {
			return ""
		}
		b = value
	}
	if inner := unquoted(b); inner != nil {
		return string(inner)
	}
	if c := b[0]; c == '-' || (c >= '0' && c <= '9') {
		return string(b)
	}
	return ""
}

// unquoted returns what the JSON string b spells, or nil if b is none.
func unquoted(b []byte) []byte {
	if len(b) == 0 || b[0] != '"' {
		return nil
	}
	s, err := jsonscan.Unquote(make([]byte, 0, len(b)), b)
	if err != nil {
		return nil
	}
	return s
}
