package kaisa

import (
	"fmt"
	"slices"
	"strings"

	"github.com/winchdata/winch/internal/sandbox/sim"
)

// A campaign groups sources of a customer.
type campaign struct {
	id        int64
	customer  *customer
	name      string
	email     string // may be ""
	partnerID string // may be ""
	created   int64
	starts    int64
	expires   int64 // 0: never
	pricing   int64
	records   bool
	missed    bool
	greeting  int64
}

func (a *API) makeCampaigns(c *customer, origin int64) {
	c.campaigns = make([]campaign, a.dice(tagCampaign, c.index, perCustomer).Below(4))
	for k := range c.campaigns {
		d := a.dice(tagCampaign, c.index, k)
		m := &c.campaigns[k]
		*m = campaign{
			id: firstCampaignID + int64(c.index*perCustomer+k), customer: c,
			name:    fmt.Sprintf("%s %d", sim.Pick(d, campaignName), 1+k),
			created: origin - int64(d.Between(2, 300))*day + int64(d.Below(day)) - day,
			pricing: int64(20 + d.Below(4)),
			records: d.Chance(0.6), missed: d.Chance(0.4),
		}
		// Begins and ends fall on both sides of the origin: all three states are
		// there, and they change as the simulated now moves on.
		m.starts = m.created + int64(d.Below(10*24))*3600
		if k == 0 {
			m.starts = origin + int64(d.Between(-10, 20))*day
		}
		if d.Chance(0.5) {
			m.expires = max(m.starts+5*day, origin+int64(d.Between(-60, 20))*day)
		}
		if d.Chance(0.3) {
			m.email = fmt.Sprintf("campaign%d@%s", k, c.country.Domain)
		}
		if d.Chance(0.5) {
			m.partnerID = fmt.Sprintf("P-%d", d.Between(10, 99))
		}
		if n := len(c.greetings); n > 0 && d.Chance(0.4) {
			m.greeting = c.greetings[d.Below(n)].id
		}
	}
}

func (m *campaign) present(at int64) bool { return at >= m.created && m.customer.present(at) }

// state is 0 active, 1 upcoming, 2 archived.
func (m *campaign) state(at int64) int64 {
	switch {
	case at < m.starts:
		return 1
	case m.expires != 0 && at >= m.expires:
		return 2
	default:
		return 0
	}
}

// write writes the fields of Developer API: /customers/campaigns, in which the
// customer does not appear. The shape of the elements of sources is unknown;
// here they are source ids.
func (m *campaign) write(f *sim.Fields, at int64) {
	f.ASCII = true
	f.Begin()
	f.QuotedInt("campaign_id", m.id)
	f.TextOrNull("partner_campaign_id", m.partnerID)
	f.Text("name", m.name)
	f.TextOrNull("email", m.email)
	f.Null("smsnumber")
	f.Time("timestamp", m.created)
	f.Time("expire", m.expires)
	f.QuotedInt("pricing_model_id", m.pricing)
	f.Flag("notify_on_missed_call", m.missed)
	f.Flag("notify_on_answered_call", false)
	f.Flag("notify_on_new_voicemail", m.missed)
	f.Flag("vm_divert_all", false)
	f.Flag("vm_divert_busy", false)
	f.Flag("vm_divert_noanswer", m.missed)
	f.Flag("call_recording", m.records)
	var ids []int64
	for i := range m.customer.sources {
		if s := &m.customer.sources[i]; s.campaign == m && s.status(at) != "" {
			ids = append(ids, s.id)
		}
	}
	f.Value("sources", quotedInts(ids))
	f.QuotedIntOrNull("vm_greeting_id", m.greeting)
	f.QuotedInt("state", m.state(at))
	f.End()
}

func (a *API) serveCampaigns(r *request, out *answer) {
	c, id := a.customerByID(r.must("customer_id"), r.asOf), r.number("campaign_id", 0)
	out.open("campaigns")
	if c != nil {
		for k := range c.campaigns {
			if m := &c.campaigns[k]; m.present(r.asOf) && (id == 0 || m.id == id) {
				m.write(&out.Fields, r.asOf)
			}
		}
	}
	out.shut()
}

// A greeting is a voicemail greeting, of a customer or of the system.
type greeting struct {
	id       int64
	customer *customer // nil for the system's
	name     string
	created  int64
	length   int64
}

// systemGreetings appear under every customer.
var systemGreetings = []greeting{
	{id: 1, name: "System default (English)", created: 1262304000, length: 40960},
	{id: 2, name: "Systemhälsning (svenska)", created: 1262304000, length: 43012},
	{id: 3, name: "Annonce système (français)", created: 1293840000, length: 38840},
}

func (a *API) makeGreetings(c *customer, origin int64) {
	c.greetings = make([]greeting, a.dice(tagGreeting, c.index, perCustomer).Below(3))
	for k := range c.greetings {
		d := a.dice(tagGreeting, c.index, k)
		c.greetings[k] = greeting{
			id: 41 + int64(c.index*perCustomer+k), customer: c,
			name:    sim.Pick(d, []string{"Evening", "Lunchrast", "Fermé le week-end", "Außerhalb der Zeiten"}),
			created: origin - int64(d.Between(10, 500))*day + int64(d.Below(day)),
			length:  int64(d.Between(20000, 90000)),
		}
	}
}

// write writes the fields of Developer API: /customers/voicemail_greetings. The
// audio comes only with a greeting that was asked for by its id.
func (g *greeting) write(f *sim.Fields, at int64, audio bool) {
	f.Begin()
	f.QuotedInt("vm_greeting_id", g.id)
	var users []int64
	if g.customer == nil {
		f.Null("customer_id")
	} else {
		f.QuotedInt("customer_id", g.customer.id)
		for i := range g.customer.sources {
			if s := &g.customer.sources[i]; s.greeting == g.id && s.status(at) != "" {
				users = append(users, s.id)
			}
		}
	}
	f.Text("name", g.name)
	f.Time("timestamp", g.created)
	f.QuotedInt("datalength", g.length)
	f.Flag("locked", g.customer == nil)
	f.Value("used_by", quotedInts(users))
	if audio {
		f.Text("sounddata", silence)
	}
	f.End()
}

// silence is base64 text of the kind in which the vendor sends mp3 audio, after
// which a reader can look for it where it must not be.
var silence = "SUQzBAAAAAAA" + strings.Repeat("U0FOREJPWEFVRElP", 64)

func (a *API) serveGreetings(r *request, out *answer) {
	c, id := a.customerByID(r.must("customer_id"), r.asOf), r.number("vm_greeting_id", 0)
	out.open("voicemail_greetings")
	if c != nil {
		for _, all := range [][]greeting{systemGreetings, c.greetings} {
			for k := range all {
				if id == 0 || all[k].id == id {
					all[k].write(&out.Fields, r.asOf, id != 0)
				}
			}
		}
	}
	out.shut()
}

// A user may log in to a customer's account.
type user struct {
	id       int64
	customer *customer
	name     string
	writes   bool
	report   int64
	leaves   int64  // 0: stays
	token    string // "" once activated
}

// TokenCanary opens every activation token of a user: a secret that must not
// land anywhere.
const TokenCanary = "activation-canary-"

// users makes the users of a customer that exist at the moment.
func (a *API) users(c *customer, at int64) []user {
	if !c.present(at) {
		return nil
	}
	var all []user
	for k := range 1 + a.dice(tagUser, c.index, perCustomer).Below(4) {
		d := a.dice(tagUser, c.index, k)
		u := user{
			id: 3301 + int64(c.index*perCustomer+k), customer: c,
			name:   sim.Pick(d, c.country.Given) + " " + sim.Pick(d, c.country.Families),
			writes: d.Chance(0.5), report: int64(d.Below(3)),
		}
		// Those who have not activated their account yet do so later.
		if activated := a.world.Origin.Unix() + int64(d.Between(-20, 20))*day; d.Chance(0.4) && at < activated {
			u.token = fmt.Sprintf("%s%016x", TokenCanary, d.Next())
		}
		if k == 2 {
			u.leaves = a.world.Origin.Unix() + int64(d.Between(1, 20))*day
		}
		if u.leaves == 0 || at < u.leaves {
			all = append(all, u)
		}
	}
	return all
}

// write writes the fields of Developer API: /users.
func (u *user) write(f *sim.Fields) {
	f.Begin()
	f.QuotedInt("user_id", u.id)
	f.Text("name", u.name)
	f.Flag("write_access", u.writes)
	f.QuotedInt("receive_monthly_report", u.report)
	f.QuotedInt("customer_id", u.customer.id)
	if !f.Landing() { // a secret: it must not land
		f.TextOrNull("token", u.token)
	}
	f.End()
}

func (a *API) serveUsers(r *request, out *answer) {
	id := r.number("user_id", 0)
	out.open("users")
	for _, c := range a.presentCustomers(r) {
		for _, u := range a.users(c, r.asOf) {
			if id == 0 || u.id == id {
				u.write(&out.Fields)
			}
		}
	}
	out.shut()
}

// numbers draws what stands on a blacklist at the moment: some are added and
// some taken off as days go by.
func (a *API) numbers(owner int, country *sim.Country, at int64) []string {
	var all []string
	for k := range a.dice(tagBlacklist, owner, -1).Below(7) {
		d := a.dice(tagBlacklist, owner, k)
		number, _ := country.Number(d)
		added := a.world.Origin.Unix() + int64(d.Between(-200, 15))*day
		removed := added + int64(d.Between(20, 400))*day
		if text := sim.E164(number); at >= added && at < removed && !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return all
}

// wholeAccount owns the blacklist that holds for all customers.
const wholeAccount = 1 << 30

func (a *API) globalBlacklist(at int64) []string {
	all := []string{"+441134960999"}
	for i := range sim.Countries {
		for _, number := range a.numbers(wholeAccount+i, &sim.Countries[i], at) {
			if !slices.Contains(all, number) {
				all = append(all, number)
			}
		}
	}
	return all
}

func (a *API) serveCustomerBlacklist(r *request, out *answer) {
	c := a.customerByID(r.must("customer_id"), r.asOf)
	var all []string
	if c != nil {
		all = a.numbers(c.index, c.country, r.asOf)
	}
	out.strings("blacklist", all)
}

func (a *API) serveBlacklist(r *request, out *answer) {
	out.strings("blacklist", a.globalBlacklist(r.asOf))
}
