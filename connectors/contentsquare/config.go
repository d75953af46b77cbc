package contentsquare

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/winchdata/winch/pkg/connector"
)

// config is the settings; config.schema.json describes each.
type config struct {
	Credentials  string           `json:"credentials"`
	ClientID     string           `json:"client_id"`
	ClientSecret connector.Secret `json:"client_secret"`
	Scopes       []string         `json:"scopes"`
	ProjectID    objectID         `json:"project_id"`
	Projects     choice           `json:"projects"`

	TokenURL string            `json:"token_url"`
	MeURL    string            `json:"me_url"`
	BaseURL  string            `json:"base_url"`
	ProxyURL connector.Secret  `json:"proxy_url"`
	Paths    map[string]string `json:"paths"`

	Concurrency       int `json:"concurrency"`
	RequestsPerSecond int `json:"requests_per_second"`
	PageSize          int `json:"page_size"`

	Mappings   choice          `json:"mappings"`
	PageGroups choice          `json:"page_groups"`
	Zones      choice          `json:"zones"`
	Devices    []string        `json:"devices"`
	Segments   []segments      `json:"segments"`
	Goals      []objectID      `json:"goals"`
	MaxDays    int             `json:"max_days"`
	RangeEnd   string          `json:"range_end"`
	WebVitals  webVitalsConfig `json:"web_vitals"`

	DynamicVarsDays int            `json:"dynamic_vars_days"`
	Exports         []exportConfig `json:"exports"`
	DownloadHosts   []string       `json:"download_hosts"`
}

// A choice is some of the vendor's objects, by their ids.
type choice struct {
	Include []objectID `json:"include"`
	Exclude []objectID `json:"exclude"`
}

func (c choice) has(id int64) bool {
	return (len(c.Include) == 0 || slices.Contains(c.Include, objectID(id))) && !slices.Contains(c.Exclude, objectID(id))
}

type webVitalsConfig struct {
	MetricType string `json:"metric_type"`
	Quantile   int    `json:"quantile"`
}

type exportConfig struct {
	Project objectID       `json:"project"`
	Job     jobID          `json:"job"`
	Stream  string         `json:"stream"`
	Scope   string         `json:"scope"`
	Columns []exportColumn `json:"columns"`
	Key     []string       `json:"key"`
}

type exportColumn struct {
	Name     string         `json:"name"`
	Field    string         `json:"field"`
	Type     connector.Type `json:"type"`
	Formats  []string       `json:"formats"`
	Personal bool           `json:"personal"`
}

// The values of settings that name one of several ways.
const (
	credentialsProject = "project"
	credentialsAccount = "account"
	scopeMetrics       = "metrics"
	scopeExport        = "data-export"
	scopeEnrichment    = "enrichment"
	scopeSessions      = "sessions"
	scopeViews         = "views"
	endLastMillisecond = "last_millisecond"
	endNextMidnight    = "next_midnight"
	typeQuantile       = "quantile"
	typeAverage        = "average"
)

var (
	allScopes  = []string{scopeMetrics, scopeExport, scopeEnrichment, "speed-analysis", "surveys"}
	allDevices = []string{"all", "desktop", "mobile", "tablet"}
)

const (
	maxRange       = 92 // days of a metrics call (Date Ranges)
	maxConcurrency = 10 // requests at once per project, of all who use it (Limits)
)

func defaults() config {
	return config{
		Credentials:     credentialsProject,
		Scopes:          []string{scopeMetrics, scopeExport},
		TokenURL:        "https://api.contentsquare.com/v1/oauth/token",
		Concurrency:     4,
		PageSize:        20,
		Devices:         []string{"all"},
		Segments:        []segments{""},
		Goals:           []objectID{0},
		MaxDays:         31,
		RangeEnd:        endLastMillisecond,
		WebVitals:       webVitalsConfig{MetricType: typeQuantile, Quantile: defaultQuantile},
		DynamicVarsDays: 30,
	}
}

// parse reads and validates the settings. Its error is of KindConfig and names
// everything that is wrong.
func parse(settings connector.Config) (config, error) {
	cfg := defaults()
	if err := settings.Decode(&cfg); err != nil {
		return config{}, invalid(fmt.Errorf("%w; see winch connectors contentsquare for the settings", err))
	}
	cfg.BaseURL = strings.TrimRight(cfg.BaseURL, "/")
	if cfg.MeURL == "" {
		if stem, ok := strings.CutSuffix(cfg.TokenURL, "/token"); ok {
			cfg.MeURL = stem + "/me"
		}
	}
	for name, path := range cfg.Paths {
		cfg.Paths[name] = strings.Trim(path, "/")
	}
	if err := cfg.validate(); err != nil {
		return config{}, invalid(err)
	}
	return cfg, nil
}

func invalid(err error) error {
	return &connector.Error{Kind: connector.KindConfig, Op: "contentsquare settings", Err: err}
}

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
	between := func(key string, value, low, high int) {
		if value < low || value > high {
			bad("%s: %d: want %d to %d", key, value, low, high)
		}
	}

	oneOf("credentials", c.Credentials, credentialsProject, credentialsAccount)
	if c.ClientID == "" {
		bad("client_id: missing; an administrator makes it in the console of Contentsquare")
	}
	if c.ClientSecret.IsZero() {
		bad("client_secret: missing; it is shown once, when the client_id is made")
	}
	if len(c.Scopes) == 0 {
		bad("scopes: empty")
	}
	for _, scope := range c.Scopes {
		oneOf("scopes", scope, allScopes...)
	}
	if slices.Contains(c.Scopes, scopeEnrichment) && len(c.Scopes) > 1 {
		bad("scopes: %s must be alone", scopeEnrichment)
	}
	if chosen := len(c.Projects.Include)+len(c.Projects.Exclude) > 0; chosen && c.ProjectID != 0 {
		bad("projects: project_id chooses already")
	} else if chosen && c.Credentials == credentialsProject {
		bad("projects: belongs to credentials: account")
	}

	address("token_url", c.TokenURL)
	if c.MeURL == "" {
		bad("me_url: missing; it follows from a token_url that ends in /token alone")
	} else {
		address("me_url", c.MeURL)
	}
	if c.BaseURL != "" {
		address("base_url", c.BaseURL)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Paths)) {
		byDefault, known := paths[name]
		if !known {
			bad("paths.%s: no such path; there are %s", name, strings.Join(slices.Sorted(maps.Keys(paths)), ", "))
		} else if !validPath(c.Paths[name]) || !slices.Equal(placeholders.FindAllString(c.Paths[name], -1), placeholders.FindAllString(byDefault, -1)) {
			bad("paths.%s: %q: want a path such as %s", name, c.Paths[name], byDefault)
		}
	}

	between("concurrency", c.Concurrency, 1, maxConcurrency)
	if c.RequestsPerSecond < 0 {
		bad("requests_per_second: %d: want 0 (no limit) or more", c.RequestsPerSecond)
	}
	between("page_size", c.PageSize, 1, 1000)
	if len(c.Devices) == 0 || len(c.Segments) == 0 || len(c.Goals) == 0 {
		bad("devices, segments and goals: each wants one entry at least, as it has by default")
	}
	for _, device := range c.Devices {
		oneOf("devices", device, allDevices...)
	}
	unique(bad, "devices", c.Devices)
	unique(bad, "segments", c.Segments)
	unique(bad, "goals", c.Goals)
	between("max_days", c.MaxDays, 1, maxRange)
	oneOf("range_end", c.RangeEnd, endLastMillisecond, endNextMidnight)
	oneOf("web_vitals.metric_type", c.WebVitals.MetricType, typeQuantile, typeAverage)
	between("web_vitals.quantile", c.WebVitals.Quantile, 1, 99)
	between("dynamic_vars_days", c.DynamicVarsDays, 1, maxRange)
	c.validateExports(bad)
	for _, host := range c.DownloadHosts {
		if u, err := url.Parse("https://" + host); err != nil || u.Host != host || host == "" {
			bad("download_hosts: %q: want a host such as files.example.com, without scheme and path", host)
		}
	}

	if len(problems) == 0 {
		return nil
	}
	return errors.New(strings.Join(problems, "; "))
}

func (c config) validateExports(bad func(string, ...any)) {
	if len(c.Exports) > 0 && !slices.Contains(c.Scopes, scopeExport) {
		bad("exports: need %s among the scopes", scopeExport)
	}
	taken := map[string]bool{}
	for _, name := range streamNames {
		taken[name] = true
	}
	for i, e := range c.Exports {
		at := fmt.Sprintf("exports[%d]", i)
		if e.Job == "" {
			bad("%s.job: missing; the stream export_jobs lists the jobs", at)
		}
		if taken[e.Stream] {
			bad("%s.stream: %q is taken", at, e.Stream)
		}
		taken[e.Stream] = true
		switch {
		case e.Project != 0 && c.ProjectID != 0 && e.Project != c.ProjectID, e.Project != 0 && !c.Projects.has(int64(e.Project)):
			bad("%s.project: %d is not among the projects that are read", at, e.Project)
		}
		if e.Scope != "" && e.Scope != scopeSessions && e.Scope != scopeViews {
			bad("%s.scope: %q: want %s or %s", at, e.Scope, scopeSessions, scopeViews)
			continue
		}
		if err := exportStream(e).Validate(); err != nil {
			bad("%s: %s", at, strings.ReplaceAll(err.Error(), "\n", ", "))
		}
	}
}

func unique[T cmp.Ordered](bad func(string, ...any), key string, all []T) {
	seen := map[T]bool{}
	for _, v := range all {
		if seen[v] {
			bad("%s: %v comes twice", key, v)
		}
		seen[v] = true
	}
}

// paths are where the resources are below the base URL, by setting; {} is the id
// of the parent.
var paths = map[string]string{
	"segments":              "v1/segments",
	"goals":                 "v1/goals",
	"mappings":              "v1/mappings",
	"page_groups":           "v1/mappings/{}/page-groups",
	"zonings":               "v1/page-groups/{}/zonings",
	"zones":                 "v1/zonings/{}/zones",
	"site_metrics":          "v1/metrics/site",
	"page_group_metrics":    "v1/metrics/page-group/{}",
	"page_group_web_vitals": "v1/metrics/page-group/{}/web-vitals",
	"zone_metrics":          "v1/metrics/zone/{}",
	"export_jobs":           "v1/exports",
	"export_runs":           "v1/exports/{}/runs",
	"exportable_fields":     "v1/exportable-fields",
	"custom_vars":           "v1/custom-vars",
	"dynamic_var_keys":      "v1/dynamic-var-keys",
}

var (
	placeholders = regexp.MustCompile(`\{[^}]*\}`)
	segment      = regexp.MustCompile(`^([A-Za-z0-9_-][A-Za-z0-9._-]*|\{\})$`)
)

func validPath(path string) bool {
	for part := range strings.SplitSeq(path, "/") {
		if !segment.MatchString(part) {
			return false
		}
	}
	return true
}

// path returns where a resource is, below the base URL.
func (c config) path(name, parent string) string {
	path, ok := c.Paths[name]
	if !ok {
		path = paths[name]
	}
	return strings.Replace(path, "{}", url.PathEscape(parent), 1)
}

// An objectID is the vendor's id of a project, mapping, segment and so on, an
// integer. In JSON it is a number or a string of digits.
type objectID int64

// UnmarshalJSON reads a number or a string.
func (id *objectID) UnmarshalJSON(b []byte) error {
	text := string(b)
	if len(b) > 0 && b[0] == '"' {
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return fmt.Errorf("id %.40q: want digits", text)
	}
	*id = objectID(n)
	return nil
}

// A jobID is the id of an export job: small integers, but to be treated as text.
type jobID string

var jobPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// UnmarshalJSON reads a number or a string.
func (id *jobID) UnmarshalJSON(b []byte) error {
	text := string(b)
	if len(b) > 0 && b[0] == '"' {
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
	}
	if !jobPattern.MatchString(text) {
		return fmt.Errorf("job id %.40q: want letters and digits", text)
	}
	*id = jobID(text)
	return nil
}

// segments are the ids of segments whose intersection is asked for, ascending
// and joined by commas, as they stand in the key; empty is all visitors.
type segments string

// UnmarshalJSON reads "", "12", "15,12" or the number 12.
func (s *segments) UnmarshalJSON(b []byte) error {
	text := string(b)
	if len(b) > 0 && b[0] == '"' {
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
	}
	*s = ""
	if text == "" {
		return nil
	}
	var ids []int64
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.ParseInt(strings.TrimSpace(part), 10, 64)
		if err != nil || n <= 0 {
			return fmt.Errorf(`segments %.40q: want "" for all visitors, or ids joined by commas, such as "12,15"`, text)
		}
		ids = append(ids, n)
	}
	slices.Sort(ids)
	texts := make([]string, 0, len(ids))
	for _, id := range slices.Compact(ids) {
		texts = append(texts, strconv.FormatInt(id, 10))
	}
	*s = segments(strings.Join(texts, ","))
	return nil
}
