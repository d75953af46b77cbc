package connectortest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/winchdata/winch/internal/plugin"
	"github.com/winchdata/winch/pkg/connector"
)

// A Candidate is a connector with what it takes to examine it.
type Candidate struct {
	// Definition is a connector in Go. Either it or Path is given.
	Definition connector.Definition
	// Path is an executable, named winch-connector-NAME as it must be to be
	// installed.
	Path string

	// Settings are settings that work, without rate limits that would make the
	// exam wait. The exam changes token_url and base_url alone. Small pages make
	// for a thorough exam: a stream should take three or more.
	Settings map[string]any
	// Vendor answers for the vendor; token_url and base_url are then paths on it.
	// It must behave, give the same data all the time, and take several sources
	// with the same credentials at once. A nil Vendor means that the addresses in
	// the settings are those of a vendor that does.
	Vendor http.Handler
	// Secrets must not come out of the connector (P10), besides the values of
	// settings that the schema marks writeOnly and the tokens that the exam sees.
	Secrets []string

	// AsOf is the moment at which the vendor's data ends; zero means now. The
	// windows to read end before it. One that is days ago lets the exam see
	// whether the connector looks at the clock.
	AsOf time.Time
	// Since is the earliest moment that cursor streams are asked for; zero means
	// everything.
	Since time.Time
	// Streams are the names of the streams to examine; nil means all.
	Streams []string
	// LifetimeField is the name under which the token endpoint's answer says how
	// many seconds a token lives; empty means expires_in.
	LifetimeField string
	// Expired answers a request whose token has ended, as the vendor does; nil
	// means what the vendor itself answers to a token that it never issued.
	Expired http.Handler

	// Checks are the ids of the checks to make; nil means all.
	Checks []string
}

// shortestSecret is the length in bytes below which a text turns up by accident.
const shortestSecret = 6

func (c Candidate) validate() error {
	bad := func(hint, format string, args ...any) error {
		return &connector.Error{Kind: connector.KindConfig, Op: "candidate", Err: fmt.Errorf(format, args...), Hint: hint}
	}
	if (c.Path == "") == (c.Definition.Open == nil) {
		return bad("give one of both", "want either a definition or the path of an executable")
	}
	if _, ok := c.text("base_url"); !ok {
		return bad("every connector accepts base_url and token_url, so that it can be pointed at a gateway such as the exam's",
			"the settings have no base_url")
	}
	for _, key := range []string{"base_url", "token_url"} {
		text, ok := c.text(key)
		if !ok {
			continue
		}
		u, err := url.Parse(text)
		if err != nil || c.Vendor == nil && (u.Host == "" || u.Scheme != "http" && u.Scheme != "https") || u.RawQuery != "" || u.User != nil {
			return bad("an address such as http://127.0.0.1:8700/v1, or a path such as /v1 on the Vendor", "the setting %s is no address of a vendor", key)
		}
	}
	for i, secret := range c.Secrets {
		if len(secret) < shortestSecret {
			return bad("take longer ones for the exam", "secret %d has less than %d characters, which turn up by accident", i+1, shortestSecret)
		}
	}
	for _, id := range c.Checks {
		if !slices.ContainsFunc(Checks(), func(known Check) bool { return known.ID == id }) {
			return bad("one of "+strings.Join(checkIDs(), ", "), "no check is called %q", id)
		}
	}
	return nil
}

func (c Candidate) text(key string) (string, bool) {
	text, ok := c.Settings[key].(string)
	return text, ok && text != ""
}

// name returns the connector's name by which its executable must be called.
func (c Candidate) name() (string, error) {
	name, ok := strings.CutPrefix(filepath.Base(c.Path), plugin.Prefix)
	if !ok {
		return "", &connector.Error{
			Kind: connector.KindConfig, Op: "candidate", Err: fmt.Errorf("%s is not called %sNAME", c.Path, plugin.Prefix),
			Hint: "an executable must be named after its connector, or winch does not find it",
		}
	}
	return name, nil
}

// lifetimePattern finds the lifetime in a token endpoint's answer, also in JSON
// that is in a string.
func (c Candidate) lifetimePattern() *regexp.Regexp {
	field := c.LifetimeField
	if field == "" {
		field = "expires_in"
	}
	return regexp.MustCompile(`(\\*"` + regexp.QuoteMeta(field) + `\\*"\s*:\s*\\*"?)\d+(?:\.\d+)?`)
}

// config returns the settings with other addresses, and any changes on top; a nil
// value removes a key.
func (c Candidate) config(g *gate, changes map[string]any) (connector.Config, error) {
	settings := maps.Clone(c.Settings)
	settings["base_url"] = g.address(g.api)
	if g.token != nil {
		settings["token_url"] = g.address(g.token)
	}
	maps.Copy(settings, changes)
	maps.DeleteFunc(settings, func(_ string, value any) bool { return value == nil })
	raw, err := json.Marshal(settings)
	if err != nil {
		return connector.Config{}, errors.New("the settings cannot be written as JSON")
	}
	return connector.NewConfig(raw), nil
}

// schema is what the exam reads of a configuration schema.
type schema struct {
	Properties map[string]struct {
		WriteOnly bool `json:"writeOnly"`
	} `json:"properties"`
}

// secretSettings returns the values of top-level settings that the schema marks
// as secret.
func (c Candidate) secretSettings(s schema) []string {
	var secrets []string
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		if text, ok := c.text(name); ok && s.Properties[name].WriteOnly && len(text) >= shortestSecret {
			secrets = append(secrets, text)
		}
	}
	return secrets
}
