package config

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/winchdata/winch/pkg/connector"
)

// DefaultSink is the sink of a configuration that names none.
const DefaultSink = "sqlite:winch.db"

// A Config is a loaded configuration. It prints without its content: settings of
// connectors and the sink's URL can hold secrets.
type Config struct {
	// Path is the file it was read from, empty if there was none.
	Path string
	Sink Sink
	// Sources are in the order of the file, the disabled among them.
	Sources []*Source
	Serve   Serve
	// History is how long what only tells of the past is kept; zero: for ever.
	History   connector.Span
	Telemetry Telemetry
	// Alerts are in the order of the file.
	Alerts  []Alert
	Plugins Plugins
	Log     Log
}

// A Sink says where rows land; Resolve gives the URL.
type Sink struct{ url hidden[template] }

// DefaultListen is where health and the web page are served unless the
// configuration says otherwise: nobody but this machine can reach it.
const DefaultListen = "127.0.0.1:8420"

// defaultHistory is how long history is kept unless the configuration says: long
// enough to compare a month with that of the year before.
var defaultHistory = connector.Days(400)

// Serve says how winch serve runs.
type Serve struct {
	// Listen is a host and a port.
	Listen string
	// Grace is how long a shutdown waits for the slices that are being read.
	Grace time.Duration
	// StuckAfter is after how long without progress a slice is given up.
	StuckAfter time.Duration
}

// Telemetry says where traces, metrics and lineage go.
type Telemetry struct {
	// OTLPEndpoint is an http or https URL without credentials, or empty.
	OTLPEndpoint string
	// Sample is the share of traces that are recorded, from 0 to 1; nil if the
	// configuration does not say.
	Sample  *float64
	Lineage Lineage
}

// Plugins says which connectors may be launched besides the bundled ones.
type Plugins struct {
	// Directories hold winch-connector-NAME executables.
	Directories []string
	// Checksums are SHA-256 sums in lower case hexadecimal, by connector name.
	Checksums map[string]string
}

// Log says what is logged.
type Log struct {
	Level slog.Level
	// Levels are those of single packages, by name.
	Levels map[string]slog.Level
	Format string // text or json
}

// LogPackages are the names that Log.Levels may have.
var LogPackages = []string{"agent", "plugin", "pull", "scheduler", "telemetry"}

// Overlap says what happens to a tick while the pull before is still running.
type Overlap string

// The ways to treat an overlap.
const (
	OverlapSkip  Overlap = "skip"
	OverlapQueue Overlap = "queue"
)

// CatchUp says what happens to ticks that were missed while no agent was running.
type CatchUp string

// The ways to catch up.
const (
	CatchUpOnce CatchUp = "once"
	CatchUpAll  CatchUp = "all"
	CatchUpNone CatchUp = "none"
)

// Order says which slices of a stream a pull reads first.
type Order string

// The orders.
const (
	OrderNewest Order = "newest"
	OrderOldest Order = "oldest"
)

// A Source is one configured account. Its connector's settings come from Resolve,
// its streams from Select.
type Source struct {
	Name      string
	Connector string
	// Enabled is whether the source is pulled when no source is named.
	Enabled bool
	// Schedule is zero if the source is pulled by hand only.
	Schedule Schedule
	// DeepSchedule is when the deep re-read takes place; zero if each pull does
	// its part of it.
	DeepSchedule Schedule
	// Location is the time zone of the schedules and Since, and in which days begin.
	Location *time.Location
	// Jitter is the longest delay of a scheduled pull.
	Jitter  time.Duration
	Overlap Overlap
	CatchUp CatchUp
	// Since is the earliest moment wanted; zero if the configuration has none.
	Since time.Time
	// Tolerance is for streams that have none of their own.
	Tolerance Tolerance
	// LookbackEvery and Order hold for the streams that do not say otherwise.
	// LookbackEvery is nil if the configuration does not say.
	LookbackEvery *connector.Span
	Order         Order

	budget   string // as configured; see SharedBudget
	settings hidden[settings]
	streams  []stream
	named    bool // streams were named, so the connector's default does not count
	origins  *origins
}

// hidden keeps a value from being printed. A pointer would not do: where a verb
// does not fit, as %s in a struct with an unexported field, fmt prints what it
// points to. Of a function it prints the address.
type hidden[T any] func() *T

func hide[T any](v *T) hidden[T] { return func() *T { return v } }

// A stream is an entry under streams of a source.
type stream struct {
	name                 string
	at                   path
	enabled              bool
	slice, lookback, lag *connector.Span
	deepLookback         *connector.Span
	vanishBrake          *float64
	schedule             Schedule
	tolerance            Tolerance
	lookbackEvery        *connector.Span
	since                *time.Time
	order                Order
	freshness            *connector.Span
	split                string
}

// String says which sources there are, and nothing that could be a secret.
func (c *Config) String() string {
	names := make([]string, len(c.Sources))
	for i, s := range c.Sources {
		names[i] = s.Name
	}
	return fmt.Sprintf("config %s: sources [%s]", c.Path, strings.Join(names, " "))
}

// GoString is String.
func (c *Config) GoString() string { return c.String() }

// LogValue is the file and the names of the sources.
func (c *Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalJSON writes String.
func (c *Config) MarshalJSON() ([]byte, error) { return json.Marshal(c.String()) }

// String is the name of the source and of its connector.
func (s *Source) String() string { return fmt.Sprintf("source %s (%s)", s.Name, s.Connector) }

// GoString is String.
func (s *Source) GoString() string { return s.String() }

// LogValue is String.
func (s *Source) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON writes String.
func (s *Source) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// String hides the URL.
func (Sink) String() string { return "sink " + redacted }

// GoString hides the URL.
func (Sink) GoString() string { return "sink " + redacted }

// Source returns the source with the given name, or Problems that name the
// nearest one.
func (c *Config) Source(name string) (*Source, error) {
	s, p := c.find(name)
	if s == nil {
		return nil, Problems{p}
	}
	return s, nil
}

func (c *Config) find(name string) (*Source, Problem) {
	names := make([]string, len(c.Sources))
	for i, s := range c.Sources {
		if s.Name == name {
			return s, Problem{}
		}
		names[i] = s.Name
	}
	fix := didYouMean(name, names)
	if len(names) == 0 {
		fix = "the configuration has no sources: add one as winch init CONNECTOR writes it"
	}
	return nil, Problem{Key: "sources", File: c.Path, Value: shown(name), Message: "no source has this name", Fix: fix}
}

// Pick returns the named sources in the order given, each once, or all enabled
// ones if no name is given. All unknown names are reported at once, as Problems.
func (c *Config) Pick(names ...string) ([]*Source, error) {
	var picked []*Source
	if len(names) == 0 {
		for _, s := range c.Sources {
			if s.Enabled {
				picked = append(picked, s)
			}
		}
		return picked, nil
	}
	var problems Problems
	seen := map[string]bool{}
	for _, name := range names {
		if seen[name] {
			continue
		}
		seen[name] = true
		s, p := c.find(name)
		if s == nil {
			problems = append(problems, p)
			continue
		}
		picked = append(picked, s)
	}
	if err := problems.err(); err != nil {
		return nil, err
	}
	return picked, nil
}
