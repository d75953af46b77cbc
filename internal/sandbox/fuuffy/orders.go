package fuuffy

import (
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/winchdata/winch/internal/sandbox/sim"
)

const (
	hour = 60 * 60 // seconds
	day  = 24 * hour
)

// hongKong is the offset of the timestamps in the documentation's samples.
var hongKong = time.FixedZone("+08:00", 8*hour)

// A stage is a status and how many seconds after the creation it is reached.
type stage struct {
	status string
	after  int64
}

// An order is one shipment. Times are Unix seconds.
type order struct {
	id      int64
	created int64
	intl    bool
	stages  []stage
	price   int64 // cents
	weighed int64 // cents more once it is picked up
	number  string
	remarks string
	from    party
	to      party
}

// A party is a sender or recipient.
type party struct{ name, mobile, prefix, email, address string }

// order makes the order of an event.
func (a *API) order(e sim.Event) order {
	d := e.Dice
	o := order{id: e.ID, created: e.Start, intl: d.Chance(0.3)}
	o.price = int64(d.Between(1850, 42000))
	if d.Chance(0.4) {
		o.weighed = int64(d.Between(-200, 3000))
	}
	o.number = fmt.Sprintf("SF74%011d", d.Next()%100_000_000_000)
	if d.Chance(0.25) {
		o.remarks = sim.Pick(&d, []string{"Fragile", "請放在門口", "Call \"before\" delivery", "2/F, back door"})
	}
	o.from, o.to = makeParty(&d), makeParty(&d)
	o.stages = makeStages(&d)
	return o
}

// makeStages draws the life of an order. One in twenty takes more than two
// months, so that it is still open when its creation is no longer listed.
func makeStages(d *sim.Dice) []stage {
	at := int64(0)
	stages := []stage{{"PENDING_CONFIRM", 0}}
	then := func(status string, low, high int) {
		at += int64(d.Between(low, high)) * hour / 4
		stages = append(stages, stage{status, at})
	}
	switch draw := d.Unit(); {
	case draw < 0.02:
		return []stage{{"DRAFT", 0}}
	case draw < 0.08:
		then("CANCELLED", 1, 200)
		return stages
	case draw < 0.12:
		then("PENDING_PROCESSING", 1, 8)
	}
	then("PROCESSING", 1, 4)
	then("READY_TO_SHIP", 1, 24)
	then("PENDING_PICKUP", 1, 40)
	then("PICKUP_COMPLETED", 4, 96)
	then("IN_TRANSIT", 1, 40)
	if d.Chance(0.05) {
		then("DELIVERED", 4*24*65, 4*24*95)
	} else {
		then("DELIVERED", 24, 600)
	}
	then("COMPLETED", 96, 400)
	return stages
}

func makeParty(d *sim.Dice) party {
	c := &sim.Countries[d.Below(len(sim.Countries))]
	area := c.Areas[d.Below(len(c.Areas))]
	given, family := sim.Pick(d, c.Given), sim.Pick(d, c.Families)
	number := strconv.FormatInt(area.First+int64(d.Below(area.Count)), 10)
	return party{
		name: given + " " + family, prefix: number[:2], mobile: number[2:],
		email:   fmt.Sprintf("person%d@%s", d.Below(100000), c.Domain),
		address: fmt.Sprintf("%s %d, %s", sim.Pick(d, c.Streets), d.Between(1, 99), sim.Pick(d, c.Towns)),
	}
}

// statusAt is the order's status at a moment.
func (o *order) statusAt(at int64) string {
	status := ""
	for _, s := range o.stages {
		if o.created+s.after <= at {
			status = s.status
		}
	}
	return status
}

// reached reports whether the order had come to a status by a moment.
func (o *order) reached(status string, at int64) bool {
	for _, s := range o.stages {
		if s.status == status {
			return o.created+s.after <= at
		}
	}
	return false
}

// write writes the fields of both the list and the single order, but for the
// status, whose name differs.
func (o *order) write(f *sim.Fields, status string, at int64) {
	f.Text("order_id", strconv.FormatInt(o.id, 10))
	kind := "local"
	if o.intl {
		kind = "intl"
	}
	f.Text("ship_type", kind)
	f.Text(status, o.statusAt(at))
	price := o.price
	if o.reached("PICKUP_COMPLETED", at) {
		price += o.weighed
	}
	f.Text("quote_price", fmt.Sprintf("%d.%02d", price/100, price%100))
	if o.reached("READY_TO_SHIP", at) {
		f.Text("confirm_shipment", "Y")
	} else {
		f.Text("confirm_shipment", "N")
	}
	number := ""
	if o.reached("PENDING_PICKUP", at) {
		number = o.number
	}
	f.TextOrNull("tracking_number", number)
	f.TextOrNull("client_remarks", o.remarks)
	if f.Landing() {
		f.Time("create_time", o.created)
	} else {
		f.Text("create_time", time.Unix(o.created, 0).In(hongKong).Format(time.RFC3339))
	}
}

func (o *order) writeParties(f *sim.Fields) {
	for _, p := range []struct {
		name string
		party
	}{{"sender", o.from}, {"recipient", o.to}} {
		var inner sim.Fields
		inner.Begin()
		inner.Text("name", p.party.name)
		inner.Text("mobile", p.mobile)
		inner.Text("mobile_prefix", p.prefix)
		inner.Text("email", p.email)
		inner.Text("address", p.address)
		inner.End()
		f.Value(p.name, inner.JSON)
	}
}

// bounds are the creation times that a list is asked for, as Unix seconds.
func (a *API) bounds(q url.Values) (from, to int64, ok bool) {
	zone := hongKong
	if a.opts.DatesUTC {
		zone = time.UTC
	}
	from, to = a.world.Begin.Unix(), a.world.AsOf().Unix()+1
	if text := q.Get("start_date"); text != "" {
		t, err := time.ParseInLocation(time.DateOnly, text, zone)
		if err != nil {
			return 0, 0, false
		}
		if a.opts.ExclusiveDates {
			t = t.AddDate(0, 0, 1)
		}
		from = max(from, t.Unix())
	}
	if text := q.Get("end_date"); text != "" {
		t, err := time.ParseInLocation(time.DateOnly, text, zone)
		if err != nil {
			return 0, 0, false
		}
		if !a.opts.ExclusiveDates {
			t = t.AddDate(0, 0, 1)
		}
		to = min(to, t.Unix())
	}
	return from, max(from, to), true
}

// between yields the orders created in [from, to), by id.
func (a *API) between(from, to int64) iter.Seq[order] {
	return func(yield func(order) bool) {
		place, end := a.orders.Before(from), a.orders.Before(to)
		if place == end {
			return
		}
		walk := a.orders.From(place)
		for range end - place {
			if !yield(a.order(walk.Next())) {
				return
			}
		}
	}
}

const (
	defaultLimit = 20
	maxLimit     = 100
)

// serveList lists orders. Its ids rise with the creation, so that both sort keys
// give one order.
func (a *API) serveList(w http.ResponseWriter, r *http.Request, twist sim.Twist) {
	q := r.URL.Query()
	asOf := a.world.AsOf().Unix()
	from, to, ok := a.bounds(q)
	page, limit := number(q, "page", 1), number(q, "limit", defaultLimit)
	key, dir := q.Get("sort_key"), q.Get("sort_dir")
	if !ok || page < 1 || limit < 1 || limit > maxLimit ||
		key != "" && key != "order_id" && key != "create_time" || dir != "" && dir != "ASC" && dir != "DESC" {
		a.fail(w, http.StatusBadRequest, "400000", "validation_error", "Missing or invalid parameters")
		return
	}
	var all []order
	for o := range a.between(from, to) {
		if status := q.Get("order_status"); status == "" || status == "all" || status == o.statusAt(asOf) {
			all = append(all, o)
		}
	}
	if dir != "ASC" {
		for i, j := 0, len(all)-1; i < j; i, j = i+1, j-1 {
			all[i], all[j] = all[j], all[i]
		}
	}
	pages := (len(all) + limit - 1) / limit
	shown := page
	if twist.RepeatPage {
		shown = 1
	}
	if twist.EndlessPages && pages > 0 {
		shown = (page-1)%pages + 1
	}
	begin := min((shown-1)*limit, len(all))
	end := min(begin+limit, len(all))
	if twist.EndlessPages && end-begin < limit && begin > 0 {
		begin, end = 0, limit // a last page would be short
	}
	f := sim.Fields{JSON: []byte(`{"data":{"order_list":[`)}
	for i := range all[begin:end] {
		o := &all[begin+i]
		f.Begin()
		o.write(&f, "order_status", asOf)
		f.End()
	}
	f.JSON = append(f.JSON, `]}`...)
	if a.opts.Pagination {
		f.JSON = fmt.Appendf(f.JSON, `,"pagination":{"total":%d,"page":%d,"per_page":%d,"total_pages":%d}`, len(all), page, limit, pages)
	}
	f.JSON = append(f.JSON, '}')
	text(w, http.StatusOK, "application/json", string(f.JSON))
}

func number(q url.Values, name string, absent int) int {
	if q.Get(name) == "" {
		return absent
	}
	n, err := strconv.Atoi(q.Get(name))
	if err != nil || n > 1<<30 {
		return -1
	}
	return n
}

// serveOrder answers with one order by its id.
func (a *API) serveOrder(w http.ResponseWriter, r *http.Request) {
	asOf := a.world.AsOf().Unix()
	id, err := strconv.ParseInt(r.URL.Query().Get("id"), 10, 64)
	e, found := a.orders.Find(id)
	if err != nil || !found || e.Start > asOf || e.Start < a.world.Begin.Unix() {
		a.fail(w, http.StatusNotFound, "order_not_found", "", "Order not found")
		return
	}
	o := a.order(e)
	f := sim.Fields{JSON: []byte(`{"data":`)}
	f.Begin()
	o.write(&f, "status", asOf)
	o.writeParties(&f)
	f.End()
	text(w, http.StatusOK, "application/json", string(append(f.JSON, '}')))
}
