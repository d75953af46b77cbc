// Package fospha simulates the Fospha API: the token endpoints as its guide
// documents them, and a GraphQL data API in the place of the one whose address,
// fields and paging are not published.
//
// The one query, performance, and its fields are composed; only the names Query
// and QueryMetadata are the vendor's. What a connector needs to know of it, it
// must take from its settings or from introspection, as with the real one.
package fospha

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/winchdata/winch/internal/sandbox/sim"
)

// Options are the app client's credentials and the unpublished manners of the API.
type Options struct {
	// ClientID and ClientSecret are the app client's credentials. Default
	// "sandbox-fospha-client" and a secret with characters that a form must escape.
	ClientID, ClientSecret string
	// Brands are the fospha_client_ids that the app client may read.
	// Default SANDBOX_BRAND_A and SANDBOX_BRAND_B.
	Brands []string
	// Forbidden are brands that exist, but that the app client may not read.
	Forbidden []string
	// ForbiddenWithOK answers for those with status 200 and errors. Unknown; by
	// default the status is 403, as documented.
	ForbiddenWithOK bool
	// TokenLifetime is the documented hour by default.
	TokenLifetime time.Duration
	// AppNames wants the credentials in the form as app_client_id and
	// app_client_secret. Unknown; by default client_id and client_secret.
	AppNames bool
	// NoIntrospection refuses questions about the schema. Unknown; by default
	// they are answered.
	NoIntrospection bool
	// Paging is offset, page, cursor, token or none. Unknown; offset by default.
	Paging string
	// MaxPage is the largest page; who asks for more gets that much. Unknown;
	// 1000 by default.
	MaxPage int
	// MaxDays is the longest range of days that is answered; a longer one is 413.
	// Unknown; no limit by default.
	MaxDays int
	// ExclusiveTo leaves the day of dateTo out. Unknown; by default it is in.
	ExclusiveTo bool
	// BrandHeader is the header that names the brand in place of the argument
	// clientId. Unknown; by default the argument does.
	BrandHeader string
}

// The ways of Paging.
const (
	pagingOffset = "offset"
	pagingPage   = "page"
	pagingCursor = "cursor"
	pagingToken  = "token"
	pagingNone   = "none"
)

func (o *Options) setDefaults() {
	o.ClientID = cmp.Or(o.ClientID, "sandbox-fospha-client")
	o.ClientSecret = cmp.Or(o.ClientSecret, "sandbox+fospha/secret&=")
	o.Paging = cmp.Or(o.Paging, pagingOffset)
	o.MaxPage = cmp.Or(o.MaxPage, 1000)
	o.TokenLifetime = cmp.Or(o.TokenLifetime, time.Hour)
	if o.Brands == nil {
		o.Brands = []string{"SANDBOX_BRAND_A", "SANDBOX_BRAND_B"}
	}
}

// An API is one simulated app client.
type API struct {
	opts   Options
	world  *sim.World
	seed   uint64
	tokens *sim.Tokens
	schema map[string]typeDef

	mu      sync.Mutex
	regions map[string]string // of tokens
}

// The tags keep the dice of one kind of thing apart from another's.
const (
	tagVendor = iota + 0x666f73706861 // "fospha"
	tagToken
	tagCampaign
	tagDay
	tagRestatement
)

// New returns the app client that the world describes.
func New(world *sim.World, opts Options) *API {
	opts.setDefaults()
	a := &API{opts: opts, world: world, seed: sim.Mix(world.Seed, tagVendor), regions: map[string]string{}}
	a.tokens = sim.NewTokens(sim.Mix(a.seed, tagToken), world.Now)
	a.schema = schemaFor(opts)
	return a
}

// Name is "fospha".
func (a *API) Name() string { return "fospha" }

// Tokens is the bookkeeping of all regions' tokens.
func (a *API) Tokens() *sim.Tokens { return a.tokens }

// IsToken reports whether path is one of the token endpoints.
func (a *API) IsToken(path string) bool { return tokenRegions[path] != "" }

// tokenRegions and dataRegions are the addresses by region: like the vendor's,
// that of the uk has no region in its token URL.
var (
	tokenRegions = map[string]string{"/oauth2/token": "uk", "/us/oauth2/token": "us"}
	dataRegions  = map[string]string{"/uk/graphql": "uk", "/us/graphql": "us"}
)

// Serve answers one request.
func (a *API) Serve(w http.ResponseWriter, r *http.Request, twist sim.Twist) {
	if region := tokenRegions[r.URL.Path]; region != "" {
		a.serveToken(w, r, region, twist)
		return
	}
	region := dataRegions[r.URL.Path]
	switch {
	case region == "":
		http.NotFound(w, r)
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		writeErrors(w, http.StatusMethodNotAllowed, "BAD_REQUEST", "use POST")
	case !a.tokens.Allows(r) || a.regionOf(sim.Bearer(r)) != region:
		a.Fail(w, http.StatusUnauthorized)
	default:
		a.serveGraphQL(w, r, twist)
	}
}

func (a *API) regionOf(token string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.regions[token]
}

// mayRead reports whether the app client may read a brand.
func (a *API) mayRead(brand string) bool {
	return slices.Contains(a.opts.Brands, brand) && !slices.Contains(a.opts.Forbidden, brand)
}

// Description names the credentials, the addresses and one source.
func (a *API) Description(baseURL string) sim.Description {
	var readable []string
	for _, brand := range a.opts.Brands {
		if a.mayRead(brand) {
			readable = append(readable, brand)
		}
	}
	return sim.Description{
		Title: "Fospha",
		Credentials: []sim.Setting{
			{Name: "region", Value: "uk or us"},
			{Name: "client_id", Value: a.opts.ClientID},
			{Name: "client_secret", Value: a.opts.ClientSecret},
			{Name: "token_url", Value: baseURL + "/oauth2/token (uk) or " + baseURL + "/us/oauth2/token"},
			{Name: "data_url", Value: baseURL + "/{region}/graphql"},
			{Name: "fospha_client_ids", Value: strings.Join(readable, ", ")},
		},
		Endpoints: []sim.Endpoint{
			{Method: http.MethodPost, Path: "/oauth2/token", Note: "grant_type=client_credentials, client_id, client_secret, scope=api_data/read; form; uk"},
			{Method: http.MethodPost, Path: "/us/oauth2/token", Note: "the same for us"},
			{Method: http.MethodPost, Path: "/uk/graphql", Note: "GraphQL: performance, introspection"},
			{Method: http.MethodPost, Path: "/us/graphql", Note: "the same for us"},
		},
		Sources: []sim.Source{{
			Name:      "fospha_sandbox",
			Connector: "fospha",
			Config: map[string]any{
				"region":            "uk",
				"client_id":         a.opts.ClientID,
				"client_secret":     a.opts.ClientSecret,
				"token_url":         baseURL + "/oauth2/token",
				"data_url":          baseURL + "/{region}/graphql",
				"fospha_client_ids": readable,
				// A day at a time, so that a short history has whole slices.
				"streams": []any{map[string]any{"name": "performance_daily", "preset": "performance_daily", "slice": "1d"}},
				// The sandbox has no rate limit, so that nobody waits in it.
				"requests_per_second": 1000,
				"concurrency":         8,
			},
		}},
	}
}
