package kaisa

// resourceList is every readable resource, in the order of the vendor's help
// centre.
func (a *API) resourceList() []resource {
	return []resource{
		{"miscellaneous/ping", "the vendor's own probe", "", a.servePing},
		{"customers", "customer_id, custnr, page, pagesize", "customer_id", a.serveCustomers},
		{"sources", "source_id, customer_id, custnr, destnr, campaign_id, status, class (0), page, pagesize", "source_id", a.serveSources},
		{"sources/statuses", "source_id, customer_id, custnr", "", a.serveStatuses},
		{"statistics/cdrs", callParams, "cdr_id", a.serveInbound},
		{a.opts.OutboundPath, callParams, "cdr_id", a.serveOutbound},
		{"recordings", "customer_id or recording_id", "recording_id", a.serveRecordings},
		{"users", "user_id, customer_id", "user_id", a.serveUsers},
		{"customers/campaigns", "customer_id (mandatory), campaign_id", "campaign_id", a.serveCampaigns},
		{"customers/voicemail_greetings", "customer_id (mandatory), vm_greeting_id", "vm_greeting_id", a.serveGreetings},
		{"customers/callbacks", "customer_id (mandatory), from_date (now), to_date (in a week)", "id", a.serveCallbacks},
		{"customers/confirmationcallback", "customer_id (mandatory), from_date (now), to_date (in a week)", "id", a.serveConfirmations},
		{"customers/pincodes", "pincode_id, customer_id, page; chunks of 1000, newest first", "pincode_id", a.servePincodes},
		{"customers/blacklist", "customer_id (mandatory)", "", a.serveCustomerBlacklist},
		{"blacklist", "no parameters", "", a.serveBlacklist},
		{"customer_orders", "customer_id, order_id, custnr", "order_id", a.serveOrders},
		{"widgets/data", "type (mandatory), customer_id, from_date, to_date", "", a.serveWidget},
	}
}

const callParams = "from_date, to_date, customer_id, source_id, custnr, cdr_id, extended, newest_first, page, pagesize"

func (a *API) routes() map[string]resource {
	table := map[string]resource{}
	for _, r := range a.resourceList() {
		table[r.path] = r
	}
	return table
}

func (a *API) servePing(_ *request, out *answer) {
	out.JSON = append(out.JSON, `{"ping":"ok"}`...)
}
