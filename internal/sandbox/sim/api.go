package sim

import (
	"net/http"
	"sync/atomic"
	"time"
)

// An API is one simulated vendor.
type API interface {
	// Name is the connector's name and the vendor's place in the URL: /kaisa/.
	Name() string
	// Serve answers one request, whose path starts behind the vendor's place.
	Serve(w http.ResponseWriter, r *http.Request, twist Twist)
	// Fail answers with an error in the vendor's own shape. Status 200 asks for
	// an error that the vendor dresses as a success.
	Fail(w http.ResponseWriter, status int)
	// IsToken reports whether the path, as for Serve, is the token endpoint.
	IsToken(path string) bool
	// Tokens is the vendor's token bookkeeping.
	Tokens() *Tokens
	// Description tells people and programs how to use the API at baseURL,
	// which ends behind the vendor's place and has no slash at its end.
	Description(baseURL string) Description
}

// A Mover is an API whose base URL comes with the token.
type Mover interface {
	// Move makes it another one for the tokens that are issued from now on. Each
	// token is good at the base URL that came with it alone.
	Move()
}

// A Twist is a fault that only the vendor itself can show. The zero value is
// honest service.
type Twist struct {
	// RepeatPage answers every page number with the first page.
	RepeatPage bool
	// EndlessPages never admits that a page is the last.
	EndlessPages bool
	// TokenLifetime, if not zero, is how long a token really lives, while the
	// answer still promises the usual life.
	TokenLifetime time.Duration
}

// A Description says what a simulated vendor offers.
type Description struct {
	Title       string
	Credentials []Setting
	Endpoints   []Endpoint
	// Sources are configured accounts, ready for a configuration file.
	Sources []Source
}

// A Setting is a name and its value, in an order that people like to read.
type Setting struct{ Name, Value string }

// An Endpoint is a path below the vendor's base URL and what it answers.
type Endpoint struct{ Method, Path, Note string }

// A Source is an entry under "sources:" of a configuration file.
type Source struct {
	Name      string         `json:"name"`
	Connector string         `json:"connector"`
	Config    map[string]any `json:"config"`
	// Streams are those that the configuration makes beside the connector's own.
	Streams []string `json:"streams,omitempty"`
}

// A World is what all vendors of one sandbox describe. Its exported fields do
// not change.
type World struct {
	Seed uint64
	// Size is the number of customers; vendors derive everything else from it.
	Size int
	// Volume multiplies the number of events per day.
	Volume float64
	// Origin is the simulated now at the start. What is to vanish, appear or
	// change does so some days after it.
	Origin time.Time
	// Begin is the midnight at which the history begins.
	Begin time.Time
	// Now is the real clock, by which tokens end.
	Now func() time.Time

	asOf atomic.Int64 // Unix seconds
}

// AsOf is the simulated now, to the second, in UTC: later facts do not exist yet.
func (w *World) AsOf() time.Time { return time.Unix(w.asOf.Load(), 0).UTC() }

// SetAsOf moves the simulated now.
func (w *World) SetAsOf(t time.Time) { w.asOf.Store(t.Unix()) }
