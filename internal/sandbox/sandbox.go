// Package sandbox simulates the vendors' APIs over real HTTP: token endpoints
// with tokens that end, paging, restated facts, rows that vanish, and faults that
// can be switched on while it runs. People and authors of connectors try things
// against it without credentials, and tests compute from its seed what must have
// landed.
//
// A [Sandbox] is an http.Handler. Each vendor is below its name, /kaisa/, and is
// a package of its own on the parts in package sim. Beside them are:
//
//	/                   a page for people: endpoints, credentials, faults
//	/_sandbox/config    sources for a configuration file (?vendor=kaisa)
//	/_sandbox/clock     the simulated now: GET, or POST {"as_of":...} or {"advance":"24h"}
//	/_sandbox/faults    GET, POST a [Fault], DELETE all or ?id=1
//	/_sandbox/stats     requests by path and status, tokens, faults; DELETE resets
//
// Facts of a vendor come from its documentation. What is not published is an
// option of that vendor, with a stated default.
package sandbox

import (
	"fmt"
	"iter"
	"net/http"
	"strings"
	"time"

	"github.com/winchdata/winch/internal/sandbox/contentsquare"
	"github.com/winchdata/winch/internal/sandbox/fospha"
	"github.com/winchdata/winch/internal/sandbox/fuuffy"
	"github.com/winchdata/winch/internal/sandbox/kaisa"
	"github.com/winchdata/winch/internal/sandbox/sim"
)

// Options say what is simulated. The zero value is a small, complete world.
type Options struct {
	// Seed chooses the world. The same seed, size, volume and moment give the
	// same bytes. Default 1.
	Seed uint64
	// Size is the number of customers; everything else is derived from it. At
	// least 1; from 7 on some vanish and some appear as the simulated now moves
	// on. Default 24.
	Size int
	// Volume multiplies the events per day, of which a customer has about a dozen
	// calls. Nothing is held, so 10000 costs no more memory than 1. Default 1.
	Volume float64
	// Days is the length of the history before AsOf. Default 90.
	Days int
	// AsOf is the simulated now, at which data ends. Default: now, cut to the hour.
	AsOf time.Time
	// Now is the real clock, by which tokens end. Default time.Now.
	Now func() time.Time
	// TokenLifetime, if not zero, is the lifetime of every vendor's tokens in
	// place of the documented one.
	TokenLifetime time.Duration
	// Kaisa are the options of that vendor.
	Kaisa kaisa.Options
	// Fospha are the options of that vendor.
	Fospha fospha.Options
	// Contentsquare are the options of that vendor.
	Contentsquare contentsquare.Options
	// Fuuffy are the options of that vendor.
	Fuuffy fuuffy.Options
	// Faults are switched on from the start.
	Faults []Fault
}

func (o Options) withDefaults() Options {
	if o.Seed == 0 {
		o.Seed = 1
	}
	if o.Size == 0 {
		o.Size = 24
	}
	if o.Volume == 0 {
		o.Volume = 1
	}
	if o.Days == 0 {
		o.Days = 90
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.AsOf.IsZero() {
		o.AsOf = o.Now().Truncate(time.Hour)
	}
	if o.Fuuffy.TokenLifetime == 0 {
		o.Fuuffy.TokenLifetime = o.TokenLifetime
	}
	if o.Kaisa.TokenLifetime == 0 {
		o.Kaisa.TokenLifetime = o.TokenLifetime
	}
	if o.Fospha.TokenLifetime == 0 {
		o.Fospha.TokenLifetime = o.TokenLifetime
	}
	if o.Contentsquare.TokenLifetime == 0 {
		o.Contentsquare.TokenLifetime = o.TokenLifetime
	}
	return o
}

// Validate says which option is out of bounds.
func (o Options) Validate() error {
	o = o.withDefaults()
	for _, f := range o.Faults {
		if err := f.Validate(); err != nil {
			return err
		}
	}
	switch {
	case o.Size < 1 || o.Size > maxSize:
		return fmt.Errorf("sandbox: size %d: want 1 to %d", o.Size, maxSize)
	case o.Days < 1 || o.Days > maxDays:
		return fmt.Errorf("sandbox: days %d: want 1 to %d", o.Days, maxDays)
	case o.Volume < 0 || o.Volume*float64(o.Size) > maxEvents:
		return fmt.Errorf("sandbox: volume %g: want at most %d divided by the size", o.Volume, maxEvents)
	case o.AsOf.Before(earliest):
		return fmt.Errorf("sandbox: as of %s: want %s or later", o.AsOf.Format(time.RFC3339), earliest.Format(time.DateOnly))
	}
	return nil
}

const (
	// maxSize bounds what is held: about 5 kB for each customer.
	maxSize = 100_000
	maxDays = 3660
	// maxEvents bounds size times volume, so that the events of an hour can be
	// numbered with 20 bits.
	maxEvents = 500_000
)

// earliest leaves room for a whole history of events whose ids count from 2020.
var earliest = time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC)

// A Sandbox is a running simulation. It is safe for concurrent use.
type Sandbox struct {
	world         *sim.World
	kaisa         *kaisa.API
	fospha        *fospha.API
	fuuffy        *fuuffy.API
	contentsquare *contentsquare.API
	apis          []sim.API
	faults        *faultBox
	counts        *counter
	mux           *http.ServeMux
}

// New returns a sandbox. Options that Validate refuses make it panic.
func New(o Options) *Sandbox {
	o = o.withDefaults()
	if err := o.Validate(); err != nil {
		panic(err)
	}
	origin := o.AsOf.UTC().Truncate(time.Second)
	begin := origin.AddDate(0, 0, -o.Days).Truncate(24 * time.Hour)
	if first := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC); begin.Before(first) {
		begin = first
	}
	world := &sim.World{Seed: o.Seed, Size: o.Size, Volume: o.Volume, Origin: origin, Begin: begin, Now: o.Now}
	world.SetAsOf(origin)
	s := &Sandbox{
		world:         world,
		kaisa:         kaisa.New(world, o.Kaisa),
		fospha:        fospha.New(world, o.Fospha),
		fuuffy:        fuuffy.New(world, o.Fuuffy),
		contentsquare: contentsquare.New(world, o.Contentsquare),
		faults:        newFaultBox(o.Seed),
		counts:        newCounter(),
		mux:           http.NewServeMux(),
	}
	s.apis = []sim.API{s.kaisa, s.fospha, s.contentsquare, s.fuuffy}
	for _, f := range o.Faults {
		s.faults.add(f.withDefaults())
	}
	for _, api := range s.apis {
		s.mount(api)
	}
	s.mountControl()
	return s
}

// ServeHTTP answers for all vendors.
func (s *Sandbox) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// AsOf is the simulated now.
func (s *Sandbox) AsOf() time.Time { return s.world.AsOf() }

// SetAsOf moves the simulated now, forwards or back: facts are restated, rows
// appear and vanish. It can go to twenty years after the start.
func (s *Sandbox) SetAsOf(t time.Time) error {
	if last := s.world.Origin.AddDate(20, 0, 0); t.Before(s.world.Begin) || t.After(last) {
		return fmt.Errorf("sandbox: as of %s: want a moment from %s to %s",
			t.UTC().Format(time.RFC3339), s.world.Begin.Format(time.RFC3339), last.Format(time.RFC3339))
	}
	s.world.SetAsOf(t)
	return nil
}

// Begin is the midnight at which the history begins.
func (s *Sandbox) Begin() time.Time { return s.world.Begin }

// KaisaTruth yields the records that must land for a stream of Kaisa; see
// [kaisa.API.Truth].
func (s *Sandbox) KaisaTruth(stream string, since, until time.Time) iter.Seq[map[string]any] {
	return s.kaisa.Truth(stream, since, until)
}

// FosphaTruth yields the records that must land for a stream of Fospha; see
// [fospha.API.Truth].
func (s *Sandbox) FosphaTruth(stream string, since, until time.Time) iter.Seq[map[string]any] {
	return s.fospha.Truth(stream, since, until)
}

// ContentsquareTruth yields the records that must land for a stream of
// Contentsquare; see [contentsquare.API.Truth].
func (s *Sandbox) ContentsquareTruth(stream string, since, until time.Time) iter.Seq[map[string]any] {
	return s.contentsquare.Truth(stream, since, until)
}

// FuuffyTruth yields the records that must land for a stream of Fuuffy; see
// [fuuffy.API.Truth].
func (s *Sandbox) FuuffyTruth(stream string, since, until time.Time) iter.Seq[map[string]any] {
	return s.fuuffy.Truth(stream, since, until)
}

// FuuffyViolations are the requests that would have changed something at Fuuffy.
func (s *Sandbox) FuuffyViolations() []string { return s.fuuffy.Violations() }

// A Source is an entry under "sources:" of a configuration file.
type Source = sim.Source

// Sources are configured accounts of all vendors, for a sandbox that is reached
// at baseURL: "http://127.0.0.1:8080".
func (s *Sandbox) Sources(baseURL string) []Source {
	var all []Source
	for _, api := range s.apis {
		all = append(all, api.Description(mountURL(baseURL, api)).Sources...)
	}
	return all
}

func mountURL(baseURL string, api sim.API) string {
	return strings.TrimRight(baseURL, "/") + "/" + api.Name()
}

// mount puts a vendor at its place, behind its faults and counts.
func (s *Sandbox) mount(api sim.API) {
	place := "/" + api.Name()
	s.mux.Handle(place+"/", http.StripPrefix(place, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		counted := s.counts.begin(w, place+r.URL.Path)
		// A fault may end the request with a panic that net/http takes for an
		// aborted answer.
		defer counted.end()
		f, struck := s.faults.strike(api, place, r)
		if !struck {
			api.Serve(counted, r, sim.Twist{})
			return
		}
		counted.struck(f.Kind)
		f.serve(api, counted, r, s.world.Now())
	})))
}
