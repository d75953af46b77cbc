package generic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"github.com/winchdata/winch/pkg/connector"
)

const manifestSchemaFile = "../../configs/generic/manifest.schema.json"

// The published schema is made from the types that the decoder fills.
func TestManifestSchemaIsThatOfTheCode(t *testing.T) {
	t.Parallel()
	root := schemaOf(reflect.TypeFor[manifest](), "")
	root.set("$schema", "https://json-schema.org/draft/2020-12/schema")
	root.set("title", "Winch manifest")
	root.set("description", "What the generic connector knows of an API: how to get a token, and what can be read.")
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(root); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(manifestSchemaFile, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(manifestSchemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.String(), string(got)); diff != "" {
		t.Errorf("run with -update to rewrite (-want +got):\n%s", diff)
	}
}

// A node of a schema, with its keys in an order that people like to read.
type node struct {
	names  []string
	values map[string]any
}

func (n *node) set(name string, value any) {
	if n.values == nil {
		n.values = map[string]any{}
	}
	if _, ok := n.values[name]; !ok {
		n.names = append(n.names, name)
	}
	n.values[name] = value
}

func (n *node) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, name := range n.names {
		if i > 0 {
			b.WriteByte(',')
		}
		value, err := encodeJSON(n.values[name])
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "%q:%s", name, value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func schemaOf(t reflect.Type, enum string) *node {
	n := new(node)
	switch {
	case t == spanType:
		n.set("type", "string")
		n.set("pattern", "^-?([0-9]+(mo|w|d|h|m|s))+$|^0$")
	case t.Kind() == reflect.Pointer:
		return schemaOf(t.Elem(), enum)
	case t.Kind() == reflect.Struct:
		n.set("type", "object")
		n.set("additionalProperties", false)
		properties, required := new(node), []string{}
		for i := range t.NumField() {
			f := t.Field(i)
			one := schemaOf(f.Type, f.Tag.Get("enum"))
			one.set("description", f.Tag.Get("doc"))
			properties.set(f.Tag.Get("yaml"), one)
			if f.Tag.Get("need") != "" {
				required = append(required, f.Tag.Get("yaml"))
			}
		}
		n.set("properties", properties)
		if len(required) > 0 {
			n.set("required", required)
		}
	case t.Kind() == reflect.Map:
		n.set("type", "object")
		if t.Elem().Kind() == reflect.String {
			n.set("additionalProperties", texts())
		}
	case t.Kind() == reflect.Slice:
		n.set("type", "array")
		n.set("items", schemaOf(t.Elem(), enum))
	case t.Kind() == reflect.Int:
		n.set("type", "integer")
		if enum != "" {
			n.set("enum", []json.RawMessage{json.RawMessage(enum)})
		}
	case t.Kind() == reflect.Bool:
		n.set("type", "boolean")
	case enum != "":
		n.set("enum", strings.Split(enum, "|"))
	default:
		return texts()
	}
	return n
}

// texts are what the decoder takes for a text: 1 and true too.
func texts() *node {
	n := new(node)
	n.set("type", []string{"string", "number", "boolean"})
	return n
}

// Both the published schema and the code refuse what is wrong in form.
func TestManifestSchemaAndCodeRefuseTheSame(t *testing.T) {
	t.Parallel()
	schema := compileJSONSchema(t, manifestSchemaFile)
	good := minimal("streams: [{name: a, path: /a, records: a, key: [a], columns: [{name: a, type: text}], params: {n: 1, f: true}}]\n")
	if err := schema.Validate(yamlValue(t, []byte(good))); err != nil {
		t.Errorf("schema: %v", err)
	}
	if _, err := parseManifest([]byte(good)); err != nil {
		t.Errorf("code: %v", err)
	}
	for _, change := range [][2]string{
		{"version: 1", "version: 2"},
		{"version: 1", "version: one"},
		{"name: toy", "nme: toy"},
		{"type: oauth2_client_credentials", "type: none"},
		{"type: oauth2_client_credentials", "{}"},
		{"type: text", "type: int"},
		{"key: [a]", "key: a"},
		{"path: /a,", ""},
		{"params: {n: 1, f: true}", "params: {n: [1]}"},
		{"params: {n: 1, f: true}", "optional: 1"},
		{"params: {n: 1, f: true}", "slice: 1y"},
		{"params: {n: 1, f: true}", "method: DELETE"},
		{"params: {n: 1, f: true}", "paging: {type: page, size: 1.5}"},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		if bad == good {
			t.Fatalf("%q is not in the manifest", change[0])
		}
		if change[1] == "{}" {
			bad = strings.Replace(good, "auth: {", "auth: {x: {}, ", 1)
		}
		if schema.Validate(yamlValue(t, []byte(bad))) == nil {
			t.Errorf("%s: the schema allows it", change[1])
		}
		if _, err := parseManifest([]byte(bad)); err == nil {
			t.Errorf("%s: the code allows it", change[1])
		}
	}
}

func TestSettingsSchemaSaysWhatTheCodeDoes(t *testing.T) {
	t.Parallel()
	schema := compileJSONSchema(t, "config.schema.json")
	for _, settings := range []string{
		`{"preset":"fuuffy","client_id":"a","client_secret":"b"}`,
		`{"preset":"fuuffy","client_id":"a","client_secret":"b","base_url":"https://x/v1","token_url":"https://x/t","grant_type":"omit",
		  "parameters":{"countries":["HK","SG"]},"rate_limit":[{"requests":1,"per":"1m"}],"personal_data":"hash","hash_salt":"s","vanished":"delete"}`,
		`{"preset":"fuuffy","client_id":"a","client_secret":"b","rate_limit":[]}`,
	} {
		if err := schema.Validate(parsed(t, settings)); err != nil {
			t.Errorf("%s: schema: %v", settings, err)
		}
		if _, _, err := parse(connector.NewConfig(json.RawMessage(settings))); err != nil {
			t.Errorf("%s: code: %v", settings, err)
		}
	}
	for _, settings := range []string{
		`{}`, `{"preset":"fuuffy"}`, `{"preset":"fuuffy","client_id":"a"}`, `{"client_id":"a","client_secret":"b"}`,
		`{"preset":"fuuffy","manifest_file":"x","client_id":"a","client_secret":"b"}`,
		`{"preset":"other","client_id":"a","client_secret":"b"}`,
		`{"preset":"fuuffy","client_id":"a","client_secret":"b","colour":1}`,
		`{"preset":"fuuffy","client_id":"a","client_secret":"b","grant_type":"no"}`,
		`{"preset":"fuuffy","client_id":"a","client_secret":"b","parameters":{"countries":[1]}}`,
		`{"preset":"fuuffy","client_id":"a","client_secret":"b","rate_limit":[{"requests":0,"per":"1m"}]}`,
		`{"preset":"fuuffy","client_id":"a","client_secret":"b","personal_data":"encrypt"}`,
		`{"preset":"fuuffy","client_id":"a","client_secret":"b","vanished":"yes"}`,
	} {
		if schema.Validate(parsed(t, settings)) == nil {
			t.Errorf("%s: the schema allows it", settings)
		}
		if _, _, err := parse(connector.NewConfig(json.RawMessage(settings))); connector.KindOf(err) != connector.KindConfig {
			t.Errorf("%s: code: %v", settings, err)
		}
	}
	// What the schema cannot say.
	for settings, want := range map[string]string{
		`{"preset":"fuuffy","client_id":"a","client_secret":"b","parameters":{"cuontries":["HK"]}}`: "parameters.cuontries: fuuffy has no such parameter; there are: countries",
		`{"preset":"fuuffy","client_id":"a","client_secret":"b","parameters":{"countries":[]}}`:     "parameters.countries: missing or empty",
		`{"preset":"fuuffy","client_id":"a","client_secret":"b","hash_salt":"s"}`:                   "hash_salt: belongs to personal_data: hash",
		`{"preset":"fuuffy","client_id":"a","client_secret":"b","base_url":"https://u:p@x"}`:        "base_url: want an address such as https://host/path, without user, query or fragment",
		`{"manifest_file":"/nowhere/x","client_id":"a","client_secret":"b"}`:                        "manifest_file: open /nowhere/x: no such file or directory",
	} {
		_, _, err := parse(connector.NewConfig(json.RawMessage(settings)))
		if err == nil || err.Error() != "generic settings: "+want {
			t.Errorf("%s: %v", settings, err)
		}
	}
}

func TestSettingsAreAllInTheSchema(t *testing.T) {
	t.Parallel()
	var schema struct {
		Properties map[string]any `json:"properties"`
	}
	if err := json.Unmarshal(configSchema, &schema); err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for f := range reflect.TypeFor[config]().Fields() {
		if name := f.Tag.Get("json"); name != "" {
			want[name] = true
		}
	}
	got := map[string]bool{}
	for name := range schema.Properties {
		got[name] = true
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings (-code +schema):\n%s", diff)
	}
}

func compileJSONSchema(t *testing.T, file string) *jsonschema.Schema {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", parsed(t, string(text))); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func parsed(t *testing.T, text string) any {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// yamlValue is what a YAML text says, as JSON has it.
func yamlValue(t *testing.T, text []byte) any {
	t.Helper()
	var value any
	if err := yaml.Unmarshal(text, &value); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return parsed(t, string(raw))
}
