// Package contentsquare simulates the Contentsquare Metrics and Data Export APIs
// as docs.contentsquare.com describes them: OAuth 2 client credentials by JSON
// with scopes and one token per project, the base URL that comes with the token,
// object and metric endpoints, and export jobs with gzipped files that expire.
//
// What the vendor does not publish is an option here with a stated default, or
// says in its comment that it is a stand-in. Writing is refused with 405.
package contentsquare

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/winchdata/winch/internal/sandbox/sim"
)

// Options are the credentials and the unpublished manners of the API.
type Options struct {
	// ClientID and ClientSecret are account-level credentials.
	// Default "sandbox-cs-account" and "sandbox;cs-Secret".
	ClientID, ClientSecret string
	// ProjectClientID and ProjectClientSecret are credentials of the first
	// project alone. Default "sandbox-cs-project" and "sandbox;cs-Project".
	ProjectClientID, ProjectClientSecret string
	// Scopes are what the credentials may ask for. Default metrics and
	// data-export.
	Scopes []string
	// TokenLifetime is one hour by default, as a published sample shows.
	TokenLifetime time.Duration
	// Retention is how many days of metrics are kept. It depends on the
	// contract; 396 by default.
	Retention int
	// HeavyDays, if not zero, answers 502 to daily ranges of more days.
	HeavyDays int
	// NoZoning404 answers 404 for a page group without zonings. Unknown; by
	// default the list is empty.
	NoZoning404 bool
	// InclusiveEnd gives a daily range the day that begins at its endDate, too.
	// Unknown; not by default.
	InclusiveEnd bool
	// NestedFields writes dotted fields of JSONL as objects. Unknown; by default
	// their names are flat.
	NestedFields bool
	// MaxLimit is the largest page of a list of the export API. Unknown; 50 by
	// default.
	MaxLimit int
	// Refused are projects, counted from 0, that oauth/me lists and for which no
	// token is granted. None by default.
	Refused []int
}

func (o *Options) setDefaults() {
	text := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	text(&o.ClientID, "sandbox-cs-account")
	text(&o.ClientSecret, "sandbox;cs-Secret")
	text(&o.ProjectClientID, "sandbox-cs-project")
	text(&o.ProjectClientSecret, "sandbox;cs-Project")
	if o.Scopes == nil {
		o.Scopes = []string{"metrics", "data-export"}
	}
	if o.TokenLifetime == 0 {
		o.TokenLifetime = time.Hour
	}
	if o.Retention == 0 {
		o.Retention = 396
	}
	if o.MaxLimit == 0 {
		o.MaxLimit = 50
	}
}

// An API is one simulated account with its projects.
type API struct {
	opts     Options
	world    *sim.World
	seed     uint64
	tokens   *sim.Tokens
	grants   grants
	moves    atomic.Int64
	projects []*project
}

// The tags keep the dice of one kind of thing apart from another's.
const (
	tagVendor = iota + 0x63737100
	tagToken
	tagValue
	tagRun
	tagRow
	tagSignature
)

// New returns the account that the world describes.
func New(world *sim.World, opts Options) *API {
	opts.setDefaults()
	a := &API{opts: opts, world: world, seed: sim.Mix(world.Seed, tagVendor)}
	a.tokens = sim.NewTokens(sim.Mix(a.seed, tagToken), world.Now)
	a.makeProjects()
	return a
}

// Name is "contentsquare".
func (a *API) Name() string { return "contentsquare" }

// Tokens is the account's token bookkeeping.
func (a *API) Tokens() *sim.Tokens { return a.tokens }

const (
	tokenPath = "/v1/oauth/token"
	mePath    = "/v1/oauth/me"
	// cloudPrefix and the number after it are the part of the base URL that only
	// the token answer tells: a client that builds it from the token URL, or keeps
	// that of an older token, gets nowhere.
	cloudPrefix = "/cloud-"
	filesPath   = "/files/"
)

// IsToken reports whether path is the token endpoint.
func (a *API) IsToken(path string) bool { return path == tokenPath }

// A request is what an endpoint is asked.
type request struct {
	*http.Request
	project *project
	scope   string
	// ids are the numbers of the path, in order.
	ids   []int64
	twist sim.Twist
	asOf  time.Time
}

// A failure is an answer that is none.
type failure struct {
	status        int
	code, message string
}

func refuse(status int, code, format string, args ...any) *failure {
	return &failure{status, code, fmt.Sprintf(format, args...)}
}

// An endpoint answers with the payload of the envelope.
type endpoint struct {
	path  string // {} is an id
	scope string
	note  string
	serve func(*request) (payload any, f *failure)
}

func (a *API) endpoints() []endpoint {
	const dates = "projectId, startDate, endDate, device, period, segmentIds, goalId"
	return []endpoint{
		{"v1/segments", "metrics", "projectId, ids", a.serveSegments},
		{"v1/goals", "metrics", "projectId", a.serveGoals},
		{"v1/mappings", "metrics", "projectId, ids", a.serveMappings},
		{"v1/mappings/{}/page-groups", "metrics", "projectId", a.servePageGroups},
		{"v1/page-groups/{}/zonings", "metrics", "projectId", a.serveZonings},
		{"v1/zonings/{}/zones", "metrics", "projectId", a.serveZones},
		{"v1/metrics/site", "metrics", dates, a.serveSite},
		{"v1/metrics/page-group/{}", "metrics", dates, a.servePageGroup},
		{"v1/metrics/page-group/{}/web-vitals", "metrics", dates + ", metricType, quantile", a.serveWebVitals},
		{"v1/metrics/zone/{}", "metrics", dates, a.serveZone},
		{"v1/exports", "data-export", "page, limit", a.serveJobs},
		{"v1/exports/{}/runs", "data-export", "page, limit, order", a.serveRuns},
		{"v1/exports/{}/runs/{}", "data-export", "the run with its files", a.serveRun},
		{"v1/exportable-fields", "data-export", "scope", a.serveFields},
		{"v1/custom-vars", "data-export", "no parameters", a.serveCustomVars},
		{"v1/dynamic-var-keys", "data-export", "from, to", a.serveDynamicVars},
	}
}

// Move gives the tokens that are issued from now on another base URL.
func (a *API) Move() { a.moves.Add(1) }

// Serve answers one request.
func (a *API) Serve(w http.ResponseWriter, r *http.Request, twist sim.Twist) {
	path := r.URL.Path
	switch {
	case a.IsToken(path):
		a.serveToken(w, r, twist)
		return
	case path == mePath:
		a.serveMe(w, r)
		return
	case strings.HasPrefix(path, filesPath):
		a.serveFile(w, r)
		return
	case !strings.HasPrefix(path, cloudPrefix):
		writeFailure(w, refuse(http.StatusNotFound, "NOT_FOUND", "no such path: the base URL comes with the token"))
		return
	}
	granted, f := a.authorize(r)
	if f != nil {
		writeFailure(w, f)
		return
	}
	rest, here := strings.CutPrefix(path, granted.cloud+"/")
	e, ids, found := a.route(rest)
	switch {
	case !here:
		f = refuse(http.StatusNotFound, "NOT_FOUND", "no such path: the base URL comes with the token")
	case !found:
		f = refuse(http.StatusNotFound, "NOT_FOUND", "no such resource")
	case r.Method != http.MethodGet:
		f = refuse(http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED", "the sandbox only reads")
	case !slices.Contains(granted.scopes, e.scope):
		f = refuse(http.StatusForbidden, "FORBIDDEN", "the token has not the scope %s", e.scope)
	case !granted.project.is(r.URL.Query().Get("projectId")):
		f = refuse(http.StatusForbidden, "FORBIDDEN", "the token is of another project")
	}
	var payload any
	if f == nil {
		payload, f = e.serve(&request{
			Request: r, project: granted.project, scope: e.scope, ids: ids, twist: twist, asOf: a.world.AsOf(),
		})
	}
	if f != nil {
		writeFailure(w, f)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"payload": payload, "success": true})
}

// route finds the endpoint of a path and the ids in it.
func (a *API) route(path string) (e endpoint, ids []int64, found bool) {
	parts := strings.Split(path, "/")
next:
	for _, e := range a.endpoints() {
		names := strings.Split(e.path, "/")
		if len(names) != len(parts) {
			continue
		}
		ids = nil
		for i, name := range names {
			if name != "{}" {
				if name != parts[i] {
					continue next
				}
				continue
			}
			id, err := strconv.ParseInt(parts[i], 10, 64)
			if err != nil {
				continue next
			}
			ids = append(ids, id)
		}
		return e, ids, true
	}
	return endpoint{}, nil, false
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client has gone: nobody to tell
}

// writeFailure writes the documented envelope of an error. A 502 comes from what
// stands before the API and has no JSON, which is inferred.
func writeFailure(w http.ResponseWriter, f *failure) {
	if f.status == http.StatusBadGateway {
		http.Error(w, "Bad Gateway", f.status)
		return
	}
	writeJSON(w, f.status, map[string]any{"success": false, "errorMessage": f.message, "errorCode": f.code})
}

// Fail answers with an error of that status. The codes but JWT_EXPIRED are
// stand-ins: the vendor publishes no others.
func (a *API) Fail(w http.ResponseWriter, status int) {
	f := refuse(status, "SIMULATED", "simulated failure")
	if status == http.StatusUnauthorized {
		f = expired()
	}
	writeFailure(w, f)
}

// Description names the credentials, the endpoints and one source.
func (a *API) Description(baseURL string) sim.Description {
	d := sim.Description{
		Title: "Contentsquare",
		Credentials: []sim.Setting{
			{Name: "client_id (account)", Value: a.opts.ClientID},
			{Name: "client_secret (account)", Value: a.opts.ClientSecret},
			{Name: "client_id (project)", Value: a.opts.ProjectClientID},
			{Name: "client_secret (project)", Value: a.opts.ProjectClientSecret},
			{Name: "token_url", Value: baseURL + tokenPath},
		},
		Endpoints: []sim.Endpoint{
			{Method: http.MethodPost, Path: tokenPath, Note: "client_id, client_secret, grant_type=client_credentials, scope, project_id; JSON"},
			{Method: http.MethodPost, Path: mePath, Note: "client_id, client_secret; JSON"},
		},
	}
	first := a.projects[0]
	d.Sources = []sim.Source{{
		Name:      "contentsquare_sandbox",
		Connector: "contentsquare",
		Config: map[string]any{
			"credentials":   "account",
			"client_id":     a.opts.ClientID,
			"client_secret": a.opts.ClientSecret,
			"token_url":     baseURL + tokenPath,
			"concurrency":   8,
			"exports": []map[string]any{
				{"project": first.ID, "job": first.jobs[0].id, "stream": SessionsExport, "scope": "sessions", "key": []string{"user_id", "session_id"}},
				{"project": first.ID, "job": first.jobs[1].id, "stream": ViewsExport, "scope": "views"},
			},
		},
		Streams: []string{SessionsExport, ViewsExport},
	}}
	for _, e := range a.endpoints() {
		d.Endpoints = append(d.Endpoints, sim.Endpoint{Method: http.MethodGet, Path: cloudPrefix + "1/" + e.path, Note: e.note})
	}
	return d
}

// SessionsExport and ViewsExport are the streams of the source's export jobs.
const (
	SessionsExport = "export_sessions"
	ViewsExport    = "export_views"
)
