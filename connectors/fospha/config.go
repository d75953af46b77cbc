package fospha

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/textproto"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/winchdata/winch/pkg/connector"
)

// config is the settings; config.schema.json describes each.
type config struct {
	Region          string           `json:"region"`
	ClientID        string           `json:"client_id"`
	ClientSecret    connector.Secret `json:"client_secret"`
	TokenURL        string           `json:"token_url"`
	TokenParamNames tokenParamNames  `json:"token_param_names"`
	TokenAuthStyle  string           `json:"token_auth_style"`
	Scope           string           `json:"scope"`

	DataURL          string           `json:"data_url"`
	BaseURL          string           `json:"base_url"`
	ProxyURL         connector.Secret `json:"proxy_url"`
	ClientIDs        []string         `json:"fospha_client_ids"`
	ClientIDLocation string           `json:"client_id_location"`
	PartialData      string           `json:"partial_data"`

	RequestsPerSecond int            `json:"requests_per_second"`
	Concurrency       int            `json:"concurrency"`
	Streams           []streamConfig `json:"streams"`

	streams []stream // what Streams and the presets make
}

type tokenParamNames struct {
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
}

// A streamConfig declares a stream. What it leaves out is taken from its preset.
type streamConfig struct {
	Name             string          `json:"name"`
	Preset           string          `json:"preset"`
	Description      string          `json:"description"`
	Mode             connector.Mode  `json:"mode"`
	Query            string          `json:"query"`
	Operation        string          `json:"operation"`
	Variables        json.RawMessage `json:"variables"`
	ClientIDLocation string          `json:"client_id_location"`
	Dates            *datesConfig    `json:"dates"`
	RecordsPath      string          `json:"records_path"`
	Paging           *pagingConfig   `json:"paging"`
	PrimaryKey       []string        `json:"primary_key"`
	TimeColumn       string          `json:"time_column"`
	Slice            *connector.Span `json:"slice"`
	Lookback         *connector.Span `json:"lookback"`
	Lag              *connector.Span `json:"lag"`
	Columns          []columnConfig  `json:"columns"`
}

type datesConfig struct {
	From   string `json:"from"`
	To     string `json:"to"`
	Format string `json:"format"`
	End    string `json:"end"`
}

type pagingConfig struct {
	By           string `json:"by"`
	Variable     string `json:"variable"`
	SizeVariable string `json:"size_variable"`
	Size         int    `json:"size"`
	FirstPage    *int   `json:"first_page"`
	NextPath     string `json:"next_path"`
	TotalPath    string `json:"total_path"`
}

type columnConfig struct {
	Name        string         `json:"name"`
	Type        connector.Type `json:"type"`
	Path        string         `json:"path"`
	Formats     []string       `json:"formats"`
	Description string         `json:"description"`
	Personal    bool           `json:"personal"`
}

// The values of settings that name one of several ways.
const (
	styleBody  = "body"
	styleBasic = "basic"

	inVariable = "variable"
	inHeader   = "header"
	nowhere    = "none"

	partialFail = "fail"
	partialKeep = "keep"

	endNextDay = "next_day"
	endSameDay = "same_day"
)

// tokenURLs are the published ones (OAuth2 Client Credentials Flow). The hosts
// follow no rule, so that of another region cannot be made up.
var tokenURLs = map[string]string{
	"uk": "https://auth.fospha.com/oauth2/token",
	"us": "https://auth.us.fospha.com/oauth2/token",
}

func defaults() config {
	return config{
		TokenParamNames:   tokenParamNames{ClientID: "client_id", ClientSecret: "client_secret"},
		TokenAuthStyle:    styleBody,
		Scope:             "api_data/read",
		ClientIDLocation:  inVariable + ":client",
		PartialData:       partialFail,
		RequestsPerSecond: 1,
		Concurrency:       1,
	}
}

// parse reads and validates the settings. Its error is of KindConfig and names
// everything that is wrong.
func parse(settings connector.Config) (config, error) {
	cfg := defaults()
	if err := settings.Decode(&cfg); err != nil {
		return config{}, invalid(fmt.Errorf("%w; see winch connectors fospha for the settings", err))
	}
	if cfg.TokenURL == "" {
		cfg.TokenURL = tokenURLs[cfg.Region]
	}
	cfg.DataURL = strings.ReplaceAll(cfg.DataURL, "{region}", cfg.Region)
	problems := cfg.validate()
	var bad []string
	cfg.streams, bad = cfg.makeStreams()
	if problems = append(problems, bad...); len(problems) > 0 {
		return config{}, invalid(errors.New(strings.Join(problems, "; ")))
	}
	return cfg, nil
}

func invalid(err error) error {
	return &connector.Error{Kind: connector.KindConfig, Op: "fospha settings", Err: err}
}

var (
	regionName   = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,30}$`)
	variablePath = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$`) // names of the GraphQL specification
	headerName   = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)
)

// validate returns what is wrong with the settings besides the streams, in their
// order.
func (c config) validate() (problems []string) {
	bad := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	oneOf := func(key, value string, allowed ...string) {
		if !slices.Contains(allowed, value) {
			bad("%s: %q: want %s", key, value, strings.Join(allowed, " or "))
		}
	}
	address := func(key, value string) {
		if u, err := url.Parse(value); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" ||
			u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			bad("%s: want an address such as https://host/path, without user, query or fragment", key)
		}
	}

	switch {
	case c.Region == "":
		bad("region: missing; uk or us, or another together with token_url")
	case !regionName.MatchString(c.Region):
		bad("region: %.40q: want a country code such as uk or us", c.Region)
	case c.TokenURL == "":
		bad("token_url: missing; Fospha publishes those of uk and us alone, and they follow no rule")
	}
	if c.ClientID == "" {
		bad("client_id: missing; it is the app_client_id from Fospha support")
	}
	if c.ClientSecret.IsZero() {
		bad("client_secret: missing; it is the app_client_secret from Fospha support")
	}
	if c.TokenURL != "" {
		address("token_url", c.TokenURL)
	}
	names := c.TokenParamNames
	if names.ClientID == "" || names.ClientSecret == "" || names.ClientID == names.ClientSecret {
		bad("token_param_names: want two different names")
	}
	oneOf("token_auth_style", c.TokenAuthStyle, styleBody, styleBasic)
	if c.Scope == "" {
		bad("scope: empty; Fospha demands one")
	}

	if c.DataURL == "" {
		bad("data_url: missing; Fospha does not publish it: ask support")
	} else {
		address("data_url", c.DataURL)
	}
	if c.BaseURL != "" {
		address("base_url", c.BaseURL)
	}
	seen := map[string]bool{}
	for _, id := range c.ClientIDs {
		switch {
		case strings.TrimSpace(id) == "" || id != strings.TrimSpace(id):
			bad("fospha_client_ids: %q: empty, or with space around it", id)
		case seen[id]:
			bad("fospha_client_ids: %q stands twice", id)
		}
		seen[id] = true
	}
	if _, err := c.placement(c.ClientIDLocation); err != nil {
		bad("client_id_location: %v", err)
	}
	oneOf("partial_data", c.PartialData, partialFail, partialKeep)
	if c.RequestsPerSecond < 0 {
		bad("requests_per_second: %d: want 0 (no limit) or more", c.RequestsPerSecond)
	}
	if c.Concurrency < 1 {
		bad("concurrency: %d: want 1 or more", c.Concurrency)
	}
	return problems
}

// A placement says where the fospha_client_id of a brand goes in a request. The
// zero placement is nowhere.
type placement struct {
	variable []string
	header   string
}

// placement reads variable:<name>, header:<name> or none. Brands that the
// requests do not name would each get the same rows.
func (c config) placement(location string) (placement, error) {
	if location == nowhere {
		if len(c.ClientIDs) > 1 {
			return placement{}, fmt.Errorf("none with %d fospha_client_ids: each of them would read the same rows", len(c.ClientIDs))
		}
		return placement{}, nil
	}
	kind, name, _ := strings.Cut(location, ":")
	switch {
	case kind == inVariable && variablePath.MatchString(name):
		return placement{variable: strings.Split(name, ".")}, nil
	case kind == inHeader && headerName.MatchString(name):
		switch name = textproto.CanonicalMIMEHeaderKey(name); name {
		case "Authorization", "Content-Type", "Accept", "Accept-Encoding", "Host", "Content-Length":
			return placement{}, fmt.Errorf("the header %s has another use", name)
		}
		return placement{header: name}, nil
	}
	return placement{}, fmt.Errorf("%.60q: want variable:<name>, header:<name> or none", location)
}

// dataURL is where queries go.
func (c config) dataURL() string {
	if c.BaseURL != "" {
		return c.BaseURL
	}
	return c.DataURL
}
