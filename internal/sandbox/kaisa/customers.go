package kaisa

import (
	"slices"
	"strconv"
	"strings"

	"github.com/winchdata/winch/internal/sandbox/sim"
)

// write writes the fields of Developer API: /customers. Absent texts are
// "" here, as in the vendor's printed answer; the address is inferred.
func (c *customer) write(f *sim.Fields, at int64) {
	f.Begin()
	f.QuotedInt("customer_id", c.id)
	f.Text("name", c.nameAt(at))
	f.Text("custnr", c.custnr)
	f.Text("corporateid", c.company)
	f.Text("email", c.email)
	f.Plain("uuid", sim.AppendUUID(nil, c.uuid))
	f.Text("dncs_class_name", "")
	f.QuotedInt("receive_monthly_report", c.report)
	f.Flag("freespee_caller_id", c.showsID)
	f.Text("address_street", c.street)
	f.Text("address_zip", c.zip)
	f.Text("address_city", c.town)
	f.Text("address_state", "")
	f.Text("address_country", c.country.Code)
	f.Text("custom_1", c.region)
	f.Text("custom_2", "")
	f.End()
}

// presentCustomers are those of the request: all, or one by id or number.
func (a *API) presentCustomers(r *request) []*customer {
	id, custnr := r.number("customer_id", 0), r.text("custnr")
	var all []*customer
	for i := range a.customers {
		c := &a.customers[i]
		if c.present(r.asOf) && (id == 0 || c.id == id) && (custnr == "" || c.custnr == custnr) {
			all = append(all, c)
		}
	}
	return all
}

func (a *API) serveCustomers(r *request, out *answer) {
	all := a.presentCustomers(r)
	p := r.page(a.opts.FixedPageSize)
	out.paged(&a.opts, r, p, len(all), "customers")
	from, to := r.endless(p, len(all)).span(len(all))
	for _, c := range all[from:to] {
		c.write(&out.Fields, r.asOf)
	}
	out.shut()
}

// write writes the fields of Getting started and Alternative answering numbers.
// Absent texts are null here.
func (s *source) write(f *sim.Fields, at int64) {
	f.ASCII = true
	f.Begin()
	f.QuotedInt("source_id", s.id)
	f.Text("name", s.nameAt(at))
	f.TextOrNull("email", s.email)
	f.Null("smsnumber")
	f.Text("media", s.media)
	f.QuotedInt("customer_id", s.customer.id)
	f.Text("phonenr", sim.E164(s.answering))
	f.Text("destnr", sim.E164(s.tracking))
	f.Time("timestamp", s.activates)
	f.Time("expire", s.expires)
	f.Time("created", s.created)
	f.Time("modified", s.modified(at))
	f.QuotedInt("class", s.class)
	f.Text("status", s.status(at))
	f.QuotedIntOrNull("vm_greeting_id", s.greeting)
	if s.campaign != nil {
		f.QuotedInt("campaign_id", s.campaign.id)
	} else {
		f.Null("campaign_id")
	}
	f.QuotedIntOrNull("publisher_id", s.publisher)
	f.Flag("notify_on_missed_call", s.missed)
	f.Flag("notify_on_new_voicemail", s.voicemail)
	f.Flag("vm_divert_all", false)
	f.Flag("vm_divert_busy", s.busy)
	f.Flag("vm_divert_noanswer", s.busy)
	f.Value("alt_numbers", s.alternatives)
	f.End()
}

func (a *API) serveSources(r *request, out *answer) {
	wanted := a.opts.UnfilteredSources
	if s := r.text("status"); s != "" {
		wanted = []string{s}
		if !slices.Contains(statuses, s) {
			r.complain("status: unknown: " + s)
		}
	}
	id, customerID, class := r.number("source_id", 0), r.number("customer_id", 0), r.number("class", 0)
	campaignID, custnr, number := r.number("campaign_id", 0), r.text("custnr"), strings.TrimLeft(r.text("destnr"), " +") // an unescaped plus arrives as a space
	var all []*source
	for i := range a.sources {
		s := &a.sources[i]
		status := s.status(r.asOf)
		// One that is asked for by its id needs no further filter (inferred).
		listed := s.class == class && slices.Contains(wanted, status)
		if status == "" || (id != 0 && s.id != id) || (id == 0 && !listed) ||
			(customerID != 0 && s.customer.id != customerID) || (custnr != "" && s.customer.custnr != custnr) ||
			(number != "" && strconv.FormatInt(s.tracking, 10) != number) ||
			(campaignID != 0 && (s.campaign == nil || s.campaign.id != campaignID)) {
			continue
		}
		all = append(all, s)
	}
	p := r.page(a.opts.FixedPageSize)
	out.paged(&a.opts, r, p, len(all), "sources")
	from, to := r.endless(p, len(all)).span(len(all))
	for _, s := range all[from:to] {
		s.write(&out.Fields, r.asOf)
	}
	out.shut()
}

// troubled reports whether the number is out of service: for a few days now and then.
func (a *API) troubled(s *source, at int64) bool {
	status := s.status(at)
	dice := sim.Roll(sim.Mix(a.seed, tagStatus), uint64(s.id), uint64(at/(3*day)))
	return (status == "active" || status == "extended") && dice.Chance(0.06)
}

func (s *source) writeStatus(f *sim.Fields) {
	f.Begin()
	f.QuotedInt("source_id", s.id)
	f.Text("service", "OOS")
	f.End()
}

// serveStatuses lists problems only: it is empty when all is well.
func (a *API) serveStatuses(r *request, out *answer) {
	id, customerID, custnr := r.number("source_id", 0), r.number("customer_id", 0), r.text("custnr")
	out.open("statuses")
	for i := range a.sources {
		s := &a.sources[i]
		if a.troubled(s, r.asOf) && (id == 0 || s.id == id) &&
			(customerID == 0 || s.customer.id == customerID) && (custnr == "" || s.customer.custnr == custnr) {
			s.writeStatus(&out.Fields)
		}
	}
	out.shut()
}
