package sandbox

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/winchdata/winch/internal/sandbox/sim"
)

// A FaultKind names one way to go wrong.
type FaultKind string

// The faults.
const (
	FaultUnauthorized FaultKind = "unauthorized"       // 401, and the token that was sent is revoked
	FaultRateSeconds  FaultKind = "rate_limit_seconds" // 429 with Retry-After in seconds
	FaultRateDate     FaultKind = "rate_limit_date"    // 429 with Retry-After as an HTTP date
	FaultRateSilent   FaultKind = "rate_limit_silent"  // 429 without Retry-After
	FaultServerError  FaultKind = "server_error"       // 500
	FaultUnavailable  FaultKind = "unavailable"        // 503
	FaultErrorsWithOK FaultKind = "errors_with_ok"     // 200 with an error inside
	FaultHTML         FaultKind = "html"               // 200 with a page of a proxy
	FaultTruncated    FaultKind = "truncated"          // half the body in a whole answer
	FaultCutOff       FaultKind = "cut_off"            // half the body, then the connection ends
	FaultReset        FaultKind = "reset"              // no answer; Go's client repeats a GET by itself if it had used the connection before
	FaultSlow         FaultKind = "slow"               // the body comes in drips over Delay
	FaultHugeBody     FaultKind = "huge_body"          // Bytes of white space before the body
	FaultRepeatedPage FaultKind = "repeated_page"      // every page is the first
	FaultEndlessPages FaultKind = "endless_pages"      // no page is the last
	FaultShortTokens  FaultKind = "short_tokens"       // tokens die after Delay, sooner than promised
	FaultMovedBase    FaultKind = "moved_base_url"     // 401, the token is revoked, and the next one names another base URL where the vendor names one
)

type kindText struct {
	Kind FaultKind `json:"kind"`
	Does string    `json:"does"`
}

// faultKinds are all faults with what they do, for people.
var faultKinds = []kindText{
	{FaultUnauthorized, "401; the token that was sent is revoked"},
	{FaultRateSeconds, "429 with Retry-After in seconds (delay)"},
	{FaultRateDate, "429 with Retry-After as a date (delay)"},
	{FaultRateSilent, "429 without Retry-After"},
	{FaultServerError, "500"},
	{FaultUnavailable, "503"},
	{FaultErrorsWithOK, "200 with an error inside"},
	{FaultHTML, "200 with an HTML page"},
	{FaultTruncated, "half the body as if it were whole"},
	{FaultCutOff, "half the body, then the connection ends"},
	{FaultReset, "the connection is reset without an answer"},
	{FaultSlow, "the body in drips (delay, for the whole)"},
	{FaultHugeBody, "white space before the body (bytes)"},
	{FaultRepeatedPage, "every page is the first one"},
	{FaultEndlessPages, "no page is the last one"},
	{FaultShortTokens, "tokens die sooner than promised (delay)"},
	{FaultMovedBase, "401, and the next token names another base URL, if it names one"},
}

// FaultKinds are all kinds of faults.
func FaultKinds() []FaultKind {
	var all []FaultKind
	for _, k := range faultKinds {
		all = append(all, k.Kind)
	}
	return all
}

// A Fault is switched on for the requests that it matches.
type Fault struct {
	Kind FaultKind
	// Path must occur in the request's path: "/statistics/cdrs", "/kaisa/". The
	// empty Path matches everything but token endpoints, which a fault must name,
	// such as "/oauth2/token". FaultShortTokens matches token endpoints anyway.
	Path string
	// Probability is the share of matching requests that are struck, by the seed.
	// Default 1.
	Probability float64
	// After is how many matching requests pass before the first can be struck:
	// for a fault in the middle of a paged read.
	After int
	// Count is how many requests are struck before the fault is spent. Zero is
	// no bound.
	Count int
	// Delay is for FaultRateSeconds and FaultRateDate what they ask to wait (1 s),
	// for FaultSlow how long the body takes (5 s), for FaultShortTokens how long
	// a token lives (2 s). Defaults in brackets.
	Delay time.Duration
	// Bytes is the size of FaultHugeBody. Default 80 MiB.
	Bytes int64
}

// A FaultState is a fault that is switched on and what it has done.
type FaultState struct {
	ID int
	Fault
	Matched int
	Struck  int
}

// Validate says what is wrong with a fault.
func (f Fault) Validate() error {
	if !slices.ContainsFunc(faultKinds, func(k kindText) bool { return k.Kind == f.Kind }) {
		return fmt.Errorf("sandbox: unknown fault %q; GET /_sandbox/faults lists the kinds", f.Kind)
	}
	if f.Probability < 0 || f.Probability > 1 || f.After < 0 || f.Count < 0 || f.Delay < 0 || f.Bytes < 0 {
		return fmt.Errorf("sandbox: fault %s: want a probability from 0 to 1 and nothing below zero", f.Kind)
	}
	return nil
}

var defaultDelays = map[FaultKind]time.Duration{
	FaultSlow: 5 * time.Second, FaultShortTokens: 2 * time.Second, FaultRateSeconds: time.Second, FaultRateDate: time.Second,
}

func (f Fault) withDefaults() Fault {
	f.Probability = cmp.Or(f.Probability, 1)
	f.Delay = cmp.Or(f.Delay, defaultDelays[f.Kind])
	if f.Kind == FaultHugeBody {
		f.Bytes = cmp.Or(f.Bytes, 80<<20)
	}
	return f
}

// AddFault switches a fault on. Of several that match a request, the first that
// was switched on and is not spent strikes.
func (s *Sandbox) AddFault(f Fault) (id int, err error) {
	if err := f.Validate(); err != nil {
		return 0, err
	}
	return s.faults.add(f.withDefaults()), nil
}

// RemoveFault switches one fault off and reports whether it was on.
func (s *Sandbox) RemoveFault(id int) bool { return s.faults.remove(id) }

// ClearFaults switches all faults off.
func (s *Sandbox) ClearFaults() { s.faults.clear() }

// Faults are the faults that are switched on, also those that are spent.
func (s *Sandbox) Faults() []FaultState { return s.faults.states() }

type faultBox struct {
	seed uint64

	mu   sync.Mutex
	last int
	on   []*FaultState
}

func newFaultBox(seed uint64) *faultBox { return &faultBox{seed: sim.Mix(seed, 0x6661756c74)} } // "fault"

func (b *faultBox) add(f Fault) (id int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	b.on = append(b.on, &FaultState{ID: b.last, Fault: f})
	return b.last
}

func (b *faultBox) remove(id int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := len(b.on)
	b.on = slices.DeleteFunc(b.on, func(f *FaultState) bool { return f.ID == id })
	return len(b.on) < before
}

func (b *faultBox) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.on = nil
}

func (b *faultBox) states() []FaultState {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]FaultState, len(b.on))
	for i, f := range b.on {
		all[i] = *f
	}
	return all
}

// strike returns the fault that strikes the request, if one does. r's path is
// the vendor's, without its place.
func (b *faultBox) strike(api sim.API, place string, r *http.Request) (Fault, bool) {
	token := api.IsToken(r.URL.Path)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.on {
		if f.Kind == FaultShortTokens {
			if !token || (f.Path != "" && !strings.Contains(place+r.URL.Path, f.Path)) {
				continue
			}
		} else if (f.Path == "" && token) || !strings.Contains(place+r.URL.Path, f.Path) {
			continue
		}
		f.Matched++
		dice := sim.Roll(b.seed, uint64(f.ID), uint64(f.Matched))
		if f.Matched <= f.After || (f.Count > 0 && f.Struck >= f.Count) || !dice.Chance(f.Probability) {
			continue
		}
		f.Struck++
		return f.Fault, true
	}
	return Fault{}, false
}
