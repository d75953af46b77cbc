package kaisa

import (
	"net/url"
	"path"
	"slices"

	"github.com/winchdata/winch/pkg/connector"
)

// A stream is what the agent knows of it, and how it is read.
type stream struct {
	connector.Stream
	// path is where it is read, under the version segment.
	path string
	// key is the envelope key of the records; keyFixed says that it comes from
	// the settings.
	key      string
	keyFixed bool
	// emptyAnswer says that {} and [] are documented to mean no records.
	emptyAnswer bool
	paging      paging
	// perCustomer streams are asked for once per customer; addCustomer puts the
	// customer into records that lack it.
	perCustomer, addCustomer bool
	// queries are the lists that make up the stream, or its window, in order.
	// Nil is one list without parameters.
	queries func(w connector.Window) []url.Values
	// wrap is the field that scalar elements become, for lists of bare values.
	wrap string
	// drop are fields that must not leave the connector.
	drop []string
	// widget streams are read from widget answers; see explode.
	widget bool
}

// Names that other files use.
const (
	customersStream = "customers"
	widgetDaily     = "widget_daily"
)

// streamNames are all streams in the order of streams.
var streamNames = []string{
	customersStream, "sources", "users", "campaigns", "voicemail_greetings", "cdrs_in", "cdrs_out", "recordings",
	"callbacks", "confirmation_callbacks", "pincodes", "customer_orders", "source_statuses",
	"customer_blacklist", "blacklist", widgetDaily,
}

// streams returns the streams that the settings make.
func streams(cfg config) []stream {
	all := []stream{
		customers(cfg), sources(cfg), users(), campaigns(), voicemailGreetings(), cdrsIn(cfg), cdrsOut(cfg), recordings(),
		callbacks(), confirmationCallbacks(), pincodes(), customerOrders(), sourceStatuses(),
		customerBlacklist(), blacklist(), widgets(cfg),
	}
	for i := range all {
		st := &all[i]
		st.path = cfg.path(st.Name, st.path)
		st.key = path.Base(st.path)
		if key, ok := cfg.Envelopes[st.Name]; ok {
			st.key, st.keyFixed = key, true
		}
	}
	return all
}

const (
	articles    = "https://support.kaisa.io/hc/en-us/articles/"
	oldArticles = "https://support.freespee.com/hc/en-us/articles/"
)

func customers(cfg config) stream {
	return stream{
		Stream: connector.Stream{
			Name:        customersStream,
			Description: "Customer accounts.",
			DocsURL:     articles + "201249581-Developer-API-customers",
			Mode:        connector.ModeSnapshot,
			PrimaryKey:  []string{"customer_id"},
			Columns: slices.Concat(
				from(docCustomers,
					id("customer_id", "Platform-wide unique account id"),
					text("name", "Account name"),
					text("custnr", "The partner's own number, unique inside one organisation"),
					text("corporateid", "Company or VAT number"),
					personal(text("email", "Account e-mail")),
					text("uuid", "UUID of the account"),
					number("receive_monthly_report", "0 none, 1 extended, 2 short"),
					boolean("freespee_caller_id", "The tracking number is shown as caller id"),
				),
				from(docStart, text("dncs_class_name", "Seen in a printed answer, not explained")),
				from(publicClient,
					personal(text("address_street", "Postal address: street")),
					personal(text("address_zip", "Postal address: code")),
					personal(text("address_city", "Postal address: city")),
					personal(text("address_state", "Postal address: state")),
					personal(text("address_country", "Postal address: country")),
				),
				from(docCustomers, custom(cfg.CustomFields)...),
			),
		},
		path:   "customers",
		paging: numbered,
	}
}

func sources(cfg config) stream {
	return stream{
		Stream: connector.Stream{
			Name:        "sources",
			Description: "Static tracking numbers.",
			DocsURL:     articles + "201158642-Developer-API-sources",
			Mode:        connector.ModeSnapshot,
			PrimaryKey:  []string{"source_id"},
			Columns: slices.Concat(
				from(docSources,
					id("source_id", "Unique id"),
					text("name", "Name"),
				),
				from(docStart,
					personal(text("email", "E-mail for notifications")),
					personal(text("smsnumber", "Number for notifications by SMS")),
					text("media", "Medium the number is shown in"),
					id("customer_id", "Customer"),
					personal(text("phonenr", "Answering number, E.164")),
					text("destnr", "Tracking number, E.164"),
					moment("timestamp", "Activation, UTC"),
					moment("expire", "Expiry, UTC"),
					moment("created", "Creation, UTC (zone inferred)"),
					moment("modified", "Last change, UTC (zone inferred)"),
					number("class", "Class; 0 by default"),
					text("status", "active, upcoming, reserved, quarantined, archived or extended"),
					id("vm_greeting_id", "Voicemail greeting"),
					boolean("notify_on_missed_call", "Missed calls are notified"),
					boolean("vm_divert_all", "All calls go to voicemail"),
					boolean("vm_divert_busy", "Calls go to voicemail when busy"),
					boolean("vm_divert_noanswer", "Calls go to voicemail when not answered"),
				),
				from(docAlt,
					id("campaign_id", "Campaign"),
					id("publisher_id", "Publisher"),
					boolean("notify_on_new_voicemail", "New voicemail is notified"),
					personal(blob("alt_numbers", "Alternative answering numbers with their weekdays and times")),
				),
			),
		},
		path:   "sources",
		paging: numbered,
		queries: func(connector.Window) []url.Values {
			list := []url.Values{{}}
			list = times(list, "class", texts(cfg.SourceClasses))
			return times(list, "status", cfg.SourceStatuses)
		},
	}
}

func users() stream {
	return stream{
		Stream: connector.Stream{
			Name:        "users",
			Description: "Users of the account.",
			DocsURL:     oldArticles + "201309901-Developer-API-users",
			Mode:        connector.ModeSnapshot,
			PrimaryKey:  []string{"user_id"},
			Columns: from(docUsers,
				id("user_id", "Unique id"),
				personal(text("name", "Name")),
				personal(text("email", "E-mail; mandatory on creation, not confirmed in answers")),
				boolean("write_access", "May change things"),
				number("receive_monthly_report", "0, 1 or 2, as for customers"),
				id("customer_id", "Customer"),
				secret(text("token", "Activation token; never pulled")),
			),
		},
		path:   "users",
		paging: chunked,
		drop:   []string{"token"},
	}
}

func campaigns() stream {
	return stream{
		Stream: connector.Stream{
			Name:        "campaigns",
			Description: "Campaigns of each customer.",
			DocsURL:     oldArticles + "201301651-Developer-API-customers-campaigns",
			Mode:        connector.ModeSnapshot,
			PrimaryKey:  []string{"customer_id", "campaign_id"},
			Columns: slices.Concat(
				from(byRequest, id("customer_id", "Customer")),
				from(docCampaigns,
					id("campaign_id", "Id"),
					text("partner_campaign_id", "The partner's own id"),
					text("name", "Name"),
					personal(text("email", "E-mail for notifications")),
					personal(text("smsnumber", "Number for notifications by SMS")),
					moment("timestamp", "Creation"),
					moment("expire", "Expiry"),
					text("pricing_model_id", "Pricing model"),
					boolean("notify_on_missed_call", "Missed calls are notified"),
					boolean("notify_on_answered_call", "Answered calls are notified"),
					boolean("notify_on_new_voicemail", "New voicemail is notified"),
					boolean("vm_divert_all", "All calls go to voicemail"),
					boolean("vm_divert_busy", "Calls go to voicemail when busy"),
					boolean("vm_divert_noanswer", "Calls go to voicemail when not answered"),
					boolean("call_recording", "Calls are recorded"),
					blob("sources", "Attached sources"),
					id("vm_greeting_id", "Voicemail greeting"),
					number("state", "0 active, 1 upcoming, 2 archived"),
				),
			),
		},
		path:        "customers/campaigns",
		paging:      chunked,
		perCustomer: true,
		addCustomer: true,
	}
}

func voicemailGreetings() stream {
	return stream{
		Stream: connector.Stream{
			Name:        "voicemail_greetings",
			Description: "Voicemail greetings of each customer and of the system, without their audio.",
			DocsURL:     articles + "201158372-Developer-API-customers-voicemail-greetings",
			Mode:        connector.ModeSnapshot,
			PrimaryKey:  []string{"vm_greeting_id"},
			Columns: from(docGreetings,
				id("vm_greeting_id", "Id"),
				id("customer_id", "Customer; null for system greetings"),
				text("name", "Name"),
				moment("timestamp", "Creation, UTC"),
				number("datalength", "Length of the audio, in a unit that is not documented"),
				boolean("locked", "A system greeting"),
				blob("used_by", "Ids of the sources that use it"),
			),
		},
		path:        "customers/voicemail_greetings",
		paging:      chunked,
		perCustomer: true,
		drop:        []string{"sounddata"},
	}
}

func recordings() stream {
	return stream{
		Stream: connector.Stream{
			Name:        "recordings",
			Description: "Recordings of each customer, without their audio.",
			DocsURL:     "https://github.com/freespee/freespee-php-api-client",
			Mode:        connector.ModeSnapshot,
			PrimaryKey:  []string{"recording_id"},
			Columns: slices.Concat(
				from(docPHP,
					identifying(text("recording_id", "Id, as in the calls' recording_id")),
					text("expired", "0 while there is audio; anything else says that it is gone"),
				),
				from(byRequest, id("customer_id", "Customer")),
			),
		},
		path:        "recordings",
		paging:      chunked,
		perCustomer: true,
		addCustomer: true,
		drop:        []string{"sounddata"},
	}
}

// pincodes have neither a time nor a filter, so that nothing tells where an
// earlier walk from the newest may end: each pull walks all pages.
func pincodes() stream {
	return stream{
		Stream: connector.Stream{
			Name:        "pincodes",
			Description: "Pincodes given to callers; each lives 14 days at most.",
			DocsURL:     articles + "360000549297-Developer-API-customers-pincodes",
			Mode:        connector.ModeSnapshot,
			PrimaryKey:  []string{"pincode_id"},
			Columns: slices.Concat(
				from(docPincodes, id("pincode_id", "Id")),
				from(createSide,
					id("customer_id", "Customer"),
					text("custnr", "The partner's own number of the customer"),
					personal(text("phone_number", "Number to call")),
					id("cdr_id", "Call"),
					number("pincode_length", "Digits: 6, 7 or 8"),
					number("pincode_ttl", "Life in days, 1 to 14"),
					text("custom_lead_id", "The partner's own id of the lead"),
					personal(text("custom_lead_data", "The partner's own data of the lead")),
				),
			),
		},
		path:   "customers/pincodes",
		paging: chunked,
	}
}

func customerOrders() stream {
	return stream{
		Stream: connector.Stream{
			Name:        "customer_orders",
			Description: "Orders sent to Kaisa as conversions.",
			DocsURL:     articles + "201309251-Developer-API-customer-orders",
			Mode:        connector.ModeSnapshot,
			PrimaryKey:  []string{"customer_id", "order_id"},
			Columns: from(docOrders,
				id("customer_id", "Customer"),
				identifying(text("order_id", "The partner's own id of the order; its uniqueness is inferred")),
				moment("created", "Receipt by Kaisa, UTC (zone inferred)"),
				moment("timestamp", "Time of the order, UTC (zone inferred)"),
				personal(text("cli_id", "Client id")),
				money("order_value", "Value, in the partner's own currency"),
				text("extras", "Further data"),
			),
		},
		path:   "customer_orders",
		paging: chunked,
	}
}

func sourceStatuses() stream {
	return stream{
		Stream: connector.Stream{
			Name:        "source_statuses",
			Description: "Sources that have a problem now; empty when all is well.",
			DocsURL:     articles + "201309701-Developer-API-sources-statuses",
			Mode:        connector.ModeSnapshot,
			PrimaryKey:  []string{"source_id", "service"},
			Columns: from(docStatuses,
				id("source_id", "Source"),
				identifying(text("service", "The problem, usually OOS")),
			),
		},
		path:        "sources/statuses",
		paging:      chunked,
		emptyAnswer: true,
	}
}

func customerBlacklist() stream {
	return stream{
		Stream: connector.Stream{
			Name:        "customer_blacklist",
			Description: "Callers that a customer blocks.",
			DocsURL:     articles + "207752545-Developer-API-customers-blacklist",
			Mode:        connector.ModeSnapshot,
			PrimaryKey:  []string{"customer_id", "number"},
			Columns: slices.Concat(
				from(byRequest, id("customer_id", "Customer")),
				from(docCustomerBlacklist, personal(identifying(text("number", "Blocked number, E.164")))),
			),
		},
		path:        "customers/blacklist",
		paging:      whole,
		perCustomer: true,
		addCustomer: true,
		wrap:        "number",
	}
}

func blacklist() stream {
	return stream{
		Stream: connector.Stream{
			Name:        "blacklist",
			Description: "Callers that are blocked for all customers.",
			DocsURL:     articles + "207752655-Developer-API-Blacklist",
			Mode:        connector.ModeSnapshot,
			PrimaryKey:  []string{"number"},
			Columns:     from(docBlacklist, personal(identifying(text("number", "Blocked number, E.164")))),
		},
		path:   "blacklist",
		paging: whole,
		wrap:   "number",
	}
}
