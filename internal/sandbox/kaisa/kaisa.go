// Package kaisa simulates the Kaisa REST API, formerly Freespee, as its help
// centre (support.kaisa.io) and the vendor's published clients describe it:
// OAuth 2 client credentials with tokens of five minutes, HTTP Digest for old
// accounts, and every readable resource of version 2.
//
// What the vendor does not publish is an option here with a stated default; the
// comment says which. Writing is refused with 405, since a pull never writes.
package kaisa

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/winchdata/winch/internal/sandbox/sim"
)

// Options are the account's credentials and the unpublished manners of its API.
type Options struct {
	// ClientID and ClientSecret are the OAuth 2 credentials.
	// Default "sandbox-kaisa-client" and "sandbox-kaisa-secret".
	ClientID, ClientSecret string
	// Tag and Password are the Digest credentials of an old account.
	// Default "sandbox-tag" and "sandbox-password".
	Tag, Password string
	// TokenLifetime is the documented 5 minutes by default.
	TokenLifetime time.Duration
	// Versions are the version segments that are served. Default "2.4.9", which
	// the vendor's clients used, and "3.0.0", which stands for the unpublished
	// segment of v3; both serve the same resources.
	Versions []string
	// ExclusiveTo leaves the second or day of to_date out. Whether the vendor
	// includes it is unknown; by default it is in.
	ExclusiveTo bool
	// UnfilteredSources are the statuses that /sources lists without a status
	// parameter. Unknown; by default only active ones.
	UnfilteredSources []string
	// FixedPageSize ignores pagesize on /customers and /sources. Unknown; by
	// default it is honoured.
	FixedPageSize bool
	// TextMetadata quotes total, page, pagesize and numpages. Unknown; by
	// default they are numbers.
	TextMetadata bool
	// ErrorObjects makes the elements of "errors" objects. Unknown; by default
	// they are texts.
	ErrorObjects bool
	// ErrorsWithOK answers failures with status 200 and an "errors" key. Unknown;
	// by default the status says so too.
	ErrorsWithOK bool
	// OutboundPath is the path of outbound calls. Its spelling is unknown;
	// "statistics/cdrs_out" by default.
	OutboundPath string
	// OutboundKey is the envelope key of outbound calls. Unknown; "cdrs" by default.
	OutboundKey string
	// Forbidden are paths such as "recordings" that the account may not read:
	// 403. None by default.
	Forbidden []string
}

func (o *Options) setDefaults() {
	text := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	text(&o.ClientID, "sandbox-kaisa-client")
	text(&o.ClientSecret, "sandbox-kaisa-secret")
	text(&o.Tag, "sandbox-tag")
	text(&o.Password, "sandbox-password")
	text(&o.OutboundPath, "statistics/cdrs_out")
	text(&o.OutboundKey, "cdrs")
	if o.TokenLifetime == 0 {
		o.TokenLifetime = 5 * time.Minute
	}
	if o.Versions == nil {
		o.Versions = []string{"2.4.9", "3.0.0"}
	}
	if o.UnfilteredSources == nil {
		o.UnfilteredSources = []string{"active"}
	}
}

// An API is one simulated account.
type API struct {
	opts      Options
	world     *sim.World
	seed      uint64
	tokens    *sim.Tokens
	digest    *sim.Digest
	resources map[string]resource

	customers []customer
	sources   []source // of all customers, in the order of their ids
	inbound   *sim.Timeline
	outbound  *sim.Timeline
	pins      *sim.Timeline
}

// The tags keep the dice of one kind of thing apart from another's.
const (
	tagVendor = iota + 0x6b61697361 // "kaisa"
	tagCustomer
	tagSource
	tagInbound
	tagOutbound
	tagPin
	tagUser
	tagCampaign
	tagGreeting
	tagCallback
	tagConfirmation
	tagBlacklist
	tagStatus
	tagCaller
	tagRecording
	tagToken
)

// callsPerCustomer is the inbound calls of an average customer on an average day.
const callsPerCustomer = 12

// New returns the account that the world describes.
func New(world *sim.World, opts Options) *API {
	opts.setDefaults()
	a := &API{opts: opts, world: world, seed: sim.Mix(world.Seed, tagVendor)}
	a.tokens = sim.NewTokens(sim.Mix(a.seed, tagToken), world.Now)
	a.digest = &sim.Digest{
		Realm: "kaisa sandbox", Username: opts.Tag, Password: opts.Password,
		Lifetime: opts.TokenLifetime, Now: world.Now, Seed: a.seed,
	}
	size := float64(world.Size)
	a.inbound = sim.NewTimeline(world, tagInbound, callsPerCustomer*size)
	a.outbound = sim.NewTimeline(world, tagOutbound, callsPerCustomer/3*size)
	a.pins = sim.NewTimeline(world, tagPin, 0.75*size)
	a.makeCustomers()
	a.resources = a.routes()
	return a
}

// Name is "kaisa".
func (a *API) Name() string { return "kaisa" }

// Tokens is the account's token bookkeeping.
func (a *API) Tokens() *sim.Tokens { return a.tokens }

// IsToken reports whether path is the token endpoint.
func (a *API) IsToken(path string) bool { return path == tokenPath }

// Serve answers one request.
func (a *API) Serve(w http.ResponseWriter, r *http.Request, twist sim.Twist) {
	if a.IsToken(r.URL.Path) {
		a.serveToken(w, r, twist)
		return
	}
	version, path, _ := strings.Cut(strings.Trim(r.URL.Path, "/"), "/")
	if !slices.Contains(a.opts.Versions, version) {
		a.fail(w, http.StatusNotFound, "no such version: "+version)
		return
	}
	if !a.authorize(w, r) {
		return
	}
	res, ids, found := a.route(path)
	switch {
	case !found:
		a.fail(w, http.StatusNotFound, "no such resource: "+path)
		return
	case r.Method != http.MethodGet:
		w.Header().Set("Allow", http.MethodGet)
		a.fail(w, http.StatusMethodNotAllowed, "the sandbox only reads")
		return
	case slices.Contains(a.opts.Forbidden, res.path):
		a.fail(w, http.StatusForbidden, "this account may not read "+res.path)
		return
	}
	q := newQuery(r.URL.Query(), ids)
	asOf := a.world.AsOf().Unix()
	ask := &request{query: q, twist: twist, asOf: asOf}
	out := newAnswer()
	defer out.release()
	res.serve(ask, out)
	if q.problem != "" {
		a.fail(w, http.StatusBadRequest, q.problem)
		return
	}
	out.write(w)
}

// Description names the credentials, the resources and one source.
func (a *API) Description(baseURL string) sim.Description {
	version := a.opts.Versions[0]
	d := sim.Description{
		Title: "Kaisa",
		Credentials: []sim.Setting{
			{Name: "client_id", Value: a.opts.ClientID},
			{Name: "client_secret", Value: a.opts.ClientSecret},
			{Name: "token_url", Value: baseURL + tokenPath},
			{Name: "base_url", Value: baseURL},
			{Name: "version", Value: strings.Join(a.opts.Versions, " or ")},
			{Name: "username (Digest)", Value: a.opts.Tag},
			{Name: "password (Digest)", Value: a.opts.Password},
		},
		Endpoints: []sim.Endpoint{{Method: http.MethodPost, Path: tokenPath, Note: "grant_type=client_credentials, client_id, client_secret; JSON or form"}},
		Sources: []sim.Source{{
			Name:      "kaisa_sandbox",
			Connector: "kaisa",
			Config: map[string]any{
				"client_id":     a.opts.ClientID,
				"client_secret": a.opts.ClientSecret,
				"token_url":     baseURL + tokenPath,
				"base_url":      baseURL,
				"version":       version,
				// The sandbox has no rate limit, so that nobody waits in it.
				"requests_per_second": 1000,
				"concurrency":         8,
			},
		}},
	}
	for _, res := range a.resourceList() {
		d.Endpoints = append(d.Endpoints, sim.Endpoint{Method: http.MethodGet, Path: "/" + version + "/" + res.path, Note: res.note})
	}
	return d
}
