package fospha

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"github.com/winchdata/winch/pkg/connector"
)

func TestBadSettingsAreExplained(t *testing.T) {
	t.Parallel()
	const id = `"region":"uk","client_id":"a","client_secret":"` + secretCanary + `","data_url":"https://data.example.com/graphql"`
	stream := func(more string) string {
		return `{` + id + `,"streams":[{"name":"s","preset":"performance_daily",` + more + `}]}`
	}
	for _, tc := range []struct{ settings, want string }{
		{`{}`, `region: missing; uk or us, or another together with token_url; client_id: missing; it is the app_client_id from Fospha support; client_secret: missing; it is the app_client_secret from Fospha support; data_url: missing; Fospha does not publish it: ask support`},
		{`{` + id + `,"reigon":"uk"}`, `json: unknown field "reigon"; see winch connectors fospha for the settings`},
		{`{` + id + `,"client_secret":7}`, `want a string; see winch connectors fospha for the settings`},
		{`{"region":"UK/","client_id":"a","client_secret":"b","data_url":"https://d.example.com"}`, `region: "UK/": want a country code such as uk or us`},
		{`{"region":"de","client_id":"a","client_secret":"b","data_url":"https://d.example.com"}`, `token_url: missing; Fospha publishes those of uk and us alone, and they follow no rule`},
		{`{` + id + `,"base_url":"https://u:` + secretCanary + `@example.com"}`, `base_url: want an address such as https://host/path, without user, query or fragment`},
		{`{` + id + `,"token_param_names":{"client_id":"x","client_secret":"x"}}`, `token_param_names: want two different names`},
		{`{` + id + `,"token_auth_style":"digest","scope":""}`, `token_auth_style: "digest": want body or basic; scope: empty; Fospha demands one`},
		{`{` + id + `,"fospha_client_ids":["A","A"," "]}`, `fospha_client_ids: "A" stands twice; fospha_client_ids: " ": empty, or with space around it`},
		{`{` + id + `,"client_id_location":"none","fospha_client_ids":["A","B"]}`, `client_id_location: none with 2 fospha_client_ids: each of them would read the same rows; streams.performance_daily.client_id_location: none with 2 fospha_client_ids: each of them would read the same rows`},
		{stream(`"client_id_location":"header:Authorization"`), `streams.s.client_id_location: the header Authorization has another use`},
		{stream(`"client_id_location":"body"`), `streams.s.client_id_location: "body": want variable:<name>, header:<name> or none`},
		{`{` + id + `,"partial_data":"drop","requests_per_second":-1,"concurrency":0}`, `partial_data: "drop": want fail or keep; requests_per_second: -1: want 0 (no limit) or more; concurrency: 0: want 1 or more`},
		{`{` + id + `,"streams":[{"name":"s","preset":"orders"}]}`, `streams.s.preset: no preset "orders"; there is performance_daily`},
		{`{` + id + `,"streams":[{"name":"s","preset":"performance_daily"},{"name":"s","preset":"performance_daily"}]}`, `streams.s: declared twice`},
		{`{` + id + `,"streams":[{"name":"s","mode":"snapshot"}]}`, `streams.s.query: missing; streams.s.records_path: "": want the path of an array in the answer, such as data.performance.rows or data.performance.edges[].node; streams.s.primary_key: missing; it is all dimensions that the query selects`},
		{stream(`"mode":"cursor"`), `streams.s.mode: "cursor": want window or snapshot`},
		{stream(`"mode":"snapshot"`), `streams.s: slice, lookback, lag, dates and time_column belong to mode window`},
		{stream(`"records_path":"rows"`), `streams.s.records_path: "rows": want a path that begins with data`},
		{stream(`"dates":{"from":"from","to":"from"}`), `streams.s.dates: from "from", to "from": want two variables`},
		{stream(`"dates":{"from":"from","to":"to","format":"2006-01"}`), `streams.s.dates: format "2006-01": want the day 2 January 2006 as the API wants days, such as 2006-01-02`},
		{stream(`"dates":{"from":"from","to":"to","end":"open"}`), `streams.s.dates: end "open": want next_day or same_day`},
		{stream(`"paging":{"by":"link"}`), `streams.s.paging: by "link": want none, offset, page, cursor or token`},
		{stream(`"paging":{"by":"cursor"}`), `streams.s.paging: next_path: by cursor needs the path of pageInfo, by token that of the token; the others have none`},
		{stream(`"paging":{"by":"offset","first_page":0}`), `streams.s.paging: first_page belongs to by page`},
		{stream(`"paging":{"by":"token","next_path":"data.x","total_path":"data.y"}`), `streams.s.paging: total_path belongs to by offset and by page`},
		{stream(`"paging":{"size":5}`), `streams.s.paging: by none has no other settings`},
		{stream(`"paging":{"by":"offset","variable":"a-b"}`), `streams.s.paging: "a-b": want names joined by dots`},
		{stream(`"variables":[1]`), `streams.s.variables: want an object`},
		{stream(`"primary_key":["day"]`), `stream s: primary key column "day" is not declared`},
		{stream(`"time_column":"market"`), `stream s: time column "market": want a declared date or timestamptz column`},
		{stream(`"slice":"fortnight"`), `"fortnight": want a span such as 1h, 1d, 2w or 1mo; see winch connectors fospha for the settings`},
		{stream(`"columns":[{"name":"date","type":"date"},{"name":"fospha_client_id","type":"text"}],"primary_key":["date"]`), `stream s: column "fospha_client_id" is declared twice`},
	} {
		_, err := Definition().Open(t.Context(), connector.NewConfig(json.RawMessage(tc.settings)))
		if err == nil {
			t.Errorf("%s: no error", tc.settings)
			continue
		}
		if connector.KindOf(err) != connector.KindConfig {
			t.Errorf("%s: kind %s", tc.settings, connector.KindOf(err))
		}
		if diff := cmp.Diff("fospha settings: "+tc.want, err.Error()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.settings, diff)
		}
		noCanary(t, err.Error())
	}
}

// Credentials and data go encrypted, except on the machine itself.
func TestPlainHTTPIsForLoopbackAlone(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"token_url", "data_url", "base_url"} {
		settings := map[string]any{"region": "uk", "client_id": "a", "client_secret": "b", "data_url": "https://data.example.com/graphql"}
		settings[address] = "http://fospha.example.com/x"
		if _, err := openWith(t, settings); connector.KindOf(err) != connector.KindConfig {
			t.Errorf("%s over http: %v", address, err)
		}
		settings[address] = "http://127.0.0.1:1/x"
		if _, err := openWith(t, settings); err != nil {
			t.Errorf("%s on loopback: %v", address, err)
		}
	}
}

const least = `"region":"uk","client_id":"a","client_secret":"b","data_url":"https://data.{region}.example.com/graphql"`

func TestSchemaSaysWhatTheCodeDoes(t *testing.T) {
	t.Parallel()
	schema := compileSchema(t)
	for _, settings := range []string{
		`{` + least + `}`,
		`{` + least + `,"fospha_client_ids":["A"],"client_id_location":"header:X-Brand","token_auth_style":"basic","streams":[
		  {"name":"s","preset":"performance_daily","slice":"1d","paging":{"by":"page","first_page":0}},
		  {"name":"t","mode":"snapshot","query":"{ t { id } }","records_path":"data.t","primary_key":["id"],"columns":[{"name":"id","type":"bigint","path":"node.id"}]}]}`,
	} {
		if err := schema.Validate(parsed(t, settings)); err != nil {
			t.Errorf("%s: schema: %v", settings, err)
		}
		if _, err := parse(connector.NewConfig(json.RawMessage(settings))); err != nil {
			t.Errorf("%s: code: %v", settings, err)
		}
	}
	for _, settings := range []string{
		`{}`, `{"region":"uk","client_id":"a","client_secret":"b"}`,
		`{` + least + `,"token_auth_style":"json"}`,
		`{` + least + `,"client_id_location":"cookie:x"}`,
		`{` + least + `,"scope":""}`,
		`{` + least + `,"fospha_client_ids":["A","A"]}`,
		`{` + least + `,"partial_data":"drop"}`,
		`{` + least + `,"concurrency":0}`,
		`{` + least + `,"streams":[{"preset":"performance_daily"}]}`,
		`{` + least + `,"streams":[{"name":"S","preset":"performance_daily"}]}`,
		`{` + least + `,"streams":[{"name":"s","preset":"orders"}]}`,
		`{` + least + `,"streams":[{"name":"s","preset":"performance_daily","mode":"cursor"}]}`,
		`{` + least + `,"streams":[{"name":"s","preset":"performance_daily","paging":{"by":"link"}}]}`,
		`{` + least + `,"streams":[{"name":"s","preset":"performance_daily","columns":[{"name":"a","type":"float"}]}]}`,
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
	for name, value := range map[string]string{"region": "uk", "client_id": "a", "client_secret": "b", "data_url": "https://data.{region}.example.com/graphql"} {
		filled[name] = value
	}
	raw, err := json.Marshal(filled)
	if err != nil {
		t.Fatal(err)
	}
	got, err := parse(connector.NewConfig(raw))
	if err != nil {
		t.Fatal(err)
	}
	want, err := parse(connector.NewConfig(json.RawMessage(`{` + least + `}`)))
	if err != nil {
		t.Fatal(err)
	}
	for _, cfg := range []*config{&got, &want} { // empty and absent lists are alike
		if len(cfg.ClientIDs) == 0 && len(cfg.Streams) == 0 {
			cfg.ClientIDs, cfg.Streams = nil, nil
		}
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
			if e.WriteOnly != (prefix == "" && (e.name == "client_secret" || e.name == "proxy_url")) {
				t.Errorf("%s%s: writeOnly is %t", prefix, e.name, e.WriteOnly)
			}
			check(prefix+e.name+".", e)
			if e.Items != nil {
				check(prefix+e.name+"[].", *e.Items)
			}
		}
	}
	var schema property
	decode(t, configSchema, &schema)
	check("", schema)
}

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("fospha.json", parsed(t, string(configSchema))); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("fospha.json")
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

// parsedYAML reads settings that were written as YAML, and sees to it that the
// schema allows them.
func parsedYAML(t *testing.T, text []byte) map[string]any {
	t.Helper()
	var settings map[string]any
	if err := yaml.Unmarshal(text, &settings); err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	whole := map[string]any{"region": "uk", "client_id": "a", "client_secret": "b", "data_url": "https://data.example.com", "streams": settings["streams"]}
	raw, err := json.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	if err := compileSchema(t).Validate(parsed(t, string(raw))); err != nil {
		t.Fatalf("the schema refuses it: %v:\n%s", err, text)
	}
	return settings
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("run with -update to accept (-want +got):\n%s", diff)
	}
}

// A property of the schema; Properties are in the order of the text.
type property struct {
	name        string
	Title       string
	Description string
	Default     json.RawMessage
	WriteOnly   bool
	Properties  properties
	Items       *property
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
