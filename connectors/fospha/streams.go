package fospha

import (
	"bytes"
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/winchdata/winch/pkg/connector"
)

// A stream is what the agent knows of it, and how it is read.
type stream struct {
	connector.Stream
	query     string
	operation string
	variables map[string]any // those that do not change
	brand     placement
	dates     *dates // nil for snapshots
	records   recordsPath
	paging    paging
}

// dates say how a range of days is asked for.
type dates struct {
	from, to []string // places among the variables
	format   string   // of time.Layout
	// endNextDay sends the day after the last one as the end.
	endNextDay bool
}

// clientIDColumn holds the brand that a record was asked for. It is in every
// stream, in its key, also of sources without brands, where it is "".
const clientIDColumn = "fospha_client_id"

// docs is the one page of the API's documentation that is known; the metric and
// dimension names of the presets come from helpPages.
const (
	docs      = "https://api-docs.uk.fospha.com/types/Query"
	helpPages = "https://help.fospha.com/en/articles/6766699-metrics-dimension-definitions"
)

// Defaults of window streams: the span of the vendor's own daily feed to a
// partner for the lookback (Prism, Fospha x Smartly), a day for the newest, which
// is partly predicted (Data validation checklist). The slice is a choice of ours,
// so that yesterday lands every morning; so is the weekly look at the last 90
// days, for new mapping rules and models change older history.
var (
	defaultSlice    = connector.Days(1)
	defaultLookback = connector.Days(14)
	defaultLag      = connector.Days(1)
	deepLookback    = connector.Days(90)
	deepEvery       = connector.Days(7)
)

//go:embed presets/performance_daily.graphql
var performanceDaily string

// unverified marks what no account has confirmed.
const unverified = "Unverified preset: field names and arguments are composed, not Fospha's published ones."

// presetConfigs are the presets as somebody could write them in the settings.
func presetConfigs() []streamConfig {
	text := func(name, path, about, page string) columnConfig {
		return columnConfig{Name: name, Type: connector.TypeText, Path: path, Description: about + " [" + page + "]"}
	}
	number := func(name, path, about, page string) columnConfig {
		return columnConfig{Name: name, Type: connector.TypeNumeric, Path: path, Description: about + " [" + page + "]"}
	}
	const (
		definitions = "Metrics & Dimension Definitions; spelling composed"
		custom      = "How to build Custom Metrics; spelling composed"
		prism       = "Prism (Fospha x Smartly); spelling composed"
	)
	return []streamConfig{{
		Name:        "performance_daily",
		Description: "Attributed performance by day, market, channel, source and campaign. " + unverified,
		Mode:        connector.ModeWindow,
		Query:       performanceDaily,
		Operation:   "Performance",
		Dates:       &datesConfig{From: "from", To: "to"},
		RecordsPath: "data.performance.rows",
		Paging:      &pagingConfig{By: byOffset, TotalPath: "data.performance.metadata.totalRows"},
		PrimaryKey:  []string{"date", "market", "channel_group", "source", "campaign"},
		TimeColumn:  "date",
		Columns: []columnConfig{
			{Name: "date", Type: connector.TypeDate, Description: "Day of activity; the zone of its bounds is not published [" + definitions + "]"},
			text("market", "", "Selling region, as agreed at onboarding", definitions),
			text("channel_group", "channelGroup", "Grouped medium after Fospha's own source rules", definitions),
			text("source", "", "Platform", definitions),
			text("campaign", "", "Campaign, from utm_campaign and the ad platform", definitions),
			number("cost", "", "Spend, from the ad platforms", custom),
			number("impressions", "", "Impressions, from the ad platforms", custom),
			number("clicks", "", "Clicks, from the ad platforms", custom),
			number("visits", "", "Sessions", custom),
			number("conversions", "", "Conversions attributed by Fospha's model; fractions", custom),
			number("new_conversions", "newConversions", "New-customer conversions attributed by Fospha's model; fractions", prism),
			number("revenue", "", "Revenue attributed by Fospha's model", custom),
		},
	}}
}

func preset(name string) (streamConfig, bool) {
	all := presetConfigs()
	i := slices.IndexFunc(all, func(p streamConfig) bool { return p.Name == name })
	if i < 0 {
		return streamConfig{}, false
	}
	return all[i], true
}

// presets are the presets with default settings.
func presets() []stream {
	all, problems := defaults().makeStreams()
	if len(problems) > 0 {
		panic("fospha: a preset is wrong: " + strings.Join(problems, "; "))
	}
	return all
}

// makeStreams makes the streams of the settings, then the presets that no stream
// replaces by its name, which are read only when they are named.
func (c config) makeStreams() (all []stream, problems []string) {
	seen := map[string]bool{}
	for _, sc := range c.Streams {
		if seen[sc.Name] {
			problems = append(problems, fmt.Sprintf("streams.%s: declared twice", sc.Name))
			continue
		}
		seen[sc.Name] = true
		base, known := preset(sc.Preset)
		if sc.Preset != "" && !known {
			problems = append(problems, fmt.Sprintf("streams.%s.preset: no preset %q; there is performance_daily", sc.Name, sc.Preset))
			continue
		}
		st, bad := c.makeStream(sc.over(base))
		all, problems = append(all, st), append(problems, bad...)
	}
	for _, p := range presetConfigs() {
		if !seen[p.Name] {
			st, bad := c.makeStream(p)
			st.Optional = true
			all, problems = append(all, st), append(problems, bad...)
		}
	}
	return all, problems
}

// over returns sc with what it leaves out taken from base.
func (sc streamConfig) over(base streamConfig) streamConfig {
	sc.Description = cmp.Or(sc.Description, base.Description)
	sc.Mode = cmp.Or(sc.Mode, base.Mode)
	if sc.Query == "" {
		sc.Query, sc.Operation = base.Query, cmp.Or(sc.Operation, base.Operation)
	}
	if len(sc.Variables) == 0 {
		sc.Variables = base.Variables
	}
	sc.Dates = cmp.Or(sc.Dates, base.Dates)
	sc.RecordsPath = cmp.Or(sc.RecordsPath, base.RecordsPath)
	sc.Paging = cmp.Or(sc.Paging, base.Paging)
	if len(sc.PrimaryKey) == 0 {
		sc.PrimaryKey = base.PrimaryKey
	}
	sc.TimeColumn = cmp.Or(sc.TimeColumn, base.TimeColumn)
	if len(sc.Columns) == 0 {
		sc.Columns = base.Columns
	}
	return sc
}

// makeStream makes one stream and returns what is wrong with its declaration.
func (c config) makeStream(sc streamConfig) (st stream, problems []string) {
	bad := func(format string, args ...any) {
		problems = append(problems, "streams."+sc.Name+fmt.Sprintf(format, args...))
	}
	st = stream{
		Stream: connector.Stream{
			Name:            sc.Name,
			Description:     cmp.Or(sc.Description, "Declared in the settings."),
			DocsURL:         helpPages,
			Mode:            cmp.Or(sc.Mode, connector.ModeWindow),
			PrimaryKey:      append([]string{clientIDColumn}, sc.PrimaryKey...),
			PartitionColumn: clientIDColumn,
			Columns: []connector.Column{{
				Name: clientIDColumn, Type: connector.TypeText,
				Description: "Brand that the record was asked for; empty without brands [added from the request]",
			}},
		},
		query:     sc.Query,
		operation: sc.Operation,
	}
	for _, col := range sc.Columns {
		column := connector.Column{Name: col.Name, Type: col.Type, Formats: col.Formats, Description: col.Description, Personal: col.Personal}
		if col.Path != "" {
			column.Path = strings.Split(col.Path, ".")
		}
		st.Columns = append(st.Columns, column)
	}
	if strings.TrimSpace(sc.Query) == "" {
		bad(".query: missing")
	}
	var err error
	if st.variables, err = readVariables(sc.Variables); err != nil {
		bad(".variables: %v", err)
	}
	if st.brand, err = c.placement(cmp.Or(sc.ClientIDLocation, c.ClientIDLocation)); err != nil {
		bad(".client_id_location: %v", err)
	}
	if st.records, err = parseRecordsPath(sc.RecordsPath); err != nil {
		bad(".records_path: %v", err)
	}
	if st.paging, err = parsePaging(sc.Paging); err != nil {
		bad(".paging: %v", err)
	}
	if len(sc.PrimaryKey) == 0 {
		bad(".primary_key: missing; it is all dimensions that the query selects")
	}
	switch st.Mode {
	case connector.ModeWindow:
		st.TimeColumn = sc.TimeColumn
		st.DeepLookback, st.DeepEvery = deepLookback, deepEvery
		st.Slice, st.Lookback, st.Lag = spanOr(sc.Slice, defaultSlice), spanOr(sc.Lookback, defaultLookback), spanOr(sc.Lag, defaultLag)
		if sc.TimeColumn == "" {
			bad(".time_column: missing; without it rows that Fospha moves elsewhere stay as ghosts")
		}
		if st.dates, err = parseDates(sc.Dates); err != nil {
			bad(".dates: %v", err)
		}
	case connector.ModeSnapshot:
		if sc.Slice != nil || sc.Lookback != nil || sc.Lag != nil || sc.Dates != nil || sc.TimeColumn != "" {
			bad(": slice, lookback, lag, dates and time_column belong to mode window")
		}
	default:
		bad(".mode: %q: want window or snapshot", st.Mode)
		return st, problems
	}
	if err := st.Validate(); err != nil {
		for line := range strings.Lines(err.Error()) {
			problems = append(problems, strings.TrimSpace(line))
		}
	}
	return st, problems
}

func spanOr(given *connector.Span, byDefault connector.Span) connector.Span {
	if given == nil {
		return byDefault
	}
	return *given
}

// readVariables reads the variables that do not change. Numbers keep their
// spelling.
func readVariables(raw json.RawMessage) (map[string]any, error) {
	variables := map[string]any{}
	if len(raw) == 0 {
		return variables, nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&variables); err != nil || variables == nil {
		return map[string]any{}, fmt.Errorf("want an object")
	}
	return variables, nil
}

func parseDates(d *datesConfig) (*dates, error) {
	if d == nil {
		return nil, fmt.Errorf("missing; want the variables from and to")
	}
	if !variablePath.MatchString(d.From) || !variablePath.MatchString(d.To) || d.From == d.To {
		return nil, fmt.Errorf("from %q, to %q: want two variables", d.From, d.To)
	}
	format := cmp.Or(d.Format, time.DateOnly)
	// A layout without year, month or day would ask for something else than the day meant.
	day := time.Date(2031, time.November, 23, 0, 0, 0, 0, time.UTC)
	if back, err := time.Parse(format, day.Format(format)); err != nil || !back.Equal(day) {
		return nil, fmt.Errorf("format %q: want the day 2 January 2006 as the API wants days, such as 2006-01-02", format)
	}
	end := cmp.Or(d.End, endNextDay)
	if end != endNextDay && end != endSameDay {
		return nil, fmt.Errorf("end %q: want next_day or same_day", end)
	}
	return &dates{from: strings.Split(d.From, "."), to: strings.Split(d.To, "."), format: format, endNextDay: end == endNextDay}, nil
}
