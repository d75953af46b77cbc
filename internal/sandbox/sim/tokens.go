package sim

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Tokens issues bearer tokens and remembers until when they live. It is safe for
// concurrent use.
type Tokens struct {
	seed uint64
	now  func() time.Time

	mu     sync.Mutex
	issued int64
	live   map[string]time.Time
}

// NewTokens returns tokens that live by the clock now.
func NewTokens(seed uint64, now func() time.Time) *Tokens {
	return &Tokens{seed: seed, now: now, live: map[string]time.Time{}}
}

// Issue returns a new token.
func (t *Tokens) Issue(lifetime time.Duration) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	for token, ends := range t.live {
		if !now.Before(ends) {
			delete(t.live, token)
		}
	}
	dice := Roll(t.seed, uint64(t.issued), 0)
	t.issued++
	token := fmt.Sprintf("sandbox.%016x%016x", dice.Next(), dice.Next())
	t.live[token] = now.Add(lifetime)
	return token
}

// Issued is the number of tokens issued.
func (t *Tokens) Issued() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.issued
}

// Allows reports whether the request carries a bearer token that lives.
func (t *Tokens) Allows(r *http.Request) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	ends, ok := t.live[Bearer(r)]
	return ok && t.now().Before(ends)
}

// Revoke ends the token that the request carries.
func (t *Tokens) Revoke(r *http.Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.live, Bearer(r))
}

// Bearer returns the request's bearer token, or nothing.
func Bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return token
}

// Equal compares secrets in constant time.
func Equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// TokenParams reads the body of a token request, JSON or form as its content
// type says, into its parameters. Numbers keep their JSON spelling.
func TokenParams(r *http.Request) (map[string]string, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return nil, fmt.Errorf("content type: %w", err)
	}
	body := http.MaxBytesReader(nil, r.Body, 64<<10)
	params := map[string]string{}
	switch kind {
	case "application/x-www-form-urlencoded":
		r.Body = body
		if err := r.ParseForm(); err != nil {
			return nil, fmt.Errorf("form: %w", err)
		}
		for name := range r.PostForm {
			params[name] = r.PostForm.Get(name)
		}
	case "application/json":
		dec := json.NewDecoder(body)
		dec.UseNumber()
		var object map[string]any
		if err := dec.Decode(&object); err != nil {
			return nil, fmt.Errorf("json: %w", err)
		}
		if _, err := dec.Token(); !errors.Is(err, io.EOF) {
			return nil, errors.New("json: more than one value")
		}
		for name, v := range object {
			params[name] = fmt.Sprint(v)
		}
	default:
		return nil, fmt.Errorf("content type %s is not one of application/json, application/x-www-form-urlencoded", kind)
	}
	return params, nil
}
