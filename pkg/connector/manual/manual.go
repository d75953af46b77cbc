// Package manual turns the definition of a connector into what people read of it:
// its settings, streams and columns, the same in the README and on the command
// line.
package manual

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/winchdata/winch/pkg/connector"
)

// A Setting is a property of a configuration schema.
type Setting struct {
	// Name has the names of what the setting stands in before its own:
	// "widgets.types", "streams[].name".
	Name string
	// Kind is "string", "secret", "one of a b" and so on.
	Kind        string
	Description string
	// Default is JSON, a text without its quotes; "" where there is none, and for
	// a group, whose members have theirs.
	Default  string
	Required bool
}

// Settings lists the settings of a JSON Schema in its order, those that are made
// of others followed by these.
func Settings(schema json.RawMessage) ([]Setting, error) {
	var root property
	if err := json.Unmarshal(schema, &root); err != nil {
		return nil, fmt.Errorf("configuration schema: %w", err)
	}
	return root.settings(""), nil
}

type property struct {
	Type        any
	Title       string
	Description string
	Default     json.RawMessage
	Enum        []any
	WriteOnly   bool
	Required    []string
	Properties  properties
	Items       *property
}

func (p *property) settings(prefix string) (all []Setting) {
	for _, one := range p.Properties {
		s := Setting{
			Name: prefix + one.name, Kind: one.kind(), Description: one.Description,
			Required: slices.Contains(p.Required, one.name),
		}
		if s.Description == "" {
			s.Description = one.Title
		}
		var inner []Setting
		if inner = one.settings(s.Name + "."); inner == nil && one.Items != nil {
			inner = one.Items.settings(s.Name + "[].")
		}
		if len(one.Properties) == 0 {
			s.Default = one.defaultText()
		}
		all = append(append(all, s), inner...)
	}
	return all
}

func (p *property) kind() string {
	switch {
	case p.WriteOnly:
		return "secret"
	case len(p.Enum) > 0:
		kind := "one of"
		for _, value := range p.Enum {
			if value != "" { // which is as good as leaving it out
				kind += fmt.Sprintf(" %v", value)
			}
		}
		return kind
	case p.Type == nil:
		return "any"
	}
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(p.Type), "[]"), " ", " or ")
}

func (p *property) defaultText() string {
	text := strings.Join(strings.Fields(strings.Trim(string(p.Default), `"`)), " ")
	return strings.NewReplacer("[ ", "[", " ]", "]").Replace(text)
}

// properties are in the order of the text.
type properties []namedProperty

type namedProperty struct {
	name string
	property
}

func (p *properties) UnmarshalJSON(b []byte) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	if begin, err := dec.Token(); err != nil || begin != json.Delim('{') {
		return errors.New("properties are no object")
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return err
		}
		one := namedProperty{name: fmt.Sprint(name)}
		if err := dec.Decode(&one.property); err != nil {
			return err
		}
		*p = append(*p, one)
	}
	return nil
}

// Mode is how a stream is read: its mode, and for windows the column of the time,
// slice, lookback and lag.
func Mode(st connector.Stream) string {
	if st.Mode != connector.ModeWindow {
		return string(st.Mode)
	}
	by := ""
	if st.TimeColumn != "" {
		by = " by `" + st.TimeColumn + "`"
	}
	return fmt.Sprintf("%s%s, %s, %s, %s", st.Mode, by, st.Slice, st.Lookback, st.Lag)
}

// Readme returns the text of a README with the settings and streams of the
// definition between the marks <!-- settings --> and <!-- /settings -->,
// <!-- streams --> and <!-- /streams -->, each on a line of its own.
func Readme(text string, def connector.Definition) (string, error) {
	settings, err := Settings(def.ConfigSchema)
	if err != nil {
		return "", err
	}
	for _, part := range []struct{ mark, table string }{
		{"settings", settingsTable(settings)}, {"streams", streamsTable(def.Streams)},
	} {
		begin, end := "<!-- "+part.mark+" -->\n", "<!-- /"+part.mark+" -->\n"
		before, rest, ok := strings.Cut(text, begin)
		_, after, closed := strings.Cut(rest, end)
		if !ok || !closed {
			return "", fmt.Errorf("no place for the %s: want lines <!-- %s --> and <!-- /%s -->", part.mark, part.mark, part.mark)
		}
		text = before + begin + part.table + end + after
	}
	return text, nil
}

func settingsTable(all []Setting) string {
	var b strings.Builder
	b.WriteString("| setting | default | meaning |\n| --- | --- | --- |\n")
	for _, s := range all {
		value := ""
		switch {
		case s.Required:
			value = "required"
		case s.Default != "":
			value = "`" + s.Default + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", s.Name, value, s.Description)
	}
	return b.String()
}

// streamsTable marks streams that are pulled only when named by italics, and
// personal columns by a star. Secret columns are not stored and not listed.
func streamsTable(all []connector.Stream) string {
	var b strings.Builder
	b.WriteString("| stream | mode | key | columns |\n| --- | --- | --- | --- |\n")
	for _, st := range all {
		name := "`" + st.Name + "`"
		if st.Optional {
			name = "*" + name + "*"
		}
		var columns []string
		for _, c := range st.Columns {
			switch {
			case c.Secret:
			case c.Personal:
				columns = append(columns, c.Name+`\*`)
			default:
				columns = append(columns, c.Name)
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", name, Mode(st), strings.Join(st.PrimaryKey, ", "), strings.Join(columns, ", "))
	}
	return b.String()
}
