package generic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/pkg/connector"
)

// The tables of README.md are those of the definition.
func TestReadmeTablesAreCurrent(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	got := string(file)
	want := between(t, got, "settings", settingsTable(t))
	want = between(t, want, "streams", streamsTable(Definition().Streams))
	if *update {
		if err := os.WriteFile("README.md", []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		got = want
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("run with -update to rewrite (-want +got):\n%s", diff)
	}
}

// between replaces what stands between <!-- name --> and <!-- /name -->.
func between(t *testing.T, text, name, table string) string {
	t.Helper()
	before, rest, ok1 := strings.Cut(text, "<!-- "+name+" -->\n")
	_, after, ok2 := strings.Cut(rest, "<!-- /"+name+" -->\n")
	if !ok1 || !ok2 {
		t.Fatalf("README.md has no place for the %s", name)
	}
	return before + "<!-- " + name + " -->\n" + table + "<!-- /" + name + " -->\n" + after
}

// settingsTable lists the settings in the order of the schema.
func settingsTable(t *testing.T) string {
	t.Helper()
	var schema struct {
		Properties json.RawMessage `json:"properties"`
	}
	if err := json.Unmarshal(configSchema, &schema); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("| setting | default | meaning |\n| --- | --- | --- |\n")
	dec := json.NewDecoder(bytes.NewReader(schema.Properties))
	if _, err := dec.Token(); err != nil {
		t.Fatal(err)
	}
	for dec.More() {
		name, err := dec.Token()
		var p struct {
			Description string          `json:"description"`
			Default     json.RawMessage `json:"default"`
		}
		if err != nil || dec.Decode(&p) != nil {
			t.Fatal("properties of the schema", err)
		}
		value := ""
		if p.Default != nil {
			value = "`" + strings.Trim(string(p.Default), `"`) + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", name, value, p.Description)
	}
	return b.String()
}

func streamsTable(all []connector.Stream) string {
	var b strings.Builder
	b.WriteString("| stream | mode | key | columns |\n| --- | --- | --- | --- |\n")
	for _, st := range all {
		mode := string(st.Mode)
		if st.Mode == connector.ModeWindow {
			mode = fmt.Sprintf("%s, %s, %s, %s", st.Mode, st.Slice, st.Lookback, st.Lag)
		}
		var columns []string
		for _, c := range st.Columns {
			name := c.Name
			if c.Personal {
				name += "\\*"
			}
			columns = append(columns, name)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", st.Name, mode, strings.Join(st.PrimaryKey, ", "), strings.Join(columns, ", "))
	}
	return b.String()
}
