package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// A File is a winch.yaml to be written.
type File struct {
	// Comment stands at the top; may have several lines.
	Comment string
	// SinkURL is left out if empty.
	SinkURL string
	Sources []FileSource
}

// A FileSource is an entry under sources. What is empty is left out.
type FileSource struct {
	Name      string
	Comment   string
	Connector string
	// Config are the connector's settings: what encoding/json can marshal.
	// References in strings stay references.
	Config   map[string]any
	Schedule string
	Timezone string
	Since    string
	Streams  []string
}

// Render writes a configuration as YAML for people. Keys of settings are sorted,
// everything else is in the order given.
func Render(f File) []byte {
	var w writer
	w.comment(0, f.Comment)
	if f.SinkURL != "" {
		w.line(0, "sink:")
		w.line(1, "url: "+quoted(f.SinkURL))
	}
	if len(f.Sources) > 0 {
		w.line(0, "sources:")
	}
	for _, s := range f.Sources {
		w.comment(1, s.Comment)
		w.line(1, s.Name+":")
		w.line(2, "connector: "+quoted(s.Connector))
		if len(s.Config) > 0 {
			w.line(2, "config:")
			w.table(3, s.Config)
		}
		for _, k := range []struct{ name, value string }{{"schedule", s.Schedule}, {"timezone", s.Timezone}, {"since", s.Since}} {
			if k.value != "" {
				w.line(2, k.name+": "+quoted(k.value))
			}
		}
		if len(s.Streams) > 0 {
			w.line(2, "streams: "+flow(toAny(s.Streams)))
		}
	}
	return w.Bytes()
}

// A writer writes lines of YAML, indented by two spaces a level.
type writer struct{ bytes.Buffer }

func (w *writer) line(level int, text string) {
	w.WriteString(strings.Repeat("  ", level) + text + "\n")
}

func (w *writer) comment(level int, text string) {
	if text == "" {
		return
	}
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		w.line(level, strings.TrimRight("# "+line, " "))
	}
}

func (w *writer) table(level int, table map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(table)) {
		if inside, ok := table[name].(map[string]any); ok && len(inside) > 0 {
			w.line(level, quoted(name)+":")
			w.table(level+1, inside)
			continue
		}
		w.line(level, quoted(name)+": "+flow(table[name]))
	}
}

func toAny(texts []string) any {
	list := make([]any, len(texts))
	for i, text := range texts {
		list[i] = text
	}
	return list
}

// flow is a value on one line. Text inside lists and tables is quoted like JSON,
// so that brackets and commas in it do no harm.
func flow(v any) string {
	if text, ok := v.(string); ok {
		return quoted(text)
	}
	return asJSON(v)
}

// asJSON is v as JSON, which YAML reads as the same value.
func asJSON(v any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(fmt.Sprintf("config: a setting of type %T cannot be written: %v", v, err))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

var (
	// plain text needs no quotes: it begins with a letter, a slash or a
	// reference, and holds nothing that YAML gives a meaning to.
	plain = regexp.MustCompile(`^(?:[A-Za-z/]|\$\{)[A-Za-z0-9_./${}:@+=-]*$`)
	// wordsOfYAML are read as something else than text by one YAML version or
	// the other.
	wordsOfYAML = regexp.MustCompile(`^(?i:true|false|yes|no|on|off|y|n|null)$`)
)

// quoted is text as a YAML scalar, in quotes where it needs them.
func quoted(text string) string {
	if plain.MatchString(text) && !wordsOfYAML.MatchString(text) && !strings.HasSuffix(text, ":") {
		return text
	}
	return asJSON(text)
}
