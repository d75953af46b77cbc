package contentsquare

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/winchdata/winch/pkg/connector"
)

func TestBadSettingsAreExplained(t *testing.T) {
	t.Parallel()
	const id = `"client_id":"a","client_secret":"` + secretCanary + `"`
	for _, tc := range []struct{ settings, want string }{
		{`{}`, `client_id: missing; an administrator makes it in the console of Contentsquare; client_secret: missing; it is shown once, when the client_id is made`},
		{`{` + id + `,"scope":"metrics"}`, `json: unknown field "scope"; see winch connectors contentsquare for the settings`},
		{`{` + id + `,"client_secret":7}`, `want a string; see winch connectors contentsquare for the settings`},
		{`{` + id + `,"credentials":"user"}`, `credentials: "user": want project or account`},
		{`{` + id + `,"scopes":[]}`, `scopes: empty`},
		{`{` + id + `,"scopes":["metric"]}`, `scopes: "metric": want metrics or data-export or enrichment or speed-analysis or surveys`},
		{`{` + id + `,"scopes":["metrics","enrichment"]}`, `scopes: enrichment must be alone`},
		{`{` + id + `,"project_id":"x"}`, `id "x": want digits; see winch connectors contentsquare for the settings`},
		{`{` + id + `,"projects":{"include":[1]}}`, `projects: belongs to credentials: account`},
		{`{` + id + `,"credentials":"account","project_id":2,"projects":{"exclude":[1]}}`, `projects: project_id chooses already`},
		{`{` + id + `,"token_url":"https://api.example.com/oauth"}`, `me_url: missing; it follows from a token_url that ends in /token alone`},
		{`{` + id + `,"token_url":"ftp://api.example.com/token"}`, `token_url: want an address such as https://host/path, without user, query or fragment; me_url: want an address such as https://host/path, without user, query or fragment`},
		{`{` + id + `,"base_url":"https://u:` + secretCanary + `@example.com"}`, `base_url: want an address such as https://host/path, without user, query or fragment`},
		{`{` + id + `,"paths":{"projects":"x"}}`, `paths.projects: no such path; there are custom_vars, dynamic_var_keys, export_jobs, export_runs, exportable_fields, goals, mappings, page_group_metrics, page_group_web_vitals, page_groups, segments, site_metrics, zone_metrics, zones, zonings`},
		{`{` + id + `,"paths":{"zones":"v1/zones"}}`, `paths.zones: "v1/zones": want a path such as v1/zonings/{}/zones`},
		{`{` + id + `,"paths":{"goals":"../admin"}}`, `paths.goals: "../admin": want a path such as v1/goals`},
		{`{` + id + `,"concurrency":11,"requests_per_second":-1,"page_size":0}`, `concurrency: 11: want 1 to 10; requests_per_second: -1: want 0 (no limit) or more; page_size: 0: want 1 to 1000`},
		{`{` + id + `,"devices":[],"goals":[1,"1"]}`, `devices, segments and goals: each wants one entry at least, as it has by default; goals: 1 comes twice`},
		{`{` + id + `,"devices":["tv"],"segments":["1,2","2,1"]}`, `devices: "tv": want all or desktop or mobile or tablet; segments: 1,2 comes twice`},
		{`{` + id + `,"segments":["a"]}`, `segments "a": want "" for all visitors, or ids joined by commas, such as "12,15"; see winch connectors contentsquare for the settings`},
		{`{` + id + `,"max_days":93,"range_end":"noon"}`, `max_days: 93: want 1 to 92; range_end: "noon": want last_millisecond or next_midnight`},
		{`{` + id + `,"web_vitals":{"metric_type":"Average","quantile":100}}`, `web_vitals.metric_type: "Average": want quantile or average; web_vitals.quantile: 100: want 1 to 99`},
		{`{` + id + `,"scopes":["metrics"],"exports":[{"stream":"segments"}]}`, `exports: need data-export among the scopes; exports[0].job: missing; the stream export_jobs lists the jobs; exports[0].stream: "segments" is taken`},
		{`{` + id + `,"project_id":1,"exports":[{"job":1,"stream":"a","project":2,"scope":"visits"}]}`, `exports[0].project: 2 is not among the projects that are read; exports[0].scope: "visits": want sessions or views`},
		{
			`{` + id + `,"exports":[{"job":1,"stream":"A","key":["x"],"columns":[{"name":"y","type":"int"}]}]}`,
			`exports[0]: stream A: name must match ^[a-z][a-z0-9_]{0,62}$, stream A: column "y": unknown type "int", stream A: primary key column "x" is not declared`,
		},
		{`{` + id + `,"exports":[{"job":"../1","stream":"a"}]}`, `job id "../1": want letters and digits; see winch connectors contentsquare for the settings`},
		{`{` + id + `,"download_hosts":["https://x"]}`, `download_hosts: "https://x": want a host such as files.example.com, without scheme and path`},
	} {
		_, err := Definition().Open(t.Context(), connector.NewConfig(json.RawMessage(tc.settings)))
		if err == nil {
			t.Errorf("%s: no error", tc.settings)
			continue
		}
		if connector.KindOf(err) != connector.KindConfig {
			t.Errorf("%s: kind %s", tc.settings, connector.KindOf(err))
		}
		if diff := cmp.Diff("contentsquare settings: "+tc.want, err.Error()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.settings, diff)
		}
		if strings.Contains(err.Error(), secretCanary) {
			t.Errorf("%s: the error shows the secret", tc.settings)
		}
	}
}

// Credentials and data go encrypted, except on the machine itself.
func TestPlainHTTPIsForLoopbackAlone(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"token_url", "me_url", "base_url"} {
		settings := map[string]any{"client_id": "a", "client_secret": "b", address: "http://contentsquare.example.com/token"}
		if _, err := openWith(t, settings); connector.KindOf(err) != connector.KindConfig {
			t.Errorf("%s over http: %v", address, err)
		}
		settings[address] = "http://127.0.0.1:1/token"
		if _, err := openWith(t, settings); err != nil {
			t.Errorf("%s on loopback: %v", address, err)
		}
	}
}

func TestSchemaSaysWhatTheCodeDoes(t *testing.T) {
	t.Parallel()
	schema := compileSchema(t)
	const id = `"client_id":"a","client_secret":"b"`
	for _, settings := range []string{
		`{` + id + `}`,
		`{` + id + `,"credentials":"account","projects":{"include":[1,"2"]},"scopes":["enrichment"]}`,
		`{` + id + `,"segments":["",12,"12, 15"],"goals":[0,"71"],"devices":["mobile"],"paths":{"zones":"v2/zonings/{}/zones"},
		  "exports":[{"job":1119,"stream":"visits","scope":"sessions","project":42,"key":["session_id"],"columns":[{"name":"x","field":"a b","type":"date","formats":["2006"],"personal":true}]}],
		  "download_hosts":["files.example.com:8443"]}`,
	} {
		if err := schema.Validate(parsed(t, settings)); err != nil {
			t.Errorf("%s: schema: %v", settings, err)
		}
		if _, err := parse(connector.NewConfig(json.RawMessage(settings))); err != nil {
			t.Errorf("%s: code: %v", settings, err)
		}
	}
	for _, settings := range []string{
		`{}`, `{"client_id":"a"}`, `{` + id + `,"concurrency":11}`, `{` + id + `,"scopes":["other"]}`, `{` + id + `,"project_id":"x"}`,
		`{` + id + `,"paths":{"projects":"x"}}`, `{` + id + `,"max_days":93}`, `{` + id + `,"segments":["a"]}`, `{` + id + `,"goals":[-1]}`,
		`{` + id + `,"exports":[{"stream":"a"}]}`, `{` + id + `,"exports":[{"job":1,"stream":"A"}]}`, `{` + id + `,"web_vitals":{"quantile":0}}`,
	} {
		if schema.Validate(parsed(t, settings)) == nil {
			t.Errorf("%s: the schema allows it", settings)
		}
		if _, err := parse(connector.NewConfig(json.RawMessage(settings))); err == nil {
			t.Errorf("%s: the code allows it", settings)
		}
	}
}

// A host may fill in the schema's defaults before it opens the source; that must
// change nothing.
func TestSchemaDefaultsAreTheCodesDefaults(t *testing.T) {
	t.Parallel()
	var schema property
	decode(t, configSchema, &schema)
	filled := withDefaults(schema)
	filled["client_id"], filled["client_secret"] = "a", "b"
	raw, err := json.Marshal(filled)
	if err != nil {
		t.Fatal(err)
	}
	got, err := parse(connector.NewConfig(raw))
	if err != nil {
		t.Fatal(err)
	}
	want, err := parse(connector.NewConfig(json.RawMessage(`{"client_id":"a","client_secret":"b"}`)))
	if err != nil {
		t.Fatal(err)
	}
	for _, cfg := range []*config{&got, &want} { // empty and absent lists are alike
		for _, c := range []*choice{&cfg.Projects, &cfg.Mappings, &cfg.PageGroups, &cfg.Zones} {
			*c = choice{append([]objectID{}, c.Include...), append([]objectID{}, c.Exclude...)}
		}
		if len(cfg.Paths) == 0 {
			cfg.Paths = nil
		}
		cfg.Exports = append([]exportConfig{}, cfg.Exports...)
		cfg.DownloadHosts = append([]string{}, cfg.DownloadHosts...)
		cfg.ClientSecret = connector.Secret{}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("with the schema's defaults\n%+v\nwithout\n%+v", got, want)
	}
}

func TestEverySettingIsDescribed(t *testing.T) {
	t.Parallel()
	var check func(prefix string, p property)
	check = func(prefix string, p property) {
		for _, e := range p.Properties {
			if e.Title == "" || e.Description == "" {
				t.Errorf("%s%s has no title or description", prefix, e.name)
			}
			secret := strings.Contains(e.name, "secret") || strings.Contains(e.name, "password") || e.name == "proxy_url"
			if e.WriteOnly != secret {
				t.Errorf("%s%s: writeOnly is %t", prefix, e.name, e.WriteOnly)
			}
			check(prefix+e.name+".", e)
		}
	}
	var schema property
	decode(t, configSchema, &schema)
	check("", schema)
}

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("contentsquare.json", parsed(t, string(configSchema))); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("contentsquare.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func parsed(t *testing.T, text string) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// A property of the schema; Properties are in the order of the text.
type property struct {
	name        string
	Title       string
	Description string
	Default     json.RawMessage
	WriteOnly   bool
	Properties  properties
}

type properties []property

func (p *properties) UnmarshalJSON(b []byte) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	if _, err := dec.Token(); err != nil {
		return err
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return err
		}
		var one property
		if err := dec.Decode(&one); err != nil {
			return err
		}
		one.name = name.(string)
		*p = append(*p, one)
	}
	return nil
}

func withDefaults(p property) map[string]any {
	filled := map[string]any{}
	for _, e := range p.Properties {
		switch {
		case len(e.Properties) > 0:
			filled[e.name] = withDefaults(e)
		case e.Default != nil:
			filled[e.name] = e.Default
		}
	}
	return filled
}
