package fuuffy

import (
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/winchdata/winch/internal/sandbox/sim"
)

// A country has states, which have cities. Names are invented, apart from the
// countries' own.
type country struct {
	Code   string  `json:"code"`
	Name   string  `json:"name"`
	States []state `json:"states"`
}

type state struct {
	Name   string `json:"name"`
	Cities []city `json:"cities"`
}

type city struct {
	Name string `json:"name"`
}

// countries are all that the sandbox knows: with states and cities, with a state
// without cities, and without states.
var countries = []country{
	{"HK", "Hong Kong", []state{
		{"Example Island", []city{{"North Sample"}, {"South Sample"}, {"示例灣"}}},
		{"Example Peninsula", []city{{"Harbourside"}, {"North Sample"}}},
		{"Outlying Examples", []city{}},
	}},
	{"SG", "Singapore", []state{}},
	{"GB", "United Kingdom", []state{
		{"Nether Ashbyshire", []city{{"Harrowmere"}, {"Little Wexcombe"}}},
	}},
}

// serveCountry answers with a country by code or name.
func (a *API) serveCountry(w http.ResponseWriter, r *http.Request) {
	asked := r.URL.Query().Get("country")
	i := slices.IndexFunc(countries, func(c country) bool {
		return strings.EqualFold(c.Code, asked) || strings.EqualFold(c.Name, asked)
	})
	if i < 0 {
		a.fail(w, http.StatusBadRequest, "400000", "BAD_REQUEST", "Missing or invalid parameters")
		return
	}
	answer(w, http.StatusOK, map[string]any{"data": map[string]any{"message": "success", "countries": countries[i : i+1]}})
}

// Streams are the names that Truth knows.
var Streams = []string{"orders", "order_details", "country_divisions"}

// Truth yields the records that must land for a stream, as of the simulated now
// at the call, with values as [sim.Fields] describes them; decimals are text and
// flags "Y" or "N".
//
// orders and order_details are those created in [since, until), where a zero time
// is no bound; order_details has order_status where the vendor says status. A
// country without states and a state without cities are one record with empty
// texts in country_divisions, whose columns are code, country, state and city.
//
// An unknown stream is a programmer's error and panics.
func (a *API) Truth(stream string, since, until time.Time) iter.Seq[map[string]any] {
	if !slices.Contains(Streams, stream) {
		panic(fmt.Sprintf("sandbox: fuuffy has no stream %q", stream))
	}
	asOf := a.world.AsOf().Unix()
	return func(yield func(map[string]any) bool) {
		if stream == "country_divisions" {
			divisions(yield)
			return
		}
		var f sim.Fields
		f.Land()
		from, to := a.orders.Clip(since, until, asOf)
		for o := range a.between(from, to) {
			o.write(&f, "order_status", asOf)
			if stream == "order_details" {
				o.writeParties(&f)
			}
			if !yield(f.Take()) {
				return
			}
		}
	}
}

func divisions(yield func(map[string]any) bool) {
	for _, c := range countries {
		states := c.States
		if len(states) == 0 {
			states = []state{{}}
		}
		for _, s := range states {
			cities := s.Cities
			if len(cities) == 0 {
				cities = []city{{}}
			}
			for _, t := range cities {
				if !yield(map[string]any{"code": c.Code, "country": c.Name, "state": s.Name, "city": t.Name}) {
					return
				}
			}
		}
	}
}
