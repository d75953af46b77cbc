package kaisa

import (
	"net/url"
	"slices"
	"time"

	"github.com/winchdata/winch/pkg/connector"
)

func cdrsIn(cfg config) stream {
	return cdrs(cfg, "cdrs_in", "Inbound calls.", "", "statistics/cdrs")
}

func cdrsOut(cfg config) stream {
	return cdrs(cfg, "cdrs_out", "Outbound calls.", articles+"360014513858-Developer-API-statistics-cdrs-out", "statistics/cdrs_out")
}

// cdrs is a list of calls. The article describes outbound calls; that inbound
// ones are alike is inferred from a public client.
func cdrs(cfg config, name, description, docs, path string) stream {
	columns := from(docCDRsOut,
		id("cdr_id", "Unique call id"),
		moment("start", "Start of the call, UTC"),
		number("duration", "Length in seconds"),
		boolean("duration_adjusted", "The length was adjusted"),
		personal(text("anum", "Caller's number, masked at its end")),
		personal(text("anum_md5", "Salted MD5 of the caller's number")),
		text("bnum", "Tracking number dialled"),
		personal(text("cnum", "Customer's real number")),
		id("customer_id", "Customer"),
		id("source_id", "Source"),
		text("custnr", "The partner's own number of the customer"),
		boolean("answered", "The call was answered"),
		boolean("quarantined", "The tracking number was in quarantine"),
		text("anum_ndc_name", "Caller's area code with its name"),
	)
	if cfg.Extended {
		columns = slices.Concat(columns,
			from(docCDRsOut,
				moment("timestamp", "Activation of the source, UTC; extended"),
				moment("expire", "Expiry of the source, UTC; extended"),
				text("source_media", "Medium of the source; extended"),
				text("source_name", "Name of the source; extended"),
				number("class", "Class of the source; extended"),
			),
			from(publicClient,
				id("publisher_id", "Publisher; extended"),
				text("partner_publisher_id", "The partner's own id of the publisher; extended"),
				id("campaign_id", "Campaign; extended"),
				text("partner_campaign_id", "The partner's own id of the campaign; extended"),
				text("pricing_model_id", "Pricing model; extended"),
				money("commission", "Commission; extended"),
				personal(text("cli_id", "Client id of a matched conversion; extended")),
				text("order_id", "Order id of a matched conversion; extended"),
				text("recording_id", "Recording; up to about half an hour late; extended"),
			),
			from(docCDRsOut, custom(cfg.CustomFields)...),
		)
	}
	return stream{
		Stream: connector.Stream{
			Name:        name,
			Description: description,
			DocsURL:     docs,
			Mode:        connector.ModeWindow,
			PrimaryKey:  []string{"cdr_id"},
			TimeColumn:  "start",
			Slice:       connector.Days(1),
			Lookback:    connector.Days(7), // conversions are matched for 7 days by default
			Lag:         connector.Span{Clock: time.Hour},
			Columns:     columns,
		},
		path:   path,
		paging: numbered,
		queries: func(w connector.Window) []url.Values {
			query := dates(w)
			if cfg.Extended {
				query.Set("extended", "1")
			}
			return []url.Values{query}
		},
	}
}

func callbacks() stream {
	return scheduled("callbacks", "Callbacks that callers asked for, past and to come.",
		"360000056897-Developer-API-customers-callbacks", "customers/callbacks",
		from(docCallbacks,
			id("id", "Id"),
			id("customer_id", "Customer"),
			personal(text("agent_nr", "Agent's number")),
			personal(text("caller_id", "Caller id")),
			moment("scheduled", "When it is due, UTC"),
			number("retries", "Retries"),
			number("retry_interval", "Seconds between retries"),
			boolean("completed", "It took place"),
			id("cdr_id", "The call it became"),
		))
}

func confirmationCallbacks() stream {
	return scheduled("confirmation_callbacks", "Calls that confirm an appointment, past and to come.",
		"360001071318-Developer-API-customers-confirmationcallback", "customers/confirmationcallback",
		from(docConfirm,
			id("id", "Id"),
			id("customer_id", "Customer"),
			personal(text("agent_phone", "Agent's number")),
			personal(text("customer_phone", "Number of the person called, not masked")),
			text("display_phone", "Number shown"),
			moment("scheduled", "First attempt, UTC"),
			number("retries", "Retries"),
			number("retry_interval", "Seconds between retries"),
			number("completed", "0 unknown or incomplete, 1 ok, 2 confirmed, 3 no response, 4 informed"),
			id("cdr_id", "The call it became"),
		))
}

// scheduled is a list of calls to come and past, per customer. Without dates the
// vendor gives the week ahead alone, so both are always sent. They are scheduled
// up to 30 days ahead (documented for confirmation callbacks), which the negative
// lag reads; a week is the vendor's own span of one answer.
func scheduled(name, description, article, path string, columns []connector.Column) stream {
	return stream{
		Stream: connector.Stream{
			Name:        name,
			Description: description,
			DocsURL:     articles + article,
			Mode:        connector.ModeWindow,
			PrimaryKey:  []string{"id"},
			TimeColumn:  "scheduled",
			Slice:       connector.Days(7),
			Lookback:    connector.Days(7),
			Lag:         connector.Days(-30),
			Columns:     columns,
		},
		path:        path,
		paging:      chunked,
		perCustomer: true,
		addCustomer: true,
		queries:     func(w connector.Window) []url.Values { return []url.Values{dates(w)} },
	}
}

// timeLayout is how the vendor writes and takes moments, in UTC (Developer API:
// statistics cdrs out).
const timeLayout = "2006-01-02 15:04:05"

// dates are the parameters that cover a window whether the vendor includes its
// bounds or not, which is not documented: one second more at the front, and the
// end itself.
//
//	  from_date    Since                 Until = to_date
//	-----|-----------[=====================)------------
//	     1 s
//
// What lies outside the window is left out by source.inWindow.
func dates(w connector.Window) url.Values {
	from := w.Since.Truncate(time.Second).Add(-time.Second)
	to := w.Until.Add(time.Second - time.Nanosecond).Truncate(time.Second)
	return url.Values{
		"from_date": {from.UTC().Format(timeLayout)},
		"to_date":   {to.UTC().Format(timeLayout)},
	}
}
