package fospha

import (
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"time"

	"github.com/winchdata/winch/internal/sandbox/sim"
)

// scope is the one published scope.
const scope = "api_data/read"

// serveToken answers as the guide has it: a form with grant_type and scope, and
// 400 for wrong credentials. The bodies are those of RFC 6749, which is inferred.
func (a *API) serveToken(w http.ResponseWriter, r *http.Request, region string, twist sim.Twist) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		tokenAnswer(w, http.StatusMethodNotAllowed, map[string]any{"error": "invalid_request"})
		return
	}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/x-www-form-urlencoded" {
		tokenAnswer(w, http.StatusBadRequest, map[string]any{"error": "invalid_request"})
		return
	}
	p, err := sim.TokenParams(r)
	switch {
	case err != nil, p["grant_type"] == "", p["scope"] == "":
		tokenAnswer(w, http.StatusBadRequest, map[string]any{"error": "invalid_request"})
	case p["grant_type"] != "client_credentials":
		tokenAnswer(w, http.StatusBadRequest, map[string]any{"error": "unsupported_grant_type"})
	case p["scope"] != scope:
		tokenAnswer(w, http.StatusBadRequest, map[string]any{"error": "invalid_scope"})
	case !a.known(r, p):
		tokenAnswer(w, http.StatusBadRequest, map[string]any{"error": "invalid_client"})
	default:
		lifetime := a.opts.TokenLifetime
		if twist.TokenLifetime != 0 {
			lifetime = twist.TokenLifetime
		}
		token := a.tokens.Issue(lifetime)
		a.mu.Lock()
		a.regions[token] = region
		a.mu.Unlock()
		tokenAnswer(w, http.StatusOK, map[string]any{
			"access_token": token,
			"token_type":   "Bearer",
			"expires_in":   int64(a.opts.TokenLifetime / time.Second),
		})
	}
}

// known reports whether the request carries the app client's credentials, in the
// form or as HTTP Basic.
func (a *API) known(r *http.Request, p map[string]string) bool {
	idName, secretName := "client_id", "client_secret"
	if a.opts.AppNames {
		idName, secretName = "app_client_id", "app_client_secret"
	}
	id, secret := p[idName], p[secretName]
	if user, password, ok := r.BasicAuth(); ok { // form-encoded first, RFC 6749 section 2.3.1
		id, _ = url.QueryUnescape(user)
		secret, _ = url.QueryUnescape(password)
	}
	return id == a.opts.ClientID && sim.Equal(secret, a.opts.ClientSecret)
}

func tokenAnswer(w http.ResponseWriter, status int, body map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store") // RFC 6749 section 5.1
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client has gone: nobody to tell
}

// Fail answers with an error of that status. Status 200 has the errors that
// GraphQL servers dress as a success.
func (a *API) Fail(w http.ResponseWriter, status int) {
	code, message := "INTERNAL_SERVER_ERROR", "simulated failure"
	switch status {
	case http.StatusUnauthorized:
		code, message = "UNAUTHENTICATED", "the token is missing, expired or invalid"
	case http.StatusTooManyRequests:
		code, message = "TOO_MANY_REQUESTS", "too many requests"
	}
	writeErrors(w, status, code, message)
}

// writeErrors writes a failure as GraphQL has it: data null and errors.
func writeErrors(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{ // the client has gone: nobody to tell
		"data":   nil,
		"errors": []any{map[string]any{"message": message, "extensions": map[string]any{"code": code}}},
	})
}
