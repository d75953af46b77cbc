package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/winchdata/winch/pkg/connector"
)

// Starter returns a commented winch.yaml with a source for each named connector;
// a connector that is named twice gets two. Without names there is a block for
// every connector, commented out. Required settings come first, secrets as
// ${env:...}; the others are commented out with their default and description.
func Starter(connectors []connector.Definition, names ...string) ([]byte, error) {
	byName := map[string]connector.Definition{}
	var known []string
	for _, def := range connectors {
		byName[def.Name] = def
		known = append(known, def.Name)
	}
	var w writer
	w.comment(0, starterHead)
	w.line(0, "sink:")
	w.line(1, "url: "+DefaultSink)
	w.line(1, "# url: ${env:DATABASE_URL}    # postgres://user:password@host:5432/database")
	w.line(0, "")
	w.line(0, "# The accounts to pull. The name of a source is the schema of its tables.")
	w.line(0, "sources:")
	used := map[string]int{}
	for _, name := range names {
		def, ok := byName[name]
		if !ok {
			return nil, fmt.Errorf("there is no connector %s; %s", name, didYouMean(name, known))
		}
		used[name]++
		source := name
		if n := used[name]; n > 1 {
			source = fmt.Sprintf("%s_%d", name, n)
		}
		block, err := starterSource(def, source)
		if err != nil {
			return nil, err
		}
		w.Write(block)
	}
	if len(names) == 0 {
		w.line(1, "# Remove the first # of each line of a block to use it.")
		for _, def := range connectors {
			block, err := starterSource(def, def.Name)
			if err != nil {
				return nil, err
			}
			for line := range strings.Lines(string(block)) {
				w.WriteString("#" + line)
			}
		}
	}
	return w.Bytes(), nil
}

const starterHead = `What Winch pulls, when, and where to.

  winch validate    checks this file
  winch check       tries the credentials and looks at each stream
  winch pull        reads what is due now
  winch serve       does so by the schedules below

${env:NAME}, ${file:/path} and ${exec:command arguments} are replaced by what they
name when a source is opened, so that no secret need stand here.

Where rows land: one file beside this one, or PostgreSQL.`

// starterSource is the entry of one source, indented by one level.
func starterSource(def connector.Definition, name string) ([]byte, error) {
	var schema *settingsSchema
	if len(def.ConfigSchema) > 0 {
		var err error
		if schema, err = compileSettings(def.ConfigSchema); err != nil {
			return nil, fmt.Errorf("the connector %s has an unusable schema of its settings: %w", def.Name, err)
		}
	}
	var w writer
	w.line(1, name+":")
	if def.Title != "" {
		w.line(2, strings.TrimSuffix(fmt.Sprintf("# %s: %s", oneLine(def.Title, 80), oneLine(def.DocsURL, 200)), ": "))
	}
	w.line(2, "connector: "+def.Name)
	if schema != nil && len(schema.names(nil)) > 0 {
		w.line(2, "config:")
		starterSettings(&w, schema, name)
	}
	w.line(2, `schedule: "0 2 * * *"          # five cron fields, @daily, @every 6h; without one: by hand only`)
	w.line(2, "timezone: UTC")
	w.line(2, "# since: 2025-01-01            # the earliest day to read")
	if len(def.Streams) > 0 {
		starterStreams(&w, def.Streams)
	}
	return w.Bytes(), nil
}

func starterSettings(w *writer, schema *settingsSchema, source string) {
	required := schema.required(source)
	for _, name := range schema.declaredOrder() {
		if value, ok := required[name]; ok {
			if about := sentence(schema.property(path{name}).Description); about != "" {
				w.line(3, "# "+about)
			}
			w.line(3, quoted(name)+": "+flow(value))
		}
	}
	for _, name := range schema.declaredOrder() {
		if _, ok := required[name]; ok {
			continue
		}
		line := "# " + quoted(name) + ": " + flow(schema.start(path{name}, source))
		if about := sentence(schema.property(path{name}).Description); about != "" {
			line = fmt.Sprintf("%-40s # %s", line, about)
		}
		w.line(3, line)
	}
}

func starterStreams(w *writer, streams []connector.Stream) {
	w.line(2, "# streams:                     # without this: all but the optional ones, with these settings")
	for _, s := range streams {
		var settings []string
		for _, span := range []struct {
			name  string
			value connector.Span
		}{{"slice", s.Slice}, {"lookback", s.Lookback}, {"lag", s.Lag}} {
			if !span.value.IsZero() && s.Mode == connector.ModeWindow {
				settings = append(settings, span.name+": "+span.value.String())
			}
		}
		about := sentence(s.Description)
		if s.Optional {
			about = strings.TrimSuffix("optional: "+about, ": ")
		}
		line := fmt.Sprintf("#   %s: {%s}", s.Name, strings.Join(settings, ", "))
		if about != "" {
			line = fmt.Sprintf("%-50s # %s", line, about)
		}
		w.line(2, line)
	}
}

// required returns the settings that must be given, each with a value to begin
// with: what the validator misses in an empty configuration, until it misses
// nothing more. Of alternatives it is the first.
func (c *settingsSchema) required(source string) map[string]any {
	values := map[string]any{}
	more := true
	const most = 32 // a schema that requires itself inside of itself never has enough
	for n := 0; more && n < most; n++ {
		more = false
		var invalid *jsonschema.ValidationError
		if !errors.As(c.compiled.Validate(values), &invalid) {
			break
		}
		eachMissing(invalid, func(location []string, name string) {
			inside, ok := lookup(values, location)
			table, isTable := inside.(map[string]any)
			if _, have := table[name]; ok && isTable && !have {
				table[name] = c.start(append(path(location), name), source)
				more = true
			}
		})
	}
	return values
}

// eachMissing visits the missing settings that a validation found.
func eachMissing(e *jsonschema.ValidationError, visit func(location []string, name string)) {
	causes := e.Causes
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		for _, name := range k.Missing {
			visit(e.InstanceLocation, name)
		}
	case *kind.AnyOf, *kind.OneOf:
		causes = causes[:min(1, len(causes))]
	}
	for _, cause := range causes {
		eachMissing(cause, visit)
	}
}

// start is a value to begin with: a reference for a secret; else the default, an
// example, the first choice; else a reference or the simplest value of the type.
func (c *settingsSchema) start(p path, source string) any {
	prop := c.property(p)
	reference := "${env:" + variableFor(append(path{"sources", source, "config"}, p...)) + "}"
	switch {
	case prop.Secret && (len(prop.Types) == 0 || slices.Contains(prop.Types, "string")):
		return reference
	case prop.HasDefault:
		return prop.Default
	case len(prop.Examples) > 0:
		return prop.Examples[0]
	case len(prop.Enum) > 0:
		return prop.Enum[0]
	case len(prop.Types) == 0:
		return reference
	}
	switch prop.Types[0] {
	case "boolean":
		return false
	case "integer", "number":
		for _, node := range c.at(p) {
			if least, ok := node["minimum"].(json.Number); ok {
				return least
			}
			if below, ok := node["exclusiveMinimum"].(json.Number); ok {
				n, _ := below.Int64()
				return n + 1
			}
		}
		return 0
	case "array":
		for _, node := range c.at(p) {
			if least, ok := node["minItems"].(json.Number); ok && least != "0" {
				return []any{c.start(p.key("[0]"), source)}
			}
		}
		return []any{}
	case "object":
		return map[string]any{}
	}
	return reference
}
