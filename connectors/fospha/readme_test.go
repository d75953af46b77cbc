package fospha

import (
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
	var schema property
	decode(t, configSchema, &schema)
	file, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	got := string(file)
	want := between(t, got, "settings", settingsTable("", schema.Properties))
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

func settingsTable(prefix string, all properties) string {
	var b strings.Builder
	if prefix == "" {
		b.WriteString("| setting | default | meaning |\n| --- | --- | --- |\n")
	}
	for _, p := range all {
		if len(p.Properties) > 0 {
			fmt.Fprintf(&b, "| `%s%s` | | %s |\n", prefix, p.name, p.Description)
			b.WriteString(settingsTable(prefix+p.name+".", p.Properties))
			continue
		}
		if p.Items != nil && len(p.Items.Properties) > 0 {
			fmt.Fprintf(&b, "| `%s%s` | | %s |\n", prefix, p.name, p.Description)
			b.WriteString(settingsTable(prefix+p.name+"[].", p.Items.Properties))
			continue
		}
		value := ""
		if p.Default != nil {
			text := strings.Join(strings.Fields(strings.Trim(string(p.Default), `"`)), " ")
			value = "`" + strings.NewReplacer("[ ", "[", " ]", "]").Replace(text) + "`"
		}
		fmt.Fprintf(&b, "| `%s%s` | %s | %s |\n", prefix, p.name, value, p.Description)
	}
	return b.String()
}

func streamsTable(all []connector.Stream) string {
	var b strings.Builder
	b.WriteString("| stream | mode | key | columns |\n| --- | --- | --- | --- |\n")
	for _, st := range all {
		name := "`" + st.Name + "`"
		if st.Optional {
			name = "*" + name + "*"
		}
		mode := string(st.Mode)
		if st.Mode == connector.ModeWindow {
			mode = fmt.Sprintf("%s by `%s`, %s, %s, %s", st.Mode, st.TimeColumn, st.Slice, st.Lookback, st.Lag)
		}
		var columns []string
		for _, c := range st.Columns {
			switch {
			case c.Secret:
			case c.Personal:
				columns = append(columns, c.Name+"*")
			default:
				columns = append(columns, c.Name)
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", name, mode, strings.Join(st.PrimaryKey, ", "), strings.ReplaceAll(strings.Join(columns, ", "), "*", "\\*"))
	}
	return b.String()
}
