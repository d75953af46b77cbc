package kaisa

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/winchdata/winch/internal/sandbox/sim"
)

const day = 24 * 60 * 60 // seconds

// firstCustomerID and the step make ids that are neither dense nor the index.
const (
	firstCustomerID = 500101
	customerIDStep  = 3
	firstSourceID   = 710001
	firstCampaignID = 8801
	// perCustomer is how many ids of each kind a customer may use up.
	perCustomer = 8
)

// A customer is an account below the partner's own. Times are Unix seconds.
type customer struct {
	index   int
	id      int64
	country *sim.Country
	name    string
	custnr  string
	company string // corporateid, which may be ""
	email   string // may be ""
	uuid    [16]byte
	street  string
	zip     string
	town    string
	region  string // custom_1
	report  int64
	showsID bool
	joins   int64 // 0: was always there
	leaves  int64 // 0: stays
	changes int64 // the name changes then; 0: never

	sources   []source
	campaigns []campaign
	greetings []greeting
}

func (c *customer) present(at int64) bool { return at >= c.joins && (c.leaves == 0 || at < c.leaves) }

// nameAt follows a change of the account's name.
func (c *customer) nameAt(at int64) string {
	if c.changes != 0 && at >= c.changes {
		return c.name + " & Partner"
	}
	return c.name
}

// A source is a tracking number.
type source struct {
	id                      int64
	customer                *customer
	name                    string
	media                   string
	email                   string // may be ""
	answering               int64  // phonenr
	tracking                int64  // destnr
	area                    *sim.Area
	class                   int64
	created                 int64
	activates               int64
	expires                 int64 // 0: never
	extension               int64 // seconds after expires
	renamed                 int64 // 0: never
	deleted                 int64 // 0: never
	held                    bool  // reserved rather than upcoming before it is active
	records                 bool  // calls are recorded
	greeting                int64
	campaign                *campaign
	publisher               int64
	busy, missed, voicemail bool
	alternatives            []byte

	base, extended fragment // of its calls
}

// quarantine is how long a number rests before it is archived: 60 days unless an
// account has it otherwise (How long are my sources active?).
const quarantine = 60 * day

// statuses are the documented statuses, in the order of a source's life.
var statuses = []string{"reserved", "upcoming", "active", "extended", "quarantined", "archived"}

// status is the source's at a moment; "" while it does not exist.
func (s *source) status(at int64) string {
	switch ends := s.expires + s.extension; {
	case at < s.created, s.deleted != 0 && at >= s.deleted, !s.customer.present(at):
		return ""
	case at < s.activates && s.held:
		return "reserved"
	case at < s.activates:
		return "upcoming"
	case s.expires == 0 || at < s.expires:
		return "active"
	case at < ends:
		return "extended"
	case at < ends+quarantine:
		return "quarantined"
	default:
		return "archived"
	}
}

// modified is the last moment up to at at which the source's record changed.
func (s *source) modified(at int64) int64 {
	last := s.created
	for _, t := range [...]int64{s.activates, s.renamed, s.expires, s.expires + s.extension, s.expires + s.extension + quarantine} {
		if t > last && t <= at {
			last = t
		}
	}
	return last
}

func (s *source) nameAt(at int64) string {
	if s.renamed != 0 && at >= s.renamed {
		return s.name + " (2)"
	}
	return s.name
}

// media and placements name sources in the languages of the world.
var (
	mediaNames   = []string{"google.example", "newsletter", "Stadtplan", "radio", "Gula bladet", "affiche métro", "example.com/bokning", "出張", "billboard"}
	placements   = []string{"Startsida", "Spring banner", "Été – prix cassés", "Herbstaktion 🍂", `Banner "rea"`, "Landing page A/B", "Ñandú spot", "春の特売", "Footer"}
	campaignName = []string{"Spring", "Soldes d'hiver", "Sommarrea ☀", "Küchenwochen", "Back to school", "Fête des mères"}
	weekdays     = []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}
)

// makeCustomers makes the customers and what belongs to them: the only part of
// the account that is held. Around the world's origin some come and some go.
func (a *API) makeCustomers() {
	origin := a.world.Origin.Unix()
	a.customers = make([]customer, a.world.Size)
	// The slices below point into it, so it must not be moved later.
	a.sources = make([]source, 0, a.world.Size*perCustomer)
	for i := range a.customers {
		c := &a.customers[i]
		a.makeCustomer(c, i, origin)
		a.makeGreetings(c, origin)
		a.makeCampaigns(c, origin)
		start := len(a.sources)
		for k := range 2 + a.dice(tagSource, i, perCustomer).Below(perCustomer-2) {
			a.sources = append(a.sources, a.makeSource(c, k, origin))
		}
		c.sources = a.sources[start:]
		for k := range c.sources {
			c.sources[k].makeFragments()
		}
	}
}

// dice are those of the k-th thing of its kind below the customer.
func (a *API) dice(tag uint64, customer, k int) *sim.Dice {
	d := sim.Roll(sim.Mix(a.seed, tag), uint64(customer), uint64(k))
	return &d
}

func (a *API) makeCustomer(c *customer, i int, origin int64) {
	d := a.dice(tagCustomer, i, 0)
	country := &sim.Countries[d.Below(len(sim.Countries))]
	town, trade := sim.Pick(d, country.Towns), sim.Pick(d, country.Trades)
	*c = customer{
		index: i, id: firstCustomerID + int64(i)*customerIDStep, country: country,
		name:    fmt.Sprintf("%s %s %s %s", country.Example, trade, town, country.Legal),
		custnr:  fmt.Sprintf("%s-%04d", country.Code, i+1),
		uuid:    d.UUID(),
		street:  fmt.Sprintf("%s %d", sim.Pick(d, country.Streets), d.Between(1, 99)),
		zip:     strconv.Itoa(d.Between(10000, 99999)),
		town:    town,
		region:  sim.Pick(d, country.Areas).Label,
		report:  int64(d.Below(3)),
		showsID: d.Chance(0.5),
	}
	if d.Chance(0.7) {
		c.company = fmt.Sprintf("%s%07d", country.VAT, d.Below(1e7))
	}
	if d.Chance(0.7) {
		c.email = fmt.Sprintf("office%d@%s", i+1, country.Domain)
	}
	switch {
	case i%9 == 4:
		c.leaves = origin + int64(d.Between(1, 20*24))*3600
	case i%11 == 6:
		c.joins = origin + int64(d.Between(1, 20*24))*3600
	case i%7 == 2:
		c.changes = origin + int64(d.Between(1, 20*24))*3600
	}
}

func (a *API) makeSource(c *customer, k int, origin int64) source {
	d := a.dice(tagSource, c.index, k)
	born := origin - int64(d.Between(1, 300))*day
	s := source{
		id: firstSourceID + int64(c.index*perCustomer+k), customer: c,
		name:    sim.Pick(d, placements),
		media:   sim.Pick(d, mediaNames),
		created: born + int64(d.Below(day)) - day,
		records: d.Chance(0.6),
		busy:    d.Chance(0.5), missed: d.Chance(0.3), voicemail: d.Chance(0.2),
	}
	s.activates = s.created + int64(d.Below(3*24))*3600
	s.tracking, s.area = c.country.Number(d)
	s.answering, _ = c.country.Number(d)
	if d.Chance(0.3) {
		s.email = fmt.Sprintf("leads%d@%s", k, c.country.Domain)
	}
	if d.Chance(0.3) {
		s.publisher = int64(d.Between(60, 75))
	}
	if k%5 == 3 {
		s.class = 1
	}
	if n := len(c.greetings); n > 0 && d.Chance(0.5) {
		s.greeting = c.greetings[d.Below(n)].id
	}
	if n := len(c.campaigns); n > 0 && d.Chance(0.6) {
		s.campaign = &c.campaigns[d.Below(n)]
	}
	// The first number of a customer stays as it is, so that there are calls.
	switch fate := d.Below(8); {
	case k == 0:
		s.created, s.activates = a.world.Begin.Unix()-30*day, a.world.Begin.Unix()-29*day
	case fate == 0:
		s.created, s.activates, s.held = origin-5*day, origin+int64(d.Between(1, 20))*day, d.Chance(0.5)
	case fate <= 2:
		s.expires = origin + int64(d.Between(-100, 20))*day
		if d.Chance(0.4) {
			s.extension = int64(d.Between(5, 40)) * day
		}
	case fate == 3:
		s.deleted = origin + int64(d.Between(1, 20*24))*3600
	case fate == 4:
		s.renamed = origin + int64(d.Between(1, 20*24))*3600
	}
	if s.expires != 0 && s.expires <= s.activates {
		s.expires = s.activates + 10*day
	}
	s.alternatives = alternatives(c, d)
	return s
}

// alternatives is the text of alt_numbers (Alternative answering numbers).
func alternatives(c *customer, d *sim.Dice) []byte {
	var f sim.Fields
	f.JSON = append(f.JSON, '[')
	for i := range max(0, d.Between(-2, 2)) {
		f.Begin()
		if d.Chance(0.3) {
			f.Text("phonenr", "voicemail")
		} else {
			number, _ := c.country.Number(d)
			f.Text("phonenr", sim.E164(number))
		}
		from := d.Between(6, 12)
		until := sim.Pick(d, []string{"13:00", "18:30", "24:00"})
		first := d.Below(5)
		f.Text("weekdays", strings.Join(weekdays[first:first+d.Between(1, 2)], ","))
		f.Text("from_time", fmt.Sprintf("%02d:30", from))
		f.Text("to_time", until)
		f.QuotedInt("alt_key", int64(10*(i+1)))
		f.End()
	}
	return append(f.JSON, ']')
}

// customerByID returns the customer if it exists at the moment.
func (a *API) customerByID(id, at int64) *customer {
	i := (id - firstCustomerID) / customerIDStep
	if id < firstCustomerID || (id-firstCustomerID)%customerIDStep != 0 || i >= int64(len(a.customers)) {
		return nil
	}
	c := &a.customers[i]
	if !c.present(at) {
		return nil
	}
	return c
}
