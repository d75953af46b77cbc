package generic

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/winchdata/winch/configs"
	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/rest"
)

// config is the settings; config.schema.json describes each.
type config struct {
	Preset       string          `json:"preset"`
	Manifest     json.RawMessage `json:"manifest"`
	ManifestFile string          `json:"manifest_file"`

	ClientID     string           `json:"client_id"`
	ClientSecret connector.Secret `json:"client_secret"`
	BaseURL      string           `json:"base_url"`
	TokenURL     string           `json:"token_url"`
	ProxyURL     connector.Secret `json:"proxy_url"`
	GrantType    string           `json:"grant_type"`

	Parameters   map[string]json.RawMessage `json:"parameters"`
	RateLimit    *[]rateLimit               `json:"rate_limit"`
	PersonalData string                     `json:"personal_data"`
	HashSalt     connector.Secret           `json:"hash_salt"`
	Vanished     string                     `json:"vanished"`

	texts map[string]string   // parameters of type text
	lists map[string][]string // parameters of type list
}

// A rateLimit is a window of the setting rate_limit.
type rateLimit struct {
	Requests int            `json:"requests"`
	Per      connector.Span `json:"per"`
}

// The values of settings that name one of several ways.
const (
	personalKeep = "keep"
	personalDrop = "drop"
	personalHash = "hash"
	grantSend    = "send"
	grantOmit    = "omit"
)

// parse reads and validates the settings and the manifest that they name. Its
// error is of KindConfig and names everything that is wrong.
func parse(settings connector.Config) (config, *api, error) {
	cfg := config{PersonalData: personalKeep}
	if err := settings.Decode(&cfg); err != nil {
		return config{}, nil, invalid(fmt.Errorf("%w; see winch connectors generic for the settings", err))
	}
	manifest, err := cfg.manifest()
	if err != nil {
		return config{}, nil, invalid(err)
	}
	if err := cfg.validate(manifest); err != nil {
		return config{}, nil, invalid(err)
	}
	return cfg, manifest, nil
}

func invalid(err error) error {
	return &connector.Error{Kind: connector.KindConfig, Op: "generic settings", Err: err}
}

// manifest reads the one manifest that the settings name.
func (c config) manifest() (*api, error) {
	given := 0
	for _, is := range []bool{c.Preset != "", len(c.Manifest) > 0, c.ManifestFile != ""} {
		if is {
			given++
		}
	}
	if given != 1 {
		return nil, fmt.Errorf("want one of preset (%s), manifest and manifest_file", strings.Join(configs.Presets(), ", "))
	}
	at := func(what string, a *api, err error) (*api, error) {
		if err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		return a, nil
	}
	switch {
	case c.Preset != "":
		text, ok := configs.Preset(c.Preset)
		if !ok {
			return nil, fmt.Errorf("preset: %.60q: want %s", c.Preset, strings.Join(configs.Presets(), " or "))
		}
		a, err := parseManifest(text)
		return at("preset "+c.Preset, a, err)
	case c.ManifestFile != "":
		text, err := os.ReadFile(c.ManifestFile)
		if err != nil {
			return nil, fmt.Errorf("manifest_file: %w", err)
		}
		a, err := parseManifest(text)
		return at("manifest_file "+c.ManifestFile, a, err)
	}
	var text string
	if json.Unmarshal(c.Manifest, &text) == nil {
		a, err := parseManifest([]byte(text))
		return at("manifest", a, err)
	}
	a, err := parseInline(c.Manifest)
	return at("manifest", a, err)
}

// validate returns one error of one line for all problems, in the order of the
// settings, and fills in what the manifest has for those that are not given.
func (c *config) validate(a *api) error {
	var problems []string
	bad := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	oneOf := func(key, value string, allowed ...string) {
		if value != "" && !slices.Contains(allowed, value) {
			bad("%s: %.60q: want %s", key, value, strings.Join(allowed, " or "))
		}
	}
	address := func(key, value string) {
		if u, err := url.Parse(value); value != "" && (err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" ||
			u.User != nil || u.RawQuery != "" || u.Fragment != "") {
			bad("%s: want an address such as https://host/path, without user, query or fragment", key)
		}
	}
	if c.ClientID == "" {
		bad("client_id: missing")
	}
	if c.ClientSecret.IsZero() {
		bad("client_secret: missing")
	}
	address("base_url", c.BaseURL)
	address("token_url", c.TokenURL)
	oneOf("grant_type", c.GrantType, grantSend, grantOmit)
	c.parameters(a, bad)
	if c.RateLimit != nil {
		for i, w := range *c.RateLimit {
			if w.Requests < 1 || w.Requests > maxRate || w.Per.Months != 0 || !w.Per.Positive() {
				bad("rate_limit[%d]: want requests from 1 to %d per a time such as 1m", i, maxRate)
			}
		}
	}
	oneOf("personal_data", c.PersonalData, personalKeep, personalDrop, personalHash)
	if !c.HashSalt.IsZero() && c.PersonalData != personalHash {
		bad("hash_salt: belongs to personal_data: hash")
	}
	oneOf("vanished", c.Vanished, vanishedKeep, vanishedDelete)
	if len(problems) > 0 {
		return errors.New(strings.Join(problems, "; "))
	}
	return nil
}

// parameters reads the values of the manifest's parameters.
func (c *config) parameters(a *api, bad func(format string, args ...any)) {
	c.texts, c.lists = map[string]string{}, map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(c.Parameters)) {
		if a.parameter(name) == nil {
			var names []string
			for _, p := range a.Parameters {
				names = append(names, p.Name)
			}
			bad("parameters.%s: %s has no such parameter; there are: %s", name, a.Name, strings.Join(names, ", "))
		}
	}
	for _, p := range a.Parameters {
		values := p.Default
		if raw, ok := c.Parameters[p.Name]; ok {
			var one string
			switch {
			case p.Type == parameterText && json.Unmarshal(raw, &one) == nil:
				values = []string{one}
			case p.Type == parameterList && json.Unmarshal(raw, &values) == nil:
			default:
				bad("parameters.%s: want a %s", p.Name, map[string]string{parameterText: "text", parameterList: "list of texts"}[p.Type])
				continue
			}
		}
		if len(values) == 0 || slices.Contains(values, "") {
			bad("parameters.%s: missing or empty", p.Name)
			continue
		}
		c.texts[p.Name], c.lists[p.Name] = values[0], values
	}
}

// scope has the values of the parameters for texts in braces.
func (c config) scope() scope {
	values := scope{}
	for name, text := range c.texts {
		values["parameter."+name] = text
	}
	return values
}

// rate returns the limits that hold.
func (c config) rate(a *api) []rest.Window {
	windows := []rest.Window{}
	if c.RateLimit != nil {
		for _, w := range *c.RateLimit {
			windows = append(windows, rest.Window{Requests: w.Requests, Per: duration(w.Per)})
		}
		return windows
	}
	for _, w := range a.Rate.Windows {
		windows = append(windows, rest.Window{Requests: w.Requests, Per: duration(w.Per)})
	}
	return windows
}

// duration is the length of a span without months.
func duration(s connector.Span) time.Duration { return time.Duration(s.Days)*24*time.Hour + s.Clock }

// declarations are the streams as the settings make them.
func (a *api) declarations(cfg config) []connector.Stream {
	declared := make([]connector.Stream, len(a.streams))
	for i, st := range a.streams {
		one := st.Stream
		if st.window != nil && vanished(cfg, st) == vanishedDelete {
			one.TimeColumn = st.window.column.Name
		}
		one.Columns = nil
		for _, c := range st.Columns {
			switch {
			case c.Personal && cfg.PersonalData == personalDrop:
				continue
			case c.Personal && cfg.PersonalData == personalHash && c.Type != connector.TypeJSON:
				c.Type, c.Formats = connector.TypeText, nil
			}
			one.Columns = append(one.Columns, c)
		}
		declared[i] = one
	}
	return declared
}

// vanished says what happens to rows that are no longer reported.
func vanished(cfg config, st *stream) string {
	if cfg.Vanished != "" {
		return cfg.Vanished
	}
	return st.window.spec.Vanished
}
