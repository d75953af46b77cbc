package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/pkg/connector"
)

func windowStream(name string) connector.Stream {
	return connector.Stream{
		Name: name, Mode: connector.ModeWindow, PrimaryKey: []string{"id"},
		Columns: []connector.Column{{Name: "id", Type: connector.TypeBigint}},
		Slice:   connector.Days(1), Lookback: connector.Days(3), Lag: connector.Span{Clock: time.Hour},
	}
}

func offered() []connector.Stream {
	customers := connector.Stream{Name: "customers", Mode: connector.ModeSnapshot}
	events := connector.Stream{Name: "events", Mode: connector.ModeCursor}
	widgets := windowStream("widgets")
	widgets.Optional = true
	return []connector.Stream{customers, windowStream("calls"), events, widgets}
}

func TestSelectTakesDefaultStreamsUnlessSomeAreNamed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ streams, want string }{
		{"", "customers calls events"},
		{"streams:", "customers calls events"},
		{"streams: {}", "customers calls events"},
		{"streams: [widgets, calls]", "widgets calls"},
		{"streams: {widgets: {}, calls: {lag: 0}, events:, customers: {enabled: false}}", "widgets calls events"},
	} {
		cfg := loadString(t, testOptions(t), "sources:\n  a:\n    connector: free\n    "+c.streams)
		selected, err := cfg.Sources[0].Select(offered())
		if err != nil {
			t.Errorf("%s: %v", c.streams, err)
		}
		var names []string
		for _, s := range selected {
			names = append(names, s.Stream.Name)
		}
		if diff := cmp.Diff(c.want, strings.Join(names, " ")); diff != "" {
			t.Errorf("%s: %s", c.streams, diff)
		}
	}
}

func TestSelectedSettingsAreTheConfigurationsThenTheConnectors(t *testing.T) {
	t.Parallel()
	c := loadString(t, testOptions(t), `
sources:
  a:
    connector: free
    timezone: Europe/Stockholm
    since: 2025-01-01
    streams:
      widgets: {slice: 1mo, lookback: 0, lookback_every: 12h, lag: -1d, since: 2025-06-01, order: oldest, vanish_brake: 50%}
      calls:
`)
	got, err := c.Sources[0].Select(offered())
	if err != nil {
		t.Fatal(err)
	}
	loc := c.Sources[0].Location
	widgets := offered()[3]
	want := []Selected{
		{widgets, connector.Span{Months: 1}, connector.Span{}, connector.Days(-1), time.Date(2025, 6, 1, 0, 0, 0, 0, loc), Tolerance{}, &connector.Span{Clock: 12 * time.Hour}, OrderOldest, new(0.5), ""},
		{windowStream("calls"), connector.Days(1), connector.Days(3), connector.Span{Clock: time.Hour}, time.Date(2025, 1, 1, 0, 0, 0, 0, loc), Tolerance{}, nil, OrderNewest, nil, ""},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSelectNamesUnknownStreamsAndSettingsWithoutMeaning(t *testing.T) {
	t.Parallel()
	c := loadString(t, testOptions(t), `sources:
  list:
    connector: shop
    config: {client_id: a, client_secret: long-enough}
    streams:
      - calls
      - cals
      - invoices
  table:
    connector: free
    streams:
      customer: {}
      customers: {lookback: 7d, since: 2025-01-01, split: month}
      events: {slice: 1d, since: 2025-01-01}
`)
	for i, want := range [][]string{
		{
			`winch.yaml:7: sources.list.streams: "cals": the connector shop has no such stream; did you mean calls?`,
			`winch.yaml:8: sources.list.streams: "invoices": the connector shop has no such stream; known: calls, customers, events, widgets`,
		},
		{
			`winch.yaml:12: sources.table.streams: "customer": the connector free has no such stream; did you mean customers?`,
			`winch.yaml:13: sources.table.streams.customers.lookback: has no meaning for a snapshot stream; remove it`,
			`winch.yaml:13: sources.table.streams.customers.since: has no meaning for a snapshot stream; remove it`,
			`winch.yaml:13: sources.table.streams.customers.split: has no meaning for a snapshot stream; remove it`,
			`winch.yaml:14: sources.table.streams.events.slice: has no meaning for a cursor stream; remove it`,
		},
	} {
		_, err := c.Sources[i].Select(offered())
		if err == nil {
			t.Fatalf("%s: no problem", c.Sources[i])
		}
		if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
			t.Error(diff)
		}
	}
}

func TestToleranceOfAStreamIsItsOwnThenTheSources(t *testing.T) {
	t.Parallel()
	c := loadString(t, testOptions(t), `
sources:
  a:
    connector: free
    schema: freeze
    quarantine: {limit: 5, share: 12.5%}
    streams:
      widgets: {quarantine: {limit: 0}}
      calls: {quarantine: {share: 100%}, schema: quarantine}
      events:
`)
	got, err := c.Sources[0].Select(offered())
	if err != nil {
		t.Fatal(err)
	}
	number := func(n int64) *int64 { return &n }
	share := func(f float64) *float64 { return &f }
	want := []Tolerance{{"freeze", number(0), share(0.125)}, {"quarantine", number(5), share(1)}, {"freeze", number(5), share(0.125)}}
	for i, w := range want {
		if diff := cmp.Diff(w, got[i].Tolerance); diff != "" {
			t.Errorf("%s: %s", got[i].Stream.Name, diff)
		}
	}
}
