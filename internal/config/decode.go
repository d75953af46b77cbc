package config

import (
	"encoding/json"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/winchdata/winch/pkg/connector"
)

// A decoder turns merged values into a Config and collects what is wrong.
type decoder struct {
	options  Options
	values   map[string]any
	origins  *origins
	env      *environment
	schemas  map[string]*settingsSchema // by connector; nil where there is none
	unknown  []string                   // connectors that are not known
	problems Problems
	reported map[string]bool // path ids of what problems are about
}

func (d *decoder) bad(p path, value, message, fix string) {
	d.reported[p.id()] = true
	at := d.origins.of(p)
	at.Value, at.Message, at.Fix = shown(value), message, fix
	d.problems = append(d.problems, at)
}

func (d *decoder) config(file string) *Config {
	d.checkTable(nil, fileKeys, d.values)
	c := &Config{Path: file, Log: Log{Level: slog.LevelWarn, Format: "text"}, Telemetry: Telemetry{OTLPEndpoint: d.endpoint(), Sample: d.sample(), Lineage: d.lineage()}}
	c.Sink = d.sink()
	c.Serve = d.serve()
	c.Alerts = d.alerts()
	c.History = d.history()
	sources, _ := d.values["sources"].(map[string]any)
	for _, name := range d.origins.inOrder(path{"sources"}, sources) {
		if isTable(sources[name]) {
			c.Sources = append(c.Sources, d.source(name))
		}
	}
	c.Plugins.Directories = d.pluginDirectories()
	c.Plugins.Checksums = d.checksums()
	if text, ok := d.text(path{"log", "level"}); ok {
		// The text is one of levels, or reported already: then the default stays.
		_ = c.Log.Level.UnmarshalText([]byte(text))
	}
	c.Log.Levels = d.levels()
	if text, ok := d.text(path{"log", "format"}); ok {
		c.Log.Format = text
	}
	return c
}

func (d *decoder) sink() Sink {
	p := path{"sink", "url"}
	text, ok := d.text(p)
	if !ok {
		text = DefaultSink
	}
	t := &template{at: d.origins.of(p), dir: d.origins.dir, env: d.env}
	if ok {
		t.dir = d.origins.dirOf(p)
	}
	parts, err := parseReferences(text)
	if err != nil {
		d.bad(p, redacted, err.Error(), referenceForms)
	} else if err := checkSinkURL(parts, t.dir); err != nil {
		d.bad(p, redacted, err.Error(), "")
	}
	t.parts = parts
	return Sink{hide(t)}
}

func (d *decoder) endpoint() string {
	p := path{"telemetry", "otlp_endpoint"}
	text, ok := d.text(p)
	if !ok {
		return ""
	}
	u, err := url.Parse(text)
	switch {
	case err == nil && u.User != nil, err != nil && strings.Contains(text, "@"):
		d.bad(p, redacted, "credentials do not belong in the URL", "give them in OTEL_EXPORTER_OTLP_HEADERS")
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		d.bad(p, text, "want a URL such as http://localhost:4318", "")
	}
	return text
}

func (d *decoder) history() connector.Span {
	if span := d.span(path{"retention", "history"}, "want a span such as 90d or 13mo, or 0 to keep everything", notNegative); span != nil {
		return *span
	}
	return defaultHistory
}

func (d *decoder) sample() *float64 {
	p := path{"telemetry", "sample"}
	text, ok := d.text(p)
	if !ok {
		return nil
	}
	share, err := strconv.ParseFloat(text, 64)
	if err != nil || !(share >= 0 && share <= 1) {
		d.bad(p, text, "want a share from 0 to 1", "0.1 records one run in ten")
		return nil
	}
	return &share
}

func (d *decoder) levels() map[string]slog.Level {
	p := path{"log", "levels"}
	v, _ := lookup(d.values, p)
	table, _ := v.(map[string]any)
	levels := make(map[string]slog.Level, len(table))
	for _, name := range slices.Sorted(maps.Keys(table)) {
		if !slices.Contains(LogPackages, name) {
			d.bad(p.key(name), "", "no part of the program logs under this name", "one of "+strings.Join(LogPackages, ", "))
			continue
		}
		text, ok := d.text(p.key(name))
		var level slog.Level
		if ok && level.UnmarshalText([]byte(text)) != nil {
			d.bad(p.key(name), text, "not a level", "debug, info, warn or error")
		}
		levels[name] = level
	}
	return levels
}

var checksum = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)

func (d *decoder) checksums() map[string]string {
	p := path{"plugins", "checksums"}
	v, _ := lookup(d.values, p)
	table, _ := v.(map[string]any)
	sums := make(map[string]string, len(table))
	for _, name := range slices.Sorted(maps.Keys(table)) {
		if !connector.ValidName(name) {
			d.bad(p.key(name), "", "not the name of a connector", "want lower case letters, digits and underscores, a letter first")
		}
		text, ok := d.text(p.key(name))
		if ok && !checksum.MatchString(text) {
			d.bad(p.key(name), text, "want a SHA-256 sum: 64 hexadecimal digits", "sha256sum prints it")
		}
		sums[name] = strings.ToLower(text)
	}
	return sums
}

func (d *decoder) source(name string) *Source {
	p := path{"sources", name}
	s := &Source{
		Name: name, Enabled: true, Location: time.UTC,
		Overlap: OverlapSkip, CatchUp: CatchUpOnce, Order: OrderNewest, origins: d.origins,
	}
	if reason := reservedName(name); reason != "" {
		d.bad(p, "", "a source cannot have this name: "+reason, "rename it")
	}
	if s.Connector = d.connector(p); s.Connector == "" {
		s.Connector = "?"
	}
	s.settings = hide(d.settings(p.key("config"), s.Connector))
	if v, ok := lookup(d.values, p.key("enabled")); ok {
		s.Enabled, _ = v.(bool)
	}
	if text, ok := d.text(p.key("timezone")); ok {
		s.Location = d.location(p.key("timezone"), text)
	}
	s.Schedule = d.schedule(p.key("schedule"), s.Location)
	s.DeepSchedule = d.schedule(p.key("deep_schedule"), s.Location)
	s.Jitter = d.duration(p.key("jitter"), 0)
	if text, ok := d.text(p.key("overlap")); ok {
		s.Overlap = Overlap(text)
	}
	if text, ok := d.text(p.key("catch_up")); ok {
		s.CatchUp = CatchUp(text)
	}
	s.budget, _ = d.text(p.key("budget"))
	if since := d.since(p.key("since"), s.Location); since != nil {
		s.Since = *since
	}
	s.Tolerance = d.tolerance(p)
	s.LookbackEvery = d.span(p.key("lookback_every"), wantEvery, notNegative)
	if text, ok := d.text(p.key("order")); ok {
		s.Order = Order(text)
	}
	d.streams(s, p.key("streams"))
	return s
}

func (d *decoder) connector(p path) string {
	at := p.key("connector")
	text, ok := d.text(at)
	if !ok {
		if _, given := lookup(d.values, at); !given {
			d.bad(p, "", "the source names no connector", "add connector:"+among(d.options.Names))
		}
		return ""
	}
	d.schemaOf(text)
	switch {
	case !connector.ValidName(text):
		d.bad(at, text, "not the name of a connector", didYouMean(text, d.options.Names))
	case d.isUnknown(text) && !d.installed(text):
		fix := didYouMean(text, d.options.Names)
		if near(text, d.options.Names) == "" {
			fix = strings.TrimPrefix(fix+"; put winch-connector-"+text+" into one of plugins.directories", "; ")
		}
		d.bad(at, text, "there is no such connector", fix)
	}
	return text
}

// pluginDirectories are where connectors that are not bundled lie.
func (d *decoder) pluginDirectories() []string {
	at := path{"plugins", "directories"}
	dirs := d.list(at)
	for i, dir := range dirs {
		dirs[i] = relativeTo(d.origins.dirOf(at), dir)
	}
	return dirs
}

// installed reports whether a plugin directory holds the connector. Its settings
// are checked by itself, when it is started.
func (d *decoder) installed(connector string) bool {
	return slices.ContainsFunc(d.pluginDirectories(), func(dir string) bool {
		info, err := os.Stat(filepath.Join(dir, "winch-connector-"+connector))
		return err == nil && info.Mode().IsRegular()
	})
}

func among(names []string) string {
	if len(names) == 0 || len(names) > 20 {
		return ""
	}
	return " with " + choose(slices.Sorted(slices.Values(names)))
}

func (d *decoder) settings(p path, connector string) *settings {
	v, _ := lookup(d.values, p)
	values, ok := v.(map[string]any)
	if !ok {
		values = map[string]any{}
	}
	s, problems := newSettings(p, values, d.schemaOf(connector), d.origins, d.env)
	d.problems = append(d.problems, problems...)
	if v == nil || ok {
		d.problems = append(d.problems, s.check()...)
	}
	return s
}

func (d *decoder) location(p path, text string) *time.Location {
	loc, err := time.LoadLocation(text)
	if err != nil || text == "" || text == "Local" {
		d.bad(p, text, "want an IANA time zone such as Europe/Stockholm or UTC", "")
		return time.UTC
	}
	return loc
}

func (d *decoder) since(p path, loc *time.Location) *time.Time {
	text, ok := d.text(p)
	if !ok {
		return nil
	}
	t, err := parseSince(text, loc)
	if err != nil {
		d.bad(p, text, err.Error(), "")
	}
	return &t
}

func (d *decoder) streams(s *Source, p path) {
	v, _ := lookup(d.values, p)
	seen := map[string]bool{}
	switch v := v.(type) {
	case []any:
		for i, name := range d.list(p) {
			if seen[name] {
				d.bad(p.item(i), name, "the stream is named twice", "remove one of them")
			}
			seen[name] = true
			s.streams = append(s.streams, stream{name: name, at: p.item(i), enabled: true})
		}
		if s.named = true; len(v) == 0 {
			d.bad(p, "", "no stream is named", "remove the key to pull all that the connector does not mark as optional")
		}
	case map[string]any:
		s.named = len(v) > 0
		for _, name := range d.origins.inOrder(p, v) {
			s.streams = append(s.streams, d.stream(p.key(name), name, s.Location))
		}
		if s.named && !slices.ContainsFunc(s.streams, func(s stream) bool { return s.enabled }) {
			d.bad(p, "", "no stream is left to pull", "name those to pull: naming streams selects them alone")
		}
	}
}

func (d *decoder) stream(p path, name string, loc *time.Location) stream {
	s := stream{name: name, at: p, enabled: true}
	if v, ok := lookup(d.values, p.key("enabled")); ok {
		s.enabled, _ = v.(bool)
	}
	s.slice = d.span(p.key("slice"), "want a positive span such as 1h, 1d or 1mo", connector.Span.Positive)
	s.deepLookback = d.span(p.key("deep_lookback"), "want a positive span such as 90d or 6mo", connector.Span.Positive)
	s.schedule = d.schedule(p.key("schedule"), loc)
	s.lookback = d.span(p.key("lookback"), "want a span such as 7d, 1mo or 0", notNegative)
	s.lookbackEvery = d.span(p.key("lookback_every"), wantEvery, notNegative)
	s.lag = d.span(p.key("lag"), "want a span such as 1h, 1d or -1d", func(connector.Span) bool { return true })
	s.vanishBrake = d.percent(p.key("vanish_brake"))
	s.since = d.since(p.key("since"), loc)
	s.tolerance = d.tolerance(p)
	s.freshness = d.span(p.key("freshness"), "want a positive span such as 26h or 2d", connector.Span.Positive)
	if text, ok := d.text(p.key("order")); ok {
		s.order = Order(text)
	}
	s.split, _ = d.text(p.key("split")) // one of the choices, or reported already
	return s
}

const wantEvery = "want a span such as 6h, 1d or 0"

func notNegative(s connector.Span) bool { return s.IsZero() || s.Positive() }

// percent reads a share such as 30% as a part of one.
func (d *decoder) percent(p path) *float64 {
	text, ok := d.text(p)
	if !ok {
		return nil
	}
	number, isPercent := strings.CutSuffix(text, "%")
	share, err := strconv.ParseFloat(number, 64)
	if err != nil || !isPercent || share < 0 || share > 100 {
		d.bad(p, text, "want a share from 0% to 100%", "")
	}
	share /= 100
	return &share
}

func (d *decoder) span(p path, want string, good func(connector.Span) bool) *connector.Span {
	text, ok := d.text(p)
	if !ok {
		return nil
	}
	span, err := connector.ParseSpan(text)
	if err != nil || !good(span) {
		d.bad(p, text, want, "")
	}
	return &span
}

// text returns the scalar at p as text. It is false where there is none, or one
// that is reported as wrong already.
func (d *decoder) text(p path) (string, bool) {
	v, _ := lookup(d.values, p)
	text, ok := scalar(v)
	return text, ok && !d.reported[p.id()]
}

func (d *decoder) list(p path) []string {
	v, _ := lookup(d.values, p)
	items, _ := v.([]any)
	var list []string
	for _, item := range items {
		if text, ok := scalar(item); ok {
			list = append(list, text)
		}
	}
	return list
}

func isTable(v any) bool {
	if v == nil {
		return true
	}
	_, ok := v.(map[string]any)
	return ok
}

// scalar is the text of a scalar. Numbers and booleans count: what a text key
// wants is checked by its content.
func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}
