package auth

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"

	"github.com/icholy/digest"

	"github.com/winchdata/winch/pkg/connector"
)

// A Digest signs requests with HTTP Digest (RFC 7616). It is a rest.Authorizer:
// the first request is sent unsigned, and the challenge of its 401 serves the
// following ones until the vendor sends another. It is safe for concurrent use.
type Digest struct {
	username string
	password connector.Secret

	mu        sync.Mutex
	challenge *digest.Challenge
	count     int // how many requests have answered the challenge
}

// NewDigest returns a Digest for one account.
func NewDigest(username string, password connector.Secret) *Digest {
	return &Digest{username: username, password: password}
}

// Authorize signs req if a challenge is known.
func (d *Digest) Authorize(req *http.Request) error {
	d.mu.Lock()
	challenge := d.challenge
	if challenge == nil {
		d.mu.Unlock()
		return nil
	}
	d.count++ // each use of a nonce needs a number of its own
	count := d.count
	d.mu.Unlock()

	answer, err := digest.Digest(challenge, digest.Options{
		Method: req.Method, URI: req.URL.RequestURI(), GetBody: req.GetBody, Count: count,
		Username: d.username, Password: d.password.Reveal(),
	})
	if err != nil {
		return &connector.Error{Kind: connector.KindAuth, Op: "sign request", Err: err}
	}
	req.Header.Set("Authorization", answer.String())
	return nil
}

// Rejected takes the challenge from resp. It reports that the request is worth
// sending again unless resp.Request answered the current challenge already, in
// which case user name or password are wrong.
func (d *Digest) Rejected(_ context.Context, resp *http.Response) (again bool, err error) {
	challenge, err := digest.FindChallenge(resp.Header)
	if err != nil {
		return false, &connector.Error{
			Kind: connector.KindAuth, Op: "sign request", Err: errors.New("the 401 carries no Digest challenge that can be answered"),
			Hint: "this account may need OAuth2 credentials, or base_url may point elsewhere",
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	signed := resp.Request.Header.Get("Authorization")
	if signed == "" && d.challenge != nil {
		return true, nil // another request brought the challenge meanwhile
	}
	if signed != "" && !challenge.Stale && strings.Contains(signed, `nonce="`+challenge.Nonce+`"`) {
		return false, nil
	}
	d.challenge, d.count = challenge, 0
	return true, nil
}
