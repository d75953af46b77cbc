package kaisa

import (
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/winchdata/winch/internal/sandbox/sim"
)

// tokenPath is the documented path of the vendor's own token host.
const tokenPath = "/oauth2/token"

// serveToken follows RFC 6749 section 4.4 where the vendor's article is silent:
// the names in the answer and the errors are inferred.
func (a *API) serveToken(w http.ResponseWriter, r *http.Request, twist sim.Twist) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		tokenError(w, http.StatusMethodNotAllowed, "invalid_request", "use POST")
		return
	}
	p, err := sim.TokenParams(r)
	switch {
	case err != nil:
		tokenError(w, http.StatusBadRequest, "invalid_request", err.Error())
	case p["grant_type"] == "":
		tokenError(w, http.StatusBadRequest, "invalid_request", "grant_type is missing")
	case p["grant_type"] != "client_credentials":
		tokenError(w, http.StatusBadRequest, "unsupported_grant_type", "use client_credentials")
	case p["client_id"] != a.opts.ClientID || !sim.Equal(p["client_secret"], a.opts.ClientSecret):
		tokenError(w, http.StatusUnauthorized, "invalid_client", "unknown client_id or wrong client_secret")
	default:
		lifetime := a.opts.TokenLifetime
		if twist.TokenLifetime != 0 {
			lifetime = twist.TokenLifetime
		}
		tokenAnswer(w, http.StatusOK, map[string]any{
			"access_token": a.tokens.Issue(lifetime),
			"token_type":   "Bearer",
			"expires_in":   int64(a.opts.TokenLifetime / time.Second),
		})
	}
}

func tokenError(w http.ResponseWriter, status int, code, text string) {
	tokenAnswer(w, status, map[string]any{"error": code, "error_description": text})
}

func tokenAnswer(w http.ResponseWriter, status int, body map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store") // RFC 6749 section 5.1
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client has gone: nobody to tell
}

// authorize lets a living bearer token or a right Digest answer pass, and
// refuses all else.
func (a *API) authorize(w http.ResponseWriter, r *http.Request) bool {
	if a.tokens.Allows(r) {
		return true
	}
	ok, stale := a.digest.Allows(r)
	if !ok {
		a.refuse(w, stale)
	}
	return ok
}

// refuse answers 401 with a body that is no JSON, as the vendor's own client
// test expects.
func (a *API) refuse(w http.ResponseWriter, stale bool) {
	w.Header().Set("WWW-Authenticate", a.digest.Challenge(stale))
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = io.WriteString(w, "Authorization Required\n")
}

// Fail answers with an error of that status.
func (a *API) Fail(w http.ResponseWriter, status int) {
	if status == http.StatusUnauthorized {
		a.refuse(w, false)
		return
	}
	a.writeErrors(w, status, "simulated failure")
}

// fail answers a failed request the way the options say failures look.
func (a *API) fail(w http.ResponseWriter, status int, text string) {
	if a.opts.ErrorsWithOK {
		status = http.StatusOK
	}
	a.writeErrors(w, status, text)
}

// writeErrors writes the top-level "errors" list, in which the vendor's client
// looks for the first element.
func (a *API) writeErrors(w http.ResponseWriter, status int, text string) {
	var element any = text
	if a.opts.ErrorObjects {
		element = map[string]any{"code": status, "message": text}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": []any{element}}) // see tokenAnswer
}
