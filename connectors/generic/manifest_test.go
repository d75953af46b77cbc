package generic

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/configs"
	"github.com/winchdata/winch/pkg/connector"
)

func TestPresetsAreGood(t *testing.T) {
	t.Parallel()
	schema := compileJSONSchema(t, manifestSchemaFile)
	if diff := cmp.Diff([]string{"fuuffy"}, configs.Presets()); diff != "" {
		t.Errorf("presets (-want +got):\n%s", diff)
	}
	for _, name := range configs.Presets() {
		text, ok := configs.Preset(name)
		if !ok {
			t.Fatalf("%s: no text", name)
		}
		a, err := parseManifest(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if a.Name != name {
			t.Errorf("%s: its name is %q", name, a.Name)
		}
		if err := schema.Validate(yamlValue(t, text)); err != nil {
			t.Errorf("%s: published schema: %v", name, err)
		}
		for _, st := range a.declarations(config{PersonalData: personalKeep}) {
			if err := st.Validate(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	for _, name := range []string{"", "nothing", "../accounts.example", "manifest.schema.json"} {
		if _, ok := configs.Preset(name); ok {
			t.Errorf("there is a preset %q", name)
		}
	}
}

func TestManifestProblemsAreToldAllAtOnceWithLines(t *testing.T) {
	t.Parallel()
	const manifest = `version: 2
name: Toy
base_url: example.com
path_prefix: v1
headers: {Authorization: x}
auth:
  type: password
  token_path: /token
  token_url: https://auth.example.com/token
errors:
  code: ["a[*]"]
  rules:
    - {when: statuss == 401, then: renew}
    - {when: status, then: give_up}
rate:
  windows: [{requests: 0, per: 1x}]
  remaining: Left
parameters:
  - {name: regions, type: list}
colour: blue
streams:
  - name: items
    path: /items/{parent.id}/{each}/{parameter.regions}
    records: data[?@.x]
    key: [id]
    columns:
      - {name: id, type: integer}
      - {name: at, type: timestamptz}
    window: {column: id, since_param: a, until_param: b, format: today, timezone: Mars}
    paging: {type: page}
  - name: items
    path: items
    record: a
    records: b
    key: [missing]
    columns: [{name: id, type: text, path: "a[0]"}]
    parent: {stream: parents, key: id}
    add: {x: "{", y: "{a[*].b}"}
    slice: [1d]
    slice: 1d
`
	_, err := parseManifest([]byte(manifest))
	if err == nil {
		t.Fatal("no error")
	}
	got := strings.Split(err.Error(), "; ")
	want, readErr := os.ReadFile("testdata/problems.txt")
	if *update {
		if err := os.WriteFile("testdata/problems.txt", []byte(strings.Join(got, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if readErr != nil {
		t.Fatal(readErr)
	}
	if diff := cmp.Diff(strings.Split(strings.TrimSpace(string(want)), "\n"), got); diff != "" {
		t.Errorf("run with -update to accept (-want +got):\n%s", diff)
	}
}

func TestManifestsThatAreNoManifests(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                 "the manifest is empty",
		"# nothing":                        "the manifest is empty",
		"- a":                              "want keys and values, got a list",
		"version: 1\n---\nname: a":         "more than one YAML document",
		"a: [":                             "line 2: no YAML: ",
		"version: 1\nversion: 1":           "line 2: version: comes twice",
		"? [a]\n: b":                       "a key that is no text",
		"name: \"a\\u0007\"":               "line 1: name: control characters in a text",
		"\xff":                             "the manifest is not UTF-8 text",
		strings.Repeat("a", maxManifest+1): "the manifest is larger than 1 MiB",
		"streams: &a [*a]":                 "",
		bomb():                             "too much, or too deep, for a manifest",
	} {
		_, err := parseManifest([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %s", text, err, want)
		}
	}
}

// bomb is a small text that expands to a billion elements.
func bomb() string {
	text := "x0: &x0 [a, a, a, a, a, a, a, a, a, a]\n"
	for i := 1; i < 9; i++ {
		name, before := string(rune('0'+i)), string(rune('0'+i-1))
		text += "x" + name + ": &x" + name + " [" + strings.Repeat("*x"+before+", ", 9) + "*x" + before + "]\n"
	}
	return text + "streams: [{body: {a: *x8}}]\n"
}

// A manifest stands in a file, in the settings as a text, or there as keys and
// values, and means the same.
func TestManifestIsReadFromEverywhere(t *testing.T) {
	t.Parallel()
	text, _ := configs.Preset("fuuffy")
	file := filepath.Join(t.TempDir(), "m.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	var streams [][]connector.Stream
	for _, where := range []map[string]any{
		{"preset": "fuuffy"}, {"manifest_file": file}, {"manifest": string(text)}, {"manifest": yamlValue(t, text)},
	} {
		where["client_id"], where["client_secret"] = "a", "b"
		src, err := openWith(t, where)
		if err != nil {
			t.Fatal(err)
		}
		all, err := src.Streams(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		streams = append(streams, all)
	}
	for i := range streams {
		if diff := cmp.Diff(Definition().Streams, streams[i]); diff != "" {
			t.Errorf("way %d (-want +got):\n%s", i, diff)
		}
	}
	// Keys and values have no lines; their paths say where.
	_, err := parseInline(json.RawMessage(`{"version":1,"name":"a","base_url":"https://a","auth":{"type":"oauth2_client_credentials"},"streams":[{"name":7,"pth":"/"}]}`))
	for _, want := range []string{"auth: want token_path or token_url", "streams[0].pth: no such key", "streams[0].path: missing"} {
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "line") {
			t.Errorf("inline: %v, want %s", err, want)
		}
	}
}

func FuzzManifest(f *testing.F) {
	text, _ := configs.Preset("fuuffy")
	f.Add(text)
	f.Add([]byte(minimal("streams: [{name: a, path: /a, records: a, key: [a], columns: [{name: a, type: text}]}]\n")))
	f.Add([]byte(bomb()))
	f.Add([]byte("a: &a {b: *a}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := parseManifest(text)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("an error of several lines: %q", err)
			}
			return
		}
		cfg := config{PersonalData: personalHash, ClientID: "a", ClientSecret: connector.NewSecret("b")}
		if cfg.validate(a) != nil {
			return
		}
		for _, st := range a.streams { // what is accepted can be used
			if _, err := a.split(st, []byte(`{"data":[{"a":1}]}`)); err != nil && connector.KindOf(err) != connector.KindBadResponse {
				t.Errorf("split: %v", err)
			}
			if st.spec.Method != "GET" && !slices.Contains(a.ReadOnlyPost, st.spec.Path) {
				t.Errorf("%s %s is accepted", st.spec.Method, st.spec.Path)
			}
		}
		for _, st := range a.declarations(cfg) {
			if err := st.Validate(); err != nil {
				t.Errorf("stream: %v", err)
			}
		}
	})
}

// What is personal in a parent goes into no request, and into no child, where
// the settings could not protect it.
func TestPersonalDataOfAParentIsNotPassedOn(t *testing.T) {
	t.Parallel()
	_, err := parseManifest([]byte(minimal(`
streams:
  - {name: people, path: /people, records: people, key: [id], columns: [{name: id, type: text}, {name: email, type: text}], personal: [email]}
  - name: visits
    parent: {stream: people, key: id}
    path: /visits
    params: {person: "{parent.email}"}
    add: {email: "{parent.email}"}
    records: visits
    key: [id]
    columns: [{name: id, type: text}]
`)))
	want := "line 11: streams[1].params.person: {parent.email}: personal data is not passed on; " +
		"line 12: streams[1].add.email: {parent.email}: personal data is not passed on"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
