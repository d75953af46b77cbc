package contentsquare

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/winchdata/winch/internal/sandbox/sim"
)

// A grant is what a token is good for.
type grant struct {
	project *project
	scopes  []string
	ends    time.Time
	cloud   string // the part of the base URL that came with the token
}

// grants remembers the grants of tokens.
type grants struct {
	mu  sync.Mutex
	all map[string]grant
}

func (g *grants) put(token string, one grant, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.all == nil {
		g.all = map[string]grant{}
	}
	for token, old := range g.all {
		if now.After(old.ends) {
			delete(g.all, token)
		}
	}
	g.all[token] = one
}

func (g *grants) get(token string) (grant, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	one, ok := g.all[token]
	return one, ok
}

// credentials returns the projects that a pair is for, and whether it is of the
// account; none for a pair that is wrong.
func (a *API) credentials(params map[string]string) (projects []*project, account bool) {
	switch id, secret := params["client_id"], params["client_secret"]; {
	case id == a.opts.ClientID && sim.Equal(secret, a.opts.ClientSecret):
		return a.projects, true
	case id == a.opts.ProjectClientID && sim.Equal(secret, a.opts.ProjectClientSecret):
		return a.projects[:1], false
	}
	return nil, false
}

// jsonParams reads the JSON body of a POST; the errors are those of RFC 6749,
// which a public sample tool reads.
func jsonParams(w http.ResponseWriter, r *http.Request) (params map[string]string, ok bool) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		oauthError(w, http.StatusMethodNotAllowed, "invalid_request", "use POST")
		return nil, false
	}
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		oauthError(w, http.StatusBadRequest, "invalid_request", "want application/json")
		return nil, false
	}
	params, err := sim.TokenParams(r)
	if err != nil {
		oauthError(w, http.StatusBadRequest, "invalid_request", err.Error())
		return nil, false
	}
	return params, true
}

func oauthError(w http.ResponseWriter, status int, code, text string) {
	writeJSON(w, status, map[string]any{"error": code, "error_description": text})
}

func (a *API) serveToken(w http.ResponseWriter, r *http.Request, twist sim.Twist) {
	p, ok := jsonParams(w, r)
	if !ok {
		return
	}
	projects, account := a.credentials(p)
	scopes := strings.Fields(p["scope"])
	chosen := 0
	if account {
		chosen = slices.IndexFunc(projects, func(one *project) bool { return p["project_id"] != "" && one.is(p["project_id"]) })
	}
	switch {
	case p["grant_type"] != "client_credentials":
		oauthError(w, http.StatusBadRequest, "unsupported_grant_type", "use client_credentials")
	case projects == nil:
		oauthError(w, http.StatusUnauthorized, "invalid_client", "unknown client_id or wrong client_secret")
	case len(scopes) == 0:
		oauthError(w, http.StatusBadRequest, "invalid_scope", "scope is missing")
	case len(scopes) > 1 && slices.Contains(scopes, "enrichment"):
		oauthError(w, http.StatusBadRequest, "invalid_scope", "enrichment must be alone")
	case slices.ContainsFunc(scopes, func(s string) bool { return !slices.Contains(a.opts.Scopes, s) }):
		oauthError(w, http.StatusBadRequest, "invalid_scope", "the credentials have not all of these scopes")
	case account && p["project_id"] == "":
		oauthError(w, http.StatusBadRequest, "invalid_request", "account credentials need project_id")
	case chosen < 0 || slices.Contains(a.opts.Refused, chosen):
		oauthError(w, http.StatusUnauthorized, "access_denied", "the credentials may not read this project")
	default:
		lifetime := a.opts.TokenLifetime
		if twist.TokenLifetime != 0 {
			lifetime = twist.TokenLifetime
		}
		token := a.tokens.Issue(lifetime)
		now := a.world.Now()
		// Kept for longer than the token lives, to tell an old token from none.
		cloud := fmt.Sprintf("%s%d", cloudPrefix, a.moves.Load()+1)
		a.grants.put(token, grant{projects[chosen], scopes, now.Add(lifetime + time.Hour), cloud}, now)
		writeJSON(w, http.StatusOK, map[string]any{
			"access_token": token,
			"token_type":   "Bearer",
			"expires_in":   int64(a.opts.TokenLifetime / time.Second),
			"scope":        strings.Join(scopes, " "),
			"project_id":   projects[chosen].ID,
			"endpoint":     a.address(r) + cloud,
		})
	}
}

// address is the base of the vendor as the client reached it.
func (a *API) address(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + r.Host + "/" + a.Name()
}

// serveMe lists the projects of a pair; no more of the answer is known.
func (a *API) serveMe(w http.ResponseWriter, r *http.Request) {
	p, ok := jsonParams(w, r)
	if !ok {
		return
	}
	projects, _ := a.credentials(p)
	if projects == nil {
		oauthError(w, http.StatusUnauthorized, "invalid_client", "unknown client_id or wrong client_secret")
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"permissions": map[string]any{"projects": projects}})
}

func expired() *failure {
	return refuse(http.StatusUnauthorized, "JWT_EXPIRED", "Auth token is expired.")
}

// authorize returns what the request's token is good for. The code for a token
// that never was is a stand-in.
func (a *API) authorize(r *http.Request) (grant, *failure) {
	granted, known := a.grants.get(sim.Bearer(r))
	switch {
	case !known:
		return grant{}, refuse(http.StatusUnauthorized, "UNAUTHORIZED", "no valid token")
	case !a.tokens.Allows(r):
		return grant{}, expired()
	}
	return granted, nil
}

// is reports whether text names the project; nothing names any.
func (p *project) is(text string) bool { return text == "" || text == strconv.FormatInt(p.ID, 10) }
