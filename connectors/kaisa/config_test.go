package kaisa

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
		{`{}`, `client_id: missing; Kaisa support issues it with the client_secret; client_secret: missing; Kaisa support issues it with the client_id`},
		{`{` + id + `,"pagesize":10}`, `json: unknown field "pagesize"; see winch connectors kaisa for the settings`},
		{`{` + id + `,"client_secret":7}`, `want a string; see winch connectors kaisa for the settings`},
		{`{"auth":"basic"}`, `auth: "basic": want oauth2 or digest`},
		{`{"auth":"digest"}`, `username: missing; it is the account's API tag; password: missing`},
		{`{"auth":"digest","username":"tag","password":"p",` + id + `}`, `client_id and client_secret: belong to auth: oauth2`},
		{`{` + id + `,"username":"tag"}`, `username and password: belong to auth: digest`},
		{`{` + id + `,"token_body":"xml"}`, `token_body: "xml": want json or form`},
		{`{` + id + `,"base_url":"api.example.com"}`, `base_url: want an address such as https://host/path, without user, query or fragment`},
		{`{` + id + `,"base_url":"https://u:` + secretCanary + `@example.com"}`, `base_url: want an address such as https://host/path, without user, query or fragment`},
		{`{` + id + `,"base_url":"https://api.example.com/2.4.9/"}`, `base_url: ends in the version "2.4.9", which belongs in version`},
		{`{` + id + `,"token_url":"ftp://auth.example.com"}`, `token_url: want an address such as https://host/path, without user, query or fragment`},
		{`{` + id + `,"api":"v4"}`, `api: "v4": want v2 or v3`},
		{`{` + id + `,"api":"v3"}`, `version: api v3 needs its own; Kaisa gives it with the credentials and does not publish it`},
		{`{` + id + `,"api":"v3","version":"2.4.9"}`, `version: api v3 needs its own; Kaisa gives it with the credentials and does not publish it`},
		{`{` + id + `,"version":"2/4"}`, `version: "2/4": want one segment of a path, such as 2.4.9`},
		{`{` + id + `,"paths":{"cdr":"x"}}`, `paths.cdr: no such stream; the streams are ` + strings.Join(streamNames, ", ")},
		{`{` + id + `,"paths":{"users":"../admin"}}`, `paths.users: "../admin": want a path such as statistics/cdrs`},
		{`{` + id + `,"paths":{"users":"users?all=1"}}`, `paths.users: "users?all=1": want a path such as statistics/cdrs`},
		{`{` + id + `,"envelopes":{"widget_daily":"x"}}`, `envelopes.widget_daily: no such stream with an envelope key`},
		{`{` + id + `,"customers":{"exclude":["NB-001"]}}`, `customer id "NB-001": want digits; see winch connectors kaisa for the settings`},
		{`{` + id + `,"page_size":5000,"concurrency":0}`, `concurrency: 0: want 1 or more; page_size: 5000: want 1 to 1000`},
		{`{` + id + `,"source_statuses":["gone"]}`, `source_statuses: "gone": want upcoming or reserved or active or extended or quarantined or archived`},
		{
			`{` + id + `,"widgets":{"types":[],"per":"user","to_date":"never"}}`,
			`widgets.types: empty; to read none, leave out the stream widget_daily; widgets.per: "user": want account or customer; widgets.to_date: "never": want same_day or next_day`,
		},
	} {
		_, err := Definition().Open(t.Context(), connector.NewConfig(json.RawMessage(tc.settings)))
		if err == nil {
			t.Errorf("%s: no error", tc.settings)
			continue
		}
		if connector.KindOf(err) != connector.KindConfig {
			t.Errorf("%s: kind %s", tc.settings, connector.KindOf(err))
		}
		if diff := cmp.Diff("kaisa settings: "+tc.want, err.Error()); diff != "" {
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
	for _, address := range []string{"token_url", "base_url"} {
		settings := map[string]any{"client_id": "a", "client_secret": "b", address: "http://kaisa.example.com/x"}
		if _, err := openWith(t, settings); connector.KindOf(err) != connector.KindConfig {
			t.Errorf("%s over http: %v", address, err)
		}
		settings[address] = "http://127.0.0.1:1/x"
		if _, err := openWith(t, settings); err != nil {
			t.Errorf("%s on loopback: %v", address, err)
		}
	}
}

func TestSchemaSaysWhatTheCodeDoes(t *testing.T) {
	t.Parallel()
	schema := compileSchema(t)
	good := []string{
		`{"client_id":"a","client_secret":"b"}`,
		`{"auth":"digest","username":"a","password":"b"}`,
		`{"client_id":"a","client_secret":"b","api":"v3","version":"3.0.0","paths":{"cdrs_out":"statistics/cdrs/out","ping":"ping"},
		  "envelopes":{"customer_orders":"orders"},"customers":{"include":[1,"2"]},"source_classes":[],"widgets":{"types":["call_totals"]}}`,
	}
	for _, settings := range good {
		if err := schema.Validate(parsed(t, settings)); err != nil {
			t.Errorf("%s: schema: %v", settings, err)
		}
		if _, err := parse(connector.NewConfig(json.RawMessage(settings))); err != nil {
			t.Errorf("%s: code: %v", settings, err)
		}
	}
	for _, settings := range []string{
		`{}`, `{"client_id":"a"}`, `{"auth":"digest","username":"a"}`,
		`{"client_id":"a","client_secret":"b","page_size":1001}`,
		`{"client_id":"a","client_secret":"b","envelopes":{"widget_daily":"x"}}`,
		`{"client_id":"a","client_secret":"b","paths":{"cdr":"x"}}`,
		`{"client_id":"a","client_secret":"b","custom_fields":21}`,
		`{"client_id":"a","client_secret":"b","source_statuses":["gone"]}`,
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
		if len(cfg.Customers.Include) == 0 {
			cfg.Customers.Include = nil
		}
		if len(cfg.Customers.Exclude) == 0 {
			cfg.Customers.Exclude = nil
		}
		if len(cfg.Paths) == 0 {
			cfg.Paths = nil
		}
		if len(cfg.Envelopes) == 0 {
			cfg.Envelopes = nil
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
	if err := compiler.AddResource("kaisa.json", parsed(t, string(configSchema))); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("kaisa.json")
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
