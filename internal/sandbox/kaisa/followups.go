package kaisa

import (
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/winchdata/winch/internal/sandbox/sim"
)

// A callback is a call to be made at a set time: at a caller's wish, or to
// confirm an appointment.
//
//	created      scheduled    + retries x interval
//	|------------|------------|
//	appears      1 h .. 5 d   completed and cdr_id are set
type callback struct {
	id        int64
	customer  *customer
	agent     int64
	caller    int64
	display   int64
	scheduled int64
	retries   int64
	interval  int64
	completed int64
	call      int64 // 0: none
}

// farthest is how far ahead a confirmation callback may be scheduled (Developer
// API: /customers/confirmationcallback).
const farthest = 30 * day

// callbacks yields the callbacks of one kind, by its tag, that are scheduled in
// [from, to) and have been created by asOf.
func (a *API) callbacks(tag uint64, c *customer, from, to, asOf int64) iter.Seq[*callback] {
	from = max(from, a.world.Begin.Unix())
	to = min(to, asOf+farthest+1)
	return func(yield func(*callback) bool) {
		for d := from / day; d*day < to; d++ {
			for k := range a.dice(tag, c.index, int(d)*4).Below(3) {
				one, created := a.callback(tag, c, d, k, asOf)
				if one.scheduled >= from && one.scheduled < to && created <= asOf && created >= c.joins && !yield(&one) {
					return
				}
			}
		}
	}
}

func (a *API) callback(tag uint64, c *customer, d int64, k int, asOf int64) (one callback, created int64) {
	dice := a.dice(tag, c.index, int(d)*4+1+k)
	one = callback{
		id:        (d<<20|int64(c.index))<<2 | int64(k),
		customer:  c,
		agent:     c.sources[0].answering,
		display:   c.sources[0].tracking,
		scheduled: d*day + 8*3600 + int64(k)*5*3600 + int64(dice.Below(20))*900,
		retries:   int64(dice.Below(4)),
		interval:  int64(sim.Pick(dice, []int{300, 600, 1800})),
	}
	one.caller, _ = c.country.Number(dice)
	lead := int64(dice.Between(1, 5*24)) * 3600
	outcome := 1
	if tag == tagConfirmation {
		lead = int64(dice.Between(1, farthest/3600)) * 3600
		outcome = 1 + dice.Below(4)
	}
	if done := one.scheduled + one.retries*one.interval + 120; asOf >= done && dice.Chance(0.9) {
		one.completed = int64(outcome)
		// The call is one of those that the account has in that hour.
		if e, ok := a.outbound.Some(one.scheduled, dice); ok {
			if made, known := a.outboundCall(e, asOf); known {
				one.call = made.id
			}
		}
	}
	return one, one.scheduled - lead
}

// write writes the fields of Developer API: /customers/callbacks.
func (c *callback) write(f *sim.Fields) {
	f.Begin()
	f.QuotedInt("id", c.id)
	f.QuotedInt("customer_id", c.customer.id)
	f.Text("agent_nr", sim.E164(c.agent))
	f.Text("caller_id", sim.E164(c.caller))
	c.writeSchedule(f)
	f.End()
}

// writeConfirmation writes those of /customers/confirmationcallback.
func (c *callback) writeConfirmation(f *sim.Fields) {
	f.Begin()
	f.QuotedInt("id", c.id)
	f.QuotedInt("customer_id", c.customer.id)
	f.Text("agent_phone", sim.E164(c.agent))
	f.Text("customer_phone", sim.E164(c.caller))
	f.Text("display_phone", sim.E164(c.display))
	c.writeSchedule(f)
	f.End()
}

func (c *callback) writeSchedule(f *sim.Fields) {
	f.Time("scheduled", c.scheduled)
	f.QuotedInt("retries", c.retries)
	f.QuotedInt("retry_interval", c.interval)
	f.QuotedInt("completed", c.completed)
	f.QuotedIntOrNull("cdr_id", c.call)
}

func (a *API) serveCallbacks(r *request, out *answer) {
	a.serveScheduled(r, out, tagCallback, "callbacks", (*callback).write)
}

func (a *API) serveConfirmations(r *request, out *answer) {
	a.serveScheduled(r, out, tagConfirmation, "confirmationcallback", (*callback).writeConfirmation)
}

// serveScheduled looks from now to one week ahead unless dates are given, so a
// pull without dates sees nothing of the past.
func (a *API) serveScheduled(r *request, out *answer, tag uint64, key string, write func(*callback, *sim.Fields)) {
	c, id := a.customerByID(r.must("customer_id"), r.asOf), r.number("id", 0)
	from := r.moment("from_date", r.asOf, dateTime, dateOnly)
	to := r.moment("to_date", r.asOf+7*day, dateTime, dateOnly)
	if !a.opts.ExclusiveTo {
		to++
	}
	out.open(key)
	if c != nil {
		for one := range a.callbacks(tag, c, from, to, r.asOf) {
			if id == 0 || one.id == id {
				write(one, &out.Fields)
			}
		}
	}
	out.shut()
}

// A pincode ties a caller to a lead for some days. It is used, if at all, by a
// later call.
type pincode struct {
	id       int64
	customer *customer
	phone    int64
	call     int64 // 0: not used yet
	length   int64
	ttl      int64 // days
	lead     string
	data     string
}

func (a *API) pincode(e sim.Event, asOf int64) (p pincode) {
	d := e.Dice
	p = pincode{id: e.ID, customer: a.dialled(&d, e.Start).customer}
	p.phone, _ = p.customer.country.Number(&d)
	p.length, p.ttl = int64(d.Between(6, 8)), int64(d.Between(1, 14))
	p.lead = fmt.Sprintf("lead-%d", d.Below(100000))
	if d.Chance(0.4) {
		p.data = `{"form":"` + sim.Pick(&d, placements[:3]) + `","step":2}`
	}
	if used := e.Start + int64(d.Below(int(p.ttl)*24))*3600; d.Chance(0.6) && asOf >= used {
		if call, ok := a.inbound.Some(used, &d); ok {
			if made, known := a.inboundCall(call, asOf); known {
				p.call = made.id
			}
		}
	}
	return p
}

// write writes names of the create side of Developer API: /customers/pincodes;
// that they are in the answer is inferred.
func (p *pincode) write(f *sim.Fields) {
	f.Begin()
	f.QuotedInt("pincode_id", p.id)
	f.QuotedInt("customer_id", p.customer.id)
	f.Text("custnr", p.customer.custnr)
	f.Text("phone_number", sim.E164(p.phone))
	f.QuotedIntOrNull("cdr_id", p.call)
	f.QuotedInt("pincode_length", p.length)
	f.QuotedInt("pincode_ttl", p.ttl)
	f.Text("custom_lead_id", p.lead)
	f.TextOrNull("custom_lead_data", p.data)
	f.End()
}

// servePincodes answers in chunks of 1000, newest first, without metadata.
func (a *API) servePincodes(r *request, out *answer) {
	from, to := a.pins.Clip(time.Time{}, time.Time{}, r.asOf)
	s := sim.Selection{Line: a.pins, From: a.pins.Before(from), To: a.pins.Before(to)}
	id, customerID := r.number("pincode_id", 0), r.number("customer_id", 0)
	if id == 0 && customerID == 0 {
		s.Settled = s.To
	}
	s.Match = func(e sim.Event) bool {
		p := a.pincode(e, r.asOf)
		return (id == 0 || p.id == id) && (customerID == 0 || p.customer.id == customerID)
	}
	total := s.Total()
	x, y := r.endless(r.page(true), total).span(total)
	var used []int64
	out.open("pincodes")
	s.Newest(x, y, func(e sim.Event) {
		p := a.pincode(e, r.asOf)
		p.write(&out.Fields)
		if p.call != 0 {
			used = append(used, p.call)
		}
	})
	if id == 0 {
		out.shut()
		return
	}
	// A second list comes with one pincode. Its columns were not to be seen
	// beyond the outcome, which is null without the Callback Manager.
	out.JSON = append(out.JSON, ']')
	out.Key("calls")
	out.JSON = append(out.JSON, '[')
	for _, call := range used {
		out.Begin()
		out.QuotedInt("cdr_id", call)
		out.Null("outcome")
		out.End()
	}
	out.shut()
}

// writeOrder writes the fields of Developer API: customer orders for a call that
// became one.
func (a *API) writeOrder(f *sim.Fields, c *call) {
	var scratch [40]byte
	f.Begin()
	f.Time("created", c.order)
	f.Time("timestamp", c.order-2-c.value%90)
	f.Plain("cli_id", strconv.AppendInt(append(scratch[:0], "c-"...), c.caller%100000, 10))
	f.Plain("order_id", appendOrderID(scratch[:0], c.id))
	f.Plain("order_value", appendHundredths(scratch[:0], c.value))
	f.Text("extras", "")
	f.QuotedInt("customer_id", c.customer.id)
	f.End()
}

// orders yields the calls that have become orders.
func (a *API) orders(asOf int64) iter.Seq[*call] {
	return func(yield func(*call) bool) {
		for c := range a.direction(true).calls(a.world.Begin.Unix(), asOf+1, asOf) {
			if c.order != 0 && !yield(c) {
				return
			}
		}
	}
}

func (a *API) serveOrders(r *request, out *answer) {
	customerID, custnr, orderID := r.number("customer_id", 0), r.text("custnr"), r.text("order_id")
	out.open("customer_orders")
	defer out.shut()
	write := func(c *call) {
		if (customerID == 0 || c.customer.id == customerID) && (custnr == "" || c.customer.custnr == custnr) {
			a.writeOrder(&out.Fields, c)
		}
	}
	if orderID == "" {
		for c := range a.orders(r.asOf) {
			write(c)
		}
		return
	}
	id, err := strconv.ParseInt(strings.TrimPrefix(orderID, "SO-"), 36, 64)
	if err != nil {
		return // no such order
	}
	if e, ok := a.inbound.Find(id); ok {
		if c, _ := a.inboundCall(e, r.asOf); c.order != 0 {
			write(&c)
		}
	}
}
