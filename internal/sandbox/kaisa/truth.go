package kaisa

import (
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/winchdata/winch/internal/sandbox/sim"
)

// Streams are the names that Truth knows.
var Streams = []string{
	"customers", "sources", "users", "campaigns", "voicemail_greetings", "cdrs_in", "cdrs_out", "recordings",
	"callbacks", "confirmation_callbacks", "pincodes", "customer_orders", "source_statuses",
	"customer_blacklist", "blacklist", "widget_daily",
}

// Truth yields the records that must land for a stream, as of the simulated now
// at the call, with values as [sim.Fields] describes them; flags are 0 or 1,
// decimals are text and absent texts "" or nil as the vendor sends them.
//
// cdrs_in and cdrs_out (extended), callbacks, confirmation_callbacks and
// widget_daily are those of the window [since, until), where a zero time is no
// bound; the other streams are whole. A secret is in none.
//
// sources are of every status and class; a reader that asks for class 0 alone has
// those. campaigns, recordings and customer_blacklist have the customer_id that
// the request gave. widget_daily has the whole account as customer_id 0 and then
// each customer, for all types; recordings those of present customers.
//
// An unknown stream is a programmer's error and panics.
func (a *API) Truth(stream string, since, until time.Time) iter.Seq[map[string]any] {
	if !slices.Contains(Streams, stream) {
		panic(fmt.Sprintf("sandbox: kaisa has no stream %q", stream))
	}
	asOf := a.world.AsOf().Unix()
	return func(yield func(map[string]any) bool) {
		t := &truth{a: a, asOf: asOf, since: since, until: until, yield: yield, going: true}
		t.f.Land()
		t.walk(stream)
	}
}

// truth is one walk over a stream.
type truth struct {
	a            *API
	f            sim.Fields
	asOf         int64
	since, until time.Time
	yield        func(map[string]any) bool
	going        bool
}

// emit hands over the record that was written and reports whether more are wanted.
func (t *truth) emit() bool {
	t.going = t.going && t.yield(t.f.Take())
	return t.going
}

func (t *truth) walk(stream string) {
	a := t.a
	switch stream {
	case "sources":
		t.sources()
	case "source_statuses":
		t.statuses()
	case "cdrs_in", "cdrs_out":
		t.calls(stream == "cdrs_in")
	case "pincodes":
		t.pincodes()
	case "customer_orders":
		for c := range a.orders(t.asOf) {
			a.writeOrder(&t.f, c)
			if !t.emit() {
				return
			}
		}
	case "recordings":
		t.recordings()
	case "blacklist":
		for _, number := range a.globalBlacklist(t.asOf) {
			t.f.Text("number", number)
			if !t.emit() {
				return
			}
		}
	case "voicemail_greetings":
		t.systemGreetings()
		t.perCustomer(stream)
	case "widget_daily":
		t.widgets(nil)
		t.perCustomer(stream)
	default:
		t.perCustomer(stream)
	}
}

// perCustomer walks over what belongs to each present customer.
func (t *truth) perCustomer(stream string) {
	for i := range t.a.customers {
		c := &t.a.customers[i]
		if !t.going {
			return
		}
		if !c.present(t.asOf) {
			continue
		}
		switch stream {
		case "customers":
			c.write(&t.f, t.asOf)
			t.emit()
		case "users":
			t.users(c)
		case "campaigns":
			t.campaigns(c)
		case "voicemail_greetings":
			t.greetings(c.greetings)
		case "callbacks":
			t.scheduled(c, tagCallback, (*callback).write)
		case "confirmation_callbacks":
			t.scheduled(c, tagConfirmation, (*callback).writeConfirmation)
		case "customer_blacklist":
			t.blacklist(c)
		case "widget_daily":
			t.widgets(c)
		}
	}
}

func (t *truth) sources() {
	for i := range t.a.sources {
		if s := &t.a.sources[i]; s.status(t.asOf) != "" {
			s.write(&t.f, t.asOf)
			if !t.emit() {
				return
			}
		}
	}
}

func (t *truth) statuses() {
	for i := range t.a.sources {
		if s := &t.a.sources[i]; t.a.troubled(s, t.asOf) {
			s.writeStatus(&t.f)
			if !t.emit() {
				return
			}
		}
	}
}

func (t *truth) calls(inbound bool) {
	dir := t.a.direction(inbound)
	from, to := dir.line.Clip(t.since, t.until, t.asOf)
	for c := range dir.calls(from, to, t.asOf) {
		t.a.writeCall(&t.f, c, inbound, true)
		if !t.emit() {
			return
		}
	}
}

func (t *truth) recordings() {
	for c := range t.a.recordings(nil, t.asOf) {
		if !c.customer.present(t.asOf) {
			continue
		}
		t.a.writeRecording(&t.f, c, t.asOf, false)
		t.f.QuotedInt("customer_id", c.customer.id)
		if !t.emit() {
			return
		}
	}
}

func (t *truth) pincodes() {
	from, to := t.a.pins.Clip(time.Time{}, time.Time{}, t.asOf)
	place, end := t.a.pins.Before(from), t.a.pins.Before(to)
	walk := t.a.pins.From(place)
	for range end - place {
		p := t.a.pincode(walk.Next(), t.asOf)
		p.write(&t.f)
		if !t.emit() {
			return
		}
	}
}

func (t *truth) users(c *customer) {
	for _, u := range t.a.users(c, t.asOf) {
		u.write(&t.f)
		if !t.emit() {
			return
		}
	}
}

func (t *truth) campaigns(c *customer) {
	for k := range c.campaigns {
		m := &c.campaigns[k]
		if !m.present(t.asOf) {
			continue
		}
		m.write(&t.f, t.asOf)
		t.f.QuotedInt("customer_id", c.id)
		if !t.emit() {
			return
		}
	}
}

// systemGreetings repeat under every customer and land once, if there is one.
func (t *truth) systemGreetings() {
	for i := range t.a.customers {
		if t.a.customers[i].present(t.asOf) {
			t.greetings(systemGreetings)
			return
		}
	}
}

func (t *truth) greetings(all []greeting) {
	for k := range all {
		all[k].write(&t.f, t.asOf, false)
		if !t.emit() {
			return
		}
	}
}

func (t *truth) scheduled(c *customer, tag uint64, write func(*callback, *sim.Fields)) {
	from, to := int64(0), t.asOf+farthest+1
	if !t.since.IsZero() {
		from = sim.Ceil(t.since)
	}
	if !t.until.IsZero() {
		to = min(to, sim.Ceil(t.until))
	}
	for one := range t.a.callbacks(tag, c, from, to, t.asOf) {
		write(one, &t.f)
		if !t.emit() {
			return
		}
	}
}

func (t *truth) blacklist(c *customer) {
	for _, number := range t.a.numbers(c.index, c.country, t.asOf) {
		t.f.Text("number", number)
		t.f.QuotedInt("customer_id", c.id)
		if !t.emit() {
			return
		}
	}
}

// widgets walks over the days whose first moment lies in the window and that have
// begun.
func (t *truth) widgets(c *customer) {
	from, to := t.a.world.Begin.Unix(), t.asOf+1
	if !t.since.IsZero() {
		from = sim.Ceil(t.since)
	}
	if !t.until.IsZero() {
		to = min(to, sim.Ceil(t.until))
	}
	for d := (from + day - 1) / day * day; d < to; d += day {
		counted := t.a.tally(c, d, d+day, t.asOf)
		for i := range widgets {
			if !widgets[i].land(&t.f, counted, c, t.emit) {
				return
			}
		}
	}
}
