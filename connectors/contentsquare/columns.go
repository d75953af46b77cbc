package contentsquare

import (
	"strings"

	"github.com/winchdata/winch/pkg/connector"
)

// docs is where the vendor documents its API.
const docs = "https://docs.contentsquare.com/en/api/"

// Where a column is known from, as its description says it.
const (
	docObjects    = "Object endpoints"
	docSite       = "Site metrics endpoints"
	docEnums      = "inferred from Enumerations"
	docEndpoints  = "Endpoints reference"
	docSession    = "Fields reference (session)"
	docPageview   = "Fields reference (pageview)"
	publicClients = "inferred from public clients"
	bySettings    = "added from the settings"
	byRequest     = "added from the request"
	byAnswer      = "added from the place in the answer"
)

// from adds to the description of columns where they are known from.
func from(page string, columns ...connector.Column) []connector.Column {
	for i := range columns {
		columns[i].Description += " [" + page + "]"
	}
	return columns
}

func number(name, description string) connector.Column {
	return connector.Column{Name: name, Type: connector.TypeBigint, Description: description}
}

// amount is exact and takes what is wider than 64 bits.
func amount(name, description string) connector.Column {
	return connector.Column{Name: name, Type: connector.TypeNumeric, Description: description}
}

func text(name, description string) connector.Column {
	return connector.Column{Name: name, Type: connector.TypeText, Description: description}
}

func moment(name, description string) connector.Column {
	return connector.Column{Name: name, Type: connector.TypeTimestamp, Description: description}
}

func blob(name, description string) connector.Column {
	return connector.Column{Name: name, Type: connector.TypeJSON, Description: description}
}

// under is for a value that stands under another name in the record.
func under(name string, c connector.Column) connector.Column {
	c.Path = []string{name}
	return c
}

func personal(c connector.Column) connector.Column {
	c.Personal = true
	return c
}

func secret(c connector.Column) connector.Column {
	c.Secret = true
	return c
}

// dates are the columns that segments, goals and mappings have in common.
func dates() []connector.Column {
	return from(docObjects,
		under("createdAt", moment("created_at", "Creation")),
		under("updatedAt", moment("updated_at", "Last change")),
	)
}

func projectColumn() []connector.Column {
	return from(byRequest, number(projectID, "Project"))
}

// sessionColumns are the fields of a session that are documented, or that a
// public client exports. Of numbers only the documented ones are known to be
// some; text takes either.
func sessionColumns() []connector.Column {
	columns := from(docSession,
		personal(amount("user_id", "Visitor, up to 64 bits without sign")),
		personal(text("user_id_unhashed", "Visitor, unhashed; empty before 2023-09-05")),
		personal(text("city", "City")),
		text("country_code", "Country, as in FR"),
		text("language", "Language, as in fr"),
		field("app_events.event_name", "Events of an app"),
		field("app_events.event_time", "Times of the events, UTC"),
		field("app_events.event_type", "0 start, 1 show, 2 hide"),
	)
	return append(columns, from(publicClients,
		text("session_id", "Session"),
		text("session_date", "Day"),
		text("session_time", "Time"),
		text("device_id", "-1 all, 0 unknown, 1 desktop, 2 mobile web, 3 tablet web, 4 mobile app, 5 tablet app"),
		text("session_number_of_views", "Page views"),
		text("session_number", "Number of the visitor's session"),
		text("session_duration_msec", "Length, in milliseconds"),
		text("session_number_of_transactions", "Transactions"),
		text("session_transactions_revenue_cents", "Revenue, in hundredths"),
		text("browser_name", "Browser"),
		text("browser_version", "Browser's version"),
		text("browser_major_version", "Browser's major version"),
		text("platform_name", "Platform"),
		text("platform_version", "Platform's version"),
		text("os_version", "Operating system's version"),
		text("app_version", "App's version"),
		text("model", "Device model"),
		text("manufacturer", "Device manufacturer"),
		text("screen_height", "Screen height"),
		text("screen_width", "Screen width"),
		text("density", "Screen density"),
		personal(text("referer_url", "Referrer")),
		text("is_excludable", "Not explained"),
	)...)
}

// viewColumns are the fields of a page view, as sessionColumns.
func viewColumns() []connector.Column {
	columns := from(docPageview,
		field("errors.message", "Messages of errors"),
		field("errors.error_time", "Times of errors"),
		field("errors.filename", "Files of errors"),
	)
	return append(columns, from(publicClients,
		text("session_id", "Session"),
		personal(text("url_no_query_param", "Address, without its query")),
		text("device_id", "As in sessions"),
		text("scroll_rate", "Share of the page that was shown"),
		text("view_duration_msec", "Length, in milliseconds"),
		text("page_interaction_time_msec", "Interaction, in milliseconds"),
		text("frustration_score", "Frustration score"),
		text("rage_click_all_targets_ind", "Rage clicks"),
		text("multiple_button_interaction_ind", "Repeated clicks"),
		text("any_js_error_ind", "JavaScript errors"),
		text("any_api_error_ind", "API errors"),
		text("api_error_after_click_ind", "API errors after a click"),
		text("is_first", "First view of the session"),
		text("is_last", "Last view of the session"),
	)...)
}

// field is an array under a dotted name; arrays of the same prefix are parallel
// (Fields reference (session)).
func field(name, description string) connector.Column {
	return under(name, blob(strings.ReplaceAll(name, ".", "_"), description))
}
