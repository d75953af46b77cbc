package kaisa

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/winchdata/winch/pkg/connector"
)

// config is the settings; config.schema.json describes each.
type config struct {
	Auth         string           `json:"auth"`
	ClientID     string           `json:"client_id"`
	ClientSecret connector.Secret `json:"client_secret"`
	Username     string           `json:"username"`
	Password     connector.Secret `json:"password"`
	TokenURL     string           `json:"token_url"`
	TokenBody    string           `json:"token_body"`

	BaseURL   string            `json:"base_url"`
	ProxyURL  connector.Secret  `json:"proxy_url"`
	API       string            `json:"api"`
	Version   string            `json:"version"`
	Paths     map[string]string `json:"paths"`
	Envelopes map[string]string `json:"envelopes"`

	Customers         customersConfig `json:"customers"`
	RequestsPerSecond int             `json:"requests_per_second"`
	Concurrency       int             `json:"concurrency"`
	PageSize          int             `json:"page_size"`
	SourceStatuses    []string        `json:"source_statuses"`
	SourceClasses     []int           `json:"source_classes"`
	Extended          bool            `json:"extended"`
	CustomFields      int             `json:"custom_fields"`
	Widgets           widgetsConfig   `json:"widgets"`
}

type customersConfig struct {
	Include []customerID `json:"include"`
	Exclude []customerID `json:"exclude"`
}

type widgetsConfig struct {
	Types  []string `json:"types"`
	Per    string   `json:"per"`
	ToDate string   `json:"to_date"`
}

// The values of settings that name one of several ways.
const (
	authOAuth2  = "oauth2"
	authDigest  = "digest"
	bodyJSON    = "json"
	bodyForm    = "form"
	apiV2       = "v2"
	apiV3       = "v3"
	perAccount  = "account"
	perCustomer = "customer"
	sameDay     = "same_day"
	nextDay     = "next_day"
)

// maxPageSize is the documented default and maximum of pagesize, and the fixed
// size of pages whose size cannot be chosen (Developer API: statistics cdrs out,
// Developer API: /customers/pincodes).
const maxPageSize = 1000

// statusesInOrder are the statuses of a source in the order of a source's life, so that one
// that moves on while the statuses are read is read last where it is now
// (Developer API: /sources).
var statusesInOrder = []string{"upcoming", "reserved", "active", "extended", "quarantined", "archived"}

// widgetTypes are the documented types (Developer API: /widgets/data).
var widgetTypes = []string{
	"calls_per_day", "daily_call_distribution", "call_length_distribution", "calls_top_attributions",
	"geographic_origin", "top_customers_by_calls",
	"missed_calls", "call_durations", "call_totals", "average_calls_per_user", "unique_callers",
}

func defaults() config {
	return config{
		Auth:              authOAuth2,
		TokenURL:          "https://auth.freespee.com/oauth2/token",
		TokenBody:         bodyJSON,
		BaseURL:           "https://api.analytics.freespee.com",
		API:               apiV2,
		RequestsPerSecond: 10,
		Concurrency:       1,
		PageSize:          maxPageSize,
		SourceStatuses:    slices.Clone(statusesInOrder),
		SourceClasses:     []int{0},
		Extended:          true,
		Widgets:           widgetsConfig{Types: slices.Clone(widgetTypes), Per: perAccount, ToDate: sameDay},
	}
}

// defaultVersion is the version segment of the vendor's own v2 clients. That of
// v3 is not published.
const defaultVersion = "2.4.9"

// parse reads and validates the settings. Its error is of KindConfig and names
// everything that is wrong.
func parse(settings connector.Config) (config, error) {
	cfg := defaults()
	if err := settings.Decode(&cfg); err != nil {
		return config{}, invalid(fmt.Errorf("%w; see winch connectors kaisa for the settings", err))
	}
	if cfg.Version == "" && cfg.API == apiV2 {
		cfg.Version = defaultVersion
	}
	cfg.BaseURL = strings.TrimRight(cfg.BaseURL, "/")
	for name, path := range cfg.Paths {
		cfg.Paths[name] = strings.Trim(path, "/")
	}
	if err := cfg.validate(); err != nil {
		return config{}, invalid(err)
	}
	return cfg, nil
}

func invalid(err error) error {
	return &connector.Error{Kind: connector.KindConfig, Op: "kaisa settings", Err: err}
}

var (
	segment = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]*$`)
	version = regexp.MustCompile(`^v?[0-9]+(\.[0-9]+)+$`)
)

// validate returns one error of one line for all problems, in the order of the
// settings.
func (c config) validate() error {
	var problems []string
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

	oneOf("auth", c.Auth, authOAuth2, authDigest)
	switch c.Auth {
	case authOAuth2:
		if c.ClientID == "" {
			bad("client_id: missing; Kaisa support issues it with the client_secret")
		}
		if c.ClientSecret.IsZero() {
			bad("client_secret: missing; Kaisa support issues it with the client_id")
		}
		if c.Username != "" || !c.Password.IsZero() {
			bad("username and password: belong to auth: digest")
		}
		address("token_url", c.TokenURL)
		oneOf("token_body", c.TokenBody, bodyJSON, bodyForm)
	case authDigest:
		if c.Username == "" {
			bad("username: missing; it is the account's API tag")
		}
		if c.Password.IsZero() {
			bad("password: missing")
		}
		if c.ClientID != "" || !c.ClientSecret.IsZero() {
			bad("client_id and client_secret: belong to auth: oauth2")
		}
	}

	address("base_url", c.BaseURL)
	if last := c.BaseURL[strings.LastIndexByte(c.BaseURL, '/')+1:]; version.MatchString(last) {
		bad("base_url: ends in the version %q, which belongs in version", last)
	}
	oneOf("api", c.API, apiV2, apiV3)
	switch {
	case c.API == apiV3 && (c.Version == "" || c.Version == defaultVersion):
		bad("version: api v3 needs its own; Kaisa gives it with the credentials and does not publish it")
	case c.Version != "" && !segment.MatchString(c.Version):
		bad("version: %q: want one segment of a path, such as %s", c.Version, defaultVersion)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Paths)) {
		if !slices.Contains(streamNames, name) && name != "ping" {
			bad("paths.%s: no such stream; the streams are %s", name, strings.Join(streamNames, ", "))
		}
		for part := range strings.SplitSeq(c.Paths[name], "/") {
			if !segment.MatchString(part) {
				bad("paths.%s: %q: want a path such as statistics/cdrs", name, c.Paths[name])
				break
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Envelopes)) {
		if !slices.Contains(streamNames, name) || name == widgetDaily {
			bad("envelopes.%s: no such stream with an envelope key", name)
		}
		if c.Envelopes[name] == "" {
			bad("envelopes.%s: empty", name)
		}
	}

	if c.RequestsPerSecond < 0 {
		bad("requests_per_second: %d: want 0 (no limit) or more", c.RequestsPerSecond)
	}
	if c.Concurrency < 1 {
		bad("concurrency: %d: want 1 or more", c.Concurrency)
	}
	if c.PageSize < 1 || c.PageSize > maxPageSize {
		bad("page_size: %d: want 1 to %d", c.PageSize, maxPageSize)
	}
	for _, status := range c.SourceStatuses {
		oneOf("source_statuses", status, statusesInOrder...)
	}
	for _, class := range c.SourceClasses {
		if class < 0 {
			bad("source_classes: %d: want 0 or more", class)
		}
	}
	if c.CustomFields < 0 || c.CustomFields > 20 {
		bad("custom_fields: %d: want 0 to 20", c.CustomFields)
	}
	if len(c.Widgets.Types) == 0 {
		bad("widgets.types: empty; to read none, leave out the stream widget_daily")
	}
	for _, kind := range c.Widgets.Types {
		oneOf("widgets.types", kind, widgetTypes...)
	}
	oneOf("widgets.per", c.Widgets.Per, perAccount, perCustomer)
	oneOf("widgets.to_date", c.Widgets.ToDate, sameDay, nextDay)

	if len(problems) == 0 {
		return nil
	}
	return errors.New(strings.Join(problems, "; "))
}

// path returns where a stream is read, below the base URL.
func (c config) path(name, byDefault string) string {
	if path, ok := c.Paths[name]; ok {
		return path
	}
	return byDefault
}

// A customerID is a customer's id in digits. In JSON it is a number or a string,
// as it is in the vendor's answers.
type customerID string

var digits = regexp.MustCompile(`^[0-9]{1,19}$`)

// UnmarshalJSON reads a number or a string.
func (id *customerID) UnmarshalJSON(b []byte) error {
	text := string(b)
	if len(b) > 0 && b[0] == '"' {
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
	}
	if !digits.MatchString(text) {
		return fmt.Errorf("customer id %.40q: want digits", text)
	}
	*id = customerID(text)
	return nil
}
