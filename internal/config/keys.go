package config

import (
	"strings"

	"github.com/winchdata/winch/pkg/connector"
)

// A form says what kind of value a key takes.
type form int

const (
	formText     form = iota // one scalar, read as text
	formFlag                 // true or false
	formList                 // a list of text
	formTable                // a table with the keys of key.keys
	formNamed                // a table whose keys are names, each a table of key.keys
	formTexts                // a table whose keys are names, each a text
	formSettings             // a connector's own settings
	formStreams              // a list of names, or as formNamed
)

// A key describes one key of winch.yaml. The table of keys drives the checks, the
// names of environment variables and the JSON Schema for editors.
type key struct {
	name, about string
	form        form
	keys        []key
	// choices are the values that a text may have; none: any.
	choices []string
	// pattern and example are for editors.
	pattern, example string
	// standard is the value of an absent key, for people.
	standard string
	// secret values may hold a password: they are never shown.
	secret bool
	// references may stand in the value.
	references bool
}

const spanPattern = `^-?([0-9]+(mo|w|d|h|m|s))+$|^0$`

var orders = []string{string(OrderNewest), string(OrderOldest)}

// percentPattern is what a share of one hundred looks like.
const percentPattern = `^[0-9]+(\.[0-9]+)?%$`

var levels = []string{"debug", "info", "warn", "error"}

var fileKeys = []key{
	{name: "sink", about: "Where rows land.", form: formTable, keys: []key{
		{
			name: "url", secret: true, references: true, standard: DefaultSink, example: "${env:DATABASE_URL}",
			about: "postgres://user:password@host:5432/database, or sqlite:PATH for the embedded store.",
		},
	}},
	{name: "sources", about: "The configured accounts. The name of a source is the schema of its tables.", form: formNamed, keys: sourceKeys},
	{name: "serve", about: "How winch serve runs.", form: formTable, keys: []key{
		{name: "listen", about: "The address on which health and the web page are served.", standard: DefaultListen, example: DefaultListen},
		{name: "grace", about: "How long a shutdown waits for slices that are being read, before it cancels them.", pattern: spanPattern, standard: "30s", example: "30s"},
		{name: "stuck_after", about: "After how long without a byte or a record a slice is given up; waits that the vendor asked for do not count.", pattern: spanPattern, standard: "15m", example: "15m"},
	}},
	{name: "retention", about: "How long what only tells of the past is kept. Rows and ledger stay.", form: formTable, keys: []key{
		{name: "history", about: "How long ended runs with their reads, decided ticks and settled records of the quarantine are kept; 0 is for ever.", pattern: spanPattern, standard: defaultHistory.String(), example: "90d"},
	}},
	{name: "alerts", about: "Webhooks that are told what is the matter, by name.", form: formNamed, keys: alertKeys},
	{name: "telemetry", about: "What Winch tells about itself.", form: formTable, keys: []key{
		{name: "otlp_endpoint", about: "The URL that traces and metrics are sent to by OTLP over HTTP; none: they are not sent.", example: "http://localhost:4318", pattern: "^https?://"},
		{name: "sample", about: "The share of runs whose traces are recorded, from 0 to 1.", standard: "1", example: "0.1", pattern: `^(0(\.[0-9]+)?|1(\.0+)?)$`},
		{name: "openlineage", about: "Who is told, by OpenLineage, which stream the rows of a table come from; none: nobody is.", form: formTable, keys: lineageKeys},
	}},
	{name: "plugins", about: "Connectors that are not bundled.", form: formTable, keys: []key{
		{name: "directories", about: "The directories in which winch-connector-NAME executables are found. There is no other search path.", form: formList},
		{name: "checksums", about: "The SHA-256 of each installed connector, by name, verified at each launch.", form: formTexts, pattern: "^[0-9a-fA-F]{64}$"},
	}},
	{name: "log", about: "Log lines, on standard error.", form: formTable, keys: []key{
		{name: "level", about: "The least severe level that is logged.", choices: levels, standard: "warn"},
		{name: "levels", about: "The levels of single parts of the program, by name: agent, plugin, pull, scheduler, telemetry. The log of connectors is plugin's.", form: formTexts, pattern: "^(debug|info|warn|error)$"},
		{name: "format", about: "How log lines are written.", choices: []string{"text", "json"}, standard: "text"},
	}},
}

var sourceKeys = []key{
	{name: "connector", about: "The connector that knows the vendor; winch connectors lists them.", pattern: "^[a-z][a-z0-9_]{0,62}$"},
	{name: "config", about: "The connector's own settings; winch connectors NAME lists them.", form: formSettings, references: true},
	{name: "enabled", about: "Whether the source is pulled when no source is named.", form: formFlag, standard: "true"},
	{name: "schedule", about: "When the source is pulled: five cron fields, or six with seconds first, or @daily, @hourly, @every 6h, or one-shot times such as 2026-12-24T02:00, separated by commas.", example: "0 2 * * *"},
	{name: "deep_schedule", about: "When the windows within the deep lookback are read again, as schedule. Without it a pull does so for those whose last reading is long ago.", example: "0 4 * * 0"},
	{name: "timezone", about: "The IANA time zone of schedule and since, and in which days begin.", standard: "UTC", example: "Europe/Stockholm"},
	{name: "jitter", about: "The scheduled pulls are put off by a time up to this, which is always the same for the source.", pattern: spanPattern, standard: "0", example: "10m"},
	{name: "overlap", about: "What happens to a tick while the pull before is still running.", choices: []string{string(OverlapSkip), string(OverlapQueue)}, standard: string(OverlapSkip)},
	{name: "catch_up", about: "What happens to ticks that were missed while no agent was running.", choices: []string{string(CatchUpOnce), string(CatchUpAll), string(CatchUpNone)}, standard: string(CatchUpOnce)},
	{name: "budget", about: "The vendor's allowance that the source uses up: sources that name the same one are pulled one after the other. The default is one for each account, by connector and client_id or username.", pattern: "^[A-Za-z0-9][A-Za-z0-9_. -]{0,62}$", example: "agency account"},
	{name: "since", about: "The earliest moment to read: a date, or a time as RFC 3339.", example: "2025-01-01"},
	{name: "schema", about: "What happens when a table and its stream differ: evolve adds and widens columns, freeze fails the stream, quarantine writes what fits the table as it is.", choices: schemaPolicies, standard: "evolve"},
	{name: "quarantine", about: "How many records that cannot become rows are set aside before a slice fails.", form: formTable, keys: quarantineKeys},
	{name: "lookback_every", about: "How long ago a window within the lookback must have been read to be read again: half a slice, at most 6h, unless given; 0 reads it on every pull.", pattern: spanPattern, example: "6h"},
	{name: "order", about: "Which slices of a stream a pull reads first.", choices: orders, standard: string(OrderNewest)},
	{name: "streams", about: "The streams to pull, as a list of names or as a table with settings for each. The default is all that the connector does not mark as optional.", form: formStreams, keys: streamKeys},
}

var streamKeys = []key{
	{name: "enabled", about: "Whether the stream is pulled.", form: formFlag, standard: "true"},
	{name: "schedule", about: "When the stream is pulled, instead of by the source's schedule.", example: "@every 1h"},
	{name: "slice", about: "The length of the windows in which a window stream is read.", pattern: spanPattern, example: "1d"},
	{name: "lookback", about: "How far behind now a window stays restatable and is read again.", pattern: spanPattern, example: "7d"},
	{name: "deep_lookback", about: "How far behind now a window is read again by the deep re-read.", pattern: spanPattern, example: "90d"},
	{name: "lookback_every", about: "How long ago a window within the lookback must have been read to be read again, instead of the source's.", pattern: spanPattern, example: "1h"},
	{name: "lag", about: "How long after its end a window is not yet worth reading.", pattern: spanPattern, example: "1h"},
	{name: "vanish_brake", about: "The largest share of a snapshot's or window's rows that may vanish at once, such as 50%; 100% allows all. Beyond it nothing is changed and the slice fails. It holds from 20 vanished rows on.", pattern: percentPattern, standard: "30%", example: "50%"},
	{name: "since", about: "The earliest moment to read of this stream, instead of the source's.", example: "2025-01-01"},
	{name: "freshness", about: "How old the newest held data may be before alerts tell that the stream is stale.", pattern: spanPattern, example: "26h"},
	{name: "order", about: "Which slices of this stream a pull reads first, instead of the source's.", choices: orders},
	{name: "schema", about: "What happens when the table and the stream differ, instead of the source's.", choices: schemaPolicies},
	{name: "split", about: "Cuts the table of a window stream by time, in PostgreSQL. The time then is part of the key.", choices: splits},
	{name: "quarantine", about: "How many records that cannot become rows are set aside before a slice fails, instead of the source's.", form: formTable, keys: quarantineKeys},
}

var splits = []string{"month", "year"}

var schemaPolicies = []string{"evolve", "freeze", "quarantine"}

var quarantineKeys = []key{
	{name: "limit", about: "The most records of a stream that one run sets aside. 0: the first fails its slice.", pattern: "^[0-9]+$", standard: "1000"},
	{name: "share", about: "The largest part of a slice's records that is set aside. It counts once more than 10 are.", pattern: "^[0-9]+([.][0-9]+)?%$", standard: "1%"},
}

func find(keys []key, name string) (key, bool) {
	for _, k := range keys {
		if k.name == name {
			return k, true
		}
	}
	return key{}, false
}

func namesOf(keys []key) []string {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.name
	}
	return names
}

// elsewhere returns where a key that is unknown at one place belongs, written for
// people, or "".
func elsewhere(keys []key, at, name string) string {
	for _, k := range keys {
		place := strings.TrimPrefix(at+"."+k.name, ".")
		if k.form == formNamed || k.form == formStreams {
			place += ".NAME"
		}
		if _, ok := find(k.keys, name); ok {
			return place
		}
		if deeper := elsewhere(k.keys, place, name); deeper != "" {
			return deeper
		}
	}
	return ""
}

// reservedName says why a source cannot have the name, whose schema would be the
// agent's or PostgreSQL's own; "" if it can.
func reservedName(name string) string {
	switch {
	case name == "winch":
		return "the schema winch holds the agent's own tables"
	case name == "public", name == "information_schema", strings.HasPrefix(name, "pg_"):
		return "PostgreSQL uses the schema " + name + " itself"
	case !connector.ValidName(name):
		return "want lower case letters, digits and underscores, a letter first, at most 63"
	}
	return ""
}
