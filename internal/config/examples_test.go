package config

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/winchdata/winch/connectors/kaisa"
	"github.com/winchdata/winch/pkg/connector"
)

func bundledOptions(environ ...string) Options {
	def := kaisa.Definition()
	return Options{
		Environ: environ,
		Names:   []string{def.Name},
		Connectors: func(name string) (json.RawMessage, bool) {
			return def.ConfigSchema, name == def.Name
		},
	}
}

func examples(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../../configs/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("found %d examples: %v", len(files), err)
	}
	return files
}

func TestExamplesLoadAndNameStreamsThatExist(t *testing.T) {
	t.Parallel()
	for _, file := range examples(t) {
		o := bundledOptions()
		o.Path = file
		c, err := Load(o)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		if len(c.Sources) == 0 {
			t.Errorf("%s has no sources", file)
		}
		for _, s := range c.Sources {
			selected, err := s.Select(kaisa.Definition().Streams)
			if err != nil || len(selected) == 0 {
				t.Errorf("%s: %s: %d streams, %v", file, s, len(selected), err)
			}
		}
	}
}

func TestMergedSourcesTakeWhatTheyDoNotSetFromTheirBase(t *testing.T) {
	t.Parallel()
	o := bundledOptions()
	o.Path = "../../configs/accounts.example.yaml"
	c, err := Load(o)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range c.Sources {
		got = append(got, s.Name+" "+s.Location.String()+" "+s.Schedule.String())
	}
	want := []string{"kaisa_se Europe/Stockholm 0 2 * * *", "kaisa_fi Europe/Helsinki 0 2 * * *", "kaisa_old Europe/Stockholm @every 6h"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFullExampleHasEveryKey(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../configs/winch.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	doc, problems := parse("winch.example.yaml", text)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	var missing []string
	var look func(keys []key, tables []map[string]any, at string)
	look = func(keys []key, tables []map[string]any, at string) {
		for _, k := range keys {
			var inside []map[string]any
			found := false
			for _, table := range tables {
				v, ok := table[k.name]
				found = found || ok
				sub, _ := v.(map[string]any)
				if k.form == formNamed || k.form == formStreams {
					for _, entry := range sub {
						table, _ := entry.(map[string]any)
						inside = append(inside, table)
					}
					continue
				}
				inside = append(inside, sub)
			}
			if !found {
				missing = append(missing, at+k.name)
			}
			look(k.keys, inside, at+k.name+".")
		}
	}
	look(fileKeys, []map[string]any{doc.values}, "")
	if len(missing) > 0 {
		t.Errorf("keys without example: %s", strings.Join(missing, " "))
	}
}

func TestEditorSchemaIsUpToDate(t *testing.T) {
	t.Parallel()
	const file = "../../configs/winch.schema.json"
	if *update {
		if err := os.WriteFile(file, editorSchema(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(editorSchema()), string(have)); diff != "" {
		t.Errorf("%s differs from the code; go test -run EditorSchema -update writes it again:\n%s", file, diff)
	}
}

func TestEditorSchemaAgreesWithLoad(t *testing.T) {
	t.Parallel()
	root, err := jsonschema.UnmarshalJSON(bytes.NewReader(editorSchema()))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("winch:editor", root); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("winch:editor")
	if err != nil {
		t.Fatal(err)
	}
	validate := func(text string) error {
		doc, problems := parse("winch.yaml", []byte(text))
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		return schema.Validate(doc.values)
	}
	for _, file := range examples(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate(string(text)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	starter, err := Starter([]connector.Definition{kaisa.Definition()}, "kaisa")
	if err != nil {
		t.Fatal(err)
	}
	if err := validate(string(starter)); err != nil {
		t.Errorf("starter: %v", err)
	}
	for _, text := range []string{
		"sinks: {}", "sink: sqlite:a.db", "sources: [a]", "sources: {a: {}}", "sources: {A: {connector: a}}",
		"sources: {a: {connector: a, conector: b}}", "sources: {a: {connector: a, overlap: both}}",
		"sources: {a: {connector: a, jitter: soon}}", "sources: {a: {connector: a, streams: []}}",
		"sources: {a: {connector: a, streams: {b: {lookbak: 7d}}}}", "sources: {a: {connector: a, enabled: 1}}",
		"plugins: {checksums: {a: b}}", "log: {level: loud}", "telemetry: {otlp_endpoint: localhost}",
	} {
		if validate(text) == nil {
			t.Errorf("the schema accepts %s", text)
		}
		if len(problemsOf(t, testOptions(t), text)) == 0 {
			t.Errorf("Load accepts %s", text)
		}
	}
}

func TestStarterLoadsOnceTheEnvironmentIsSet(t *testing.T) {
	t.Parallel()
	def := kaisa.Definition()
	text, err := Starter([]connector.Definition{def}, "kaisa", "kaisa")
	if err != nil {
		t.Fatal(err)
	}
	o := bundledOptions("KAISA_CLIENT_ID=a", "KAISA_CLIENT_SECRET=b", "KAISA_2_CLIENT_ID=c", "KAISA_2_CLIENT_SECRET=d")
	c := loadString(t, o, string(text))
	if absent := c.Absent(); len(absent) > 0 {
		t.Error(absent)
	}
	var got []string
	for _, s := range c.Sources {
		cfg, err := s.Resolve(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, s.Name+" "+string(cfg.Reveal()))
	}
	want := []string{`kaisa {"client_id":"a","client_secret":"b"}`, `kaisa_2 {"client_id":"c","client_secret":"d"}`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestStarterWithoutNamesLoadsBeforeAndAfterUncommenting(t *testing.T) {
	t.Parallel()
	text, err := Starter([]connector.Definition{kaisa.Definition()})
	if err != nil {
		t.Fatal(err)
	}
	if c := loadString(t, bundledOptions(), string(text)); len(c.Sources) != 0 {
		t.Errorf("a block is active: %v", c)
	}
	head, block, _ := strings.Cut(string(text), "#  kaisa:")
	block = strings.ReplaceAll("#  kaisa:"+block, "\n#", "\n")
	c := loadString(t, bundledOptions(), head+strings.TrimPrefix(block, "#"))
	if len(c.Sources) != 1 || c.Sources[0].Name != "kaisa" {
		t.Errorf("uncommented: %v", c)
	}
}

func TestEveryCommentedSettingOfTheStarterIsValid(t *testing.T) {
	t.Parallel()
	shop, err := os.ReadFile("testdata/shop.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	def := connector.Definition{Name: "shop", Title: "Shop", DocsURL: "https://example.com", ConfigSchema: shop, Streams: kaisa.Definition().Streams}
	text, err := Starter([]connector.Definition{def}, "shop")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		name, ok := strings.CutPrefix(line, "      # ")
		if !ok || strings.HasPrefix(name, "Issued") {
			continue
		}
		changed := slices.Clone(lines)
		changed[i] = "      " + name
		// paging needs a size, which the schema gives no default for.
		if problems := problemsOf(t, testOptions(t), strings.Join(changed, "\n")); len(problems) > 0 && !strings.HasPrefix(name, "paging") {
			t.Errorf("%s: %v", name, problems)
		}
	}
}

func TestStarterRefusesUnknownConnector(t *testing.T) {
	t.Parallel()
	_, err := Starter([]connector.Definition{kaisa.Definition()}, "kiasa")
	if err == nil || err.Error() != "there is no connector kiasa; did you mean kaisa?" {
		t.Errorf("got %v", err)
	}
}

func TestRenderedFileLoadsAsWritten(t *testing.T) {
	t.Parallel()
	settings := map[string]any{
		"client_id":     "abc",
		"client_secret": "pa: ss #\"${env:X}' \\ \n{}[]*&!|>%@`",
		"page_size":     7,
		"verbose":       true,
		"scopes":        []any{"a,b", "yes", "- c"},
		"headers":       map[string]any{"X-Key": "no", "null": "1"},
	}
	text := Render(File{
		Comment: "Two lines,\n\nand an empty one.",
		SinkURL: "sqlite:/tmp/a b.db",
		Sources: []FileSource{
			{Name: "zeta", Connector: "shop", Config: settings, Schedule: "0 2 * * *", Timezone: "Europe/Stockholm", Since: "2025-01-01", Streams: []string{"orders", "calls"}},
			{Name: "alpha", Comment: "Free.", Connector: "free"},
		},
	})
	c := loadString(t, testOptions(t, "X=secret"), string(text))
	var order []string
	for _, s := range c.Sources {
		order = append(order, s.Name)
	}
	if diff := cmp.Diff([]string{"zeta", "alpha"}, order); diff != "" {
		t.Error(diff)
	}
	cfg, err := c.Sources[0].Resolve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := cfg.Decode(&got); err != nil {
		t.Fatal(err)
	}
	want := maps.Clone(settings)
	want["client_secret"] = "pa: ss #\"secret' \\ \n{}[]*&!|>%@`"
	want["page_size"] = 7.0
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if u, err := c.Sink.Resolve(t.Context()); err != nil || u.SQLite != "/tmp/a b.db" {
		t.Errorf("sink %q, %v", u.SQLite, err)
	}
}
