package config

import (
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write golden files again")

// testOptions know the connectors of testdata, and "free", which takes any
// settings.
func testOptions(t testing.TB, environ ...string) Options {
	t.Helper()
	schemas := map[string]json.RawMessage{"free": nil}
	for _, name := range []string{"shop", "login"} {
		raw, err := os.ReadFile("testdata/" + name + ".schema.json")
		if err != nil {
			t.Fatal(err)
		}
		schemas[name] = raw
	}
	return Options{
		Environ: environ,
		Names:   []string{"shop", "login", "free"},
		Connectors: func(name string) (json.RawMessage, bool) {
			raw, known := schemas[name]
			return raw, known
		},
	}
}

func loadString(t testing.TB, o Options, text string) *Config {
	t.Helper()
	c, err := loadText(o, "winch.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// problemsOf returns the lines of the problems in text.
func problemsOf(t testing.TB, o Options, text string) []string {
	t.Helper()
	_, err := loadText(o, "winch.yaml", []byte(text))
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}

func TestGoldenProblems(t *testing.T) {
	t.Parallel()
	const file = "testdata/problems.txtar"
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	out := &txtar.Archive{Comment: archive.Comment}
	want := map[string]string{}
	for _, f := range archive.Files {
		if name, ok := strings.CutPrefix(f.Name, "> "); ok {
			want[name] = string(f.Data)
		}
	}
	for _, f := range archive.Files {
		if strings.HasPrefix(f.Name, "> ") {
			continue
		}
		got := strings.Join(problemsOf(t, testOptions(t), string(f.Data)), "\n") + "\n"
		out.Files = append(out.Files, f, txtar.File{Name: "> " + f.Name, Data: []byte(got)})
		if strings.Contains(got, "hunter2") {
			t.Errorf("%s: a problem shows a secret:\n%s", f.Name, got)
		}
		if diff := cmp.Diff(want[f.Name], got); diff != "" && !*update {
			t.Errorf("%s:\n%s", f.Name, diff)
		}
	}
	if *update {
		if err := os.WriteFile(file, txtar.Format(out), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheSameProblemIsReportedOnce(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.Connectors = func(string) (json.RawMessage, bool) {
		return json.RawMessage(`{"required": ["a"], "allOf": [{"required": ["a"]}, {"required": ["a", "b"]}]}`), true
	}
	got := problemsOf(t, o, "sources: {x: {connector: c}}")
	want := []string{
		"winch.yaml:1: sources.x.config.a: missing; add a:",
		"winch.yaml:1: sources.x.config.b: missing; add b:",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
