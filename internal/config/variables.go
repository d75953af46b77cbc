package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/knadh/koanf/providers/env/v2"
)

const prefix = "WINCH_"

// reservedVariable reports whether a WINCH_ variable is not meant to name a key:
// the path of the file, and what the tests of Winch read.
func reservedVariable(name string) bool {
	return name == pathVariable || strings.HasPrefix(name, prefix+"TEST_")
}

// A variableTable says which keys a variable can set.
type variableTable map[string][]target

// A target is a key that a variable can set, and how its text becomes a value.
type target struct {
	at    path
	value func(text string) any
}

// newVariableTable lists the variables for the keys of this package, for the
// sources and streams in values, and for the settings that are in values or in
// the schema of the source's connector.
func newVariableTable(values map[string]any, schemaOf func(connector string) *settingsSchema) variableTable {
	t := variableTable{}
	t.addKeys(nil, fileKeys, values, schemaOf)
	return t
}

func (t variableTable) addKeys(p path, keys []key, values map[string]any, schemaOf func(string) *settingsSchema) {
	for _, k := range keys {
		at := p.key(k.name)
		inside, _ := values[k.name].(map[string]any)
		switch k.form {
		case formText:
			t.add(at, asText)
		case formFlag:
			t.add(at, asFlag)
		case formList:
			t.add(at, asList)
		case formTexts:
			for name := range inside {
				t.add(at.key(name), asText)
			}
		case formTable:
			t.addKeys(at, k.keys, inside, schemaOf)
		case formStreams, formNamed:
			if k.form == formStreams {
				t.add(at, asList)
			}
			for name, entry := range inside {
				table, _ := entry.(map[string]any)
				t.addKeys(at.key(name), k.keys, table, schemaOf)
			}
		case formSettings:
			connector, _ := values["connector"].(string)
			t.addSettings(at, nil, inside, schemaOf(connector))
		}
	}
}

func (t variableTable) addSettings(base, p path, values map[string]any, schema *settingsSchema) {
	names := slices.Collect(maps.Keys(values))
	if schema != nil {
		names = append(names, schema.names(p)...)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		at, full := p.key(name), append(slices.Clip(base), p.key(name)...)
		inside, isTable := values[name].(map[string]any)
		if isTable || schema != nil && len(schema.names(at)) > 0 {
			t.addSettings(base, at, inside, schema)
			continue
		}
		var types []string
		if schema != nil {
			types = schema.property(at).Types
		}
		present := values[name]
		t.add(full, func(text string) any { return asSetting(text, types, present) })
	}
}

func (t variableTable) add(p path, value func(string) any) {
	name := variableName(p)
	t[name] = append(t[name], target{p, value})
}

// variableName is the name of the variable that sets the key at p.
func variableName(p path) string { return prefix + strings.ToUpper(strings.Join(p, "_")) }

func asText(text string) any { return text }

func asFlag(text string) any {
	if b, err := strconv.ParseBool(text); err == nil {
		return b
	}
	return text
}

func asList(text string) any {
	var list []any
	for item := range strings.SplitSeq(text, ",") {
		list = append(list, strings.TrimSpace(item))
	}
	return list
}

// asSetting reads text as one of the types that the schema allows, or as the type
// of the value that it replaces where there is no schema.
func asSetting(text string, types []string, present any) any {
	if len(types) == 0 {
		switch present.(type) {
		case bool:
			types = []string{"boolean"}
		case json.Number:
			types = []string{"number"}
		case []any:
			types = []string{"array"}
		}
	}
	var number json.Number
	switch {
	case slices.Contains(types, "string"):
	case slices.Contains(types, "boolean"):
		return asFlag(text)
	case slices.Contains(types, "integer"), slices.Contains(types, "number"):
		if !strings.ContainsAny(text, "eE") && json.Unmarshal([]byte(text), &number) == nil {
			return number
		}
	case slices.Contains(types, "array"):
		return asList(text)
	}
	return text
}

// read returns the values that the environment sets, and by which variable. used
// are the variables that references name.
func (t variableTable) read(environ []string, used map[string]bool) (values map[string]any, by map[string]string, problems Problems) {
	by = map[string]string{}
	provider := env.Provider(delimiter, env.Opt{
		Prefix:      prefix,
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(name, text string) (string, any) {
			targets := t[name]
			switch {
			case len(targets) == 1 && text != "":
				by[targets[0].at.id()] = name
				return targets[0].at.id(), targets[0].value(text)
			case len(targets) > 1:
				names := make([]string, len(targets))
				for i, target := range targets {
					names[i] = target.at.String()
				}
				slices.Sort(names)
				problems = append(problems, Problem{
					Variable: name, Message: fmt.Sprintf("the variable can mean %s", choose(names)),
					Fix: "set the key in the file, or give the source another name",
				})
			case len(targets) == 0 && !used[name] && !reservedVariable(name):
				fix := didYouMean(name, slices.Collect(maps.Keys(t)))
				if near(name, slices.Collect(maps.Keys(t))) == "" {
					fix = "unset it; WINCH_SINK_URL sets sink.url, and a source must be in the file to be changed"
				}
				problems = append(problems, Problem{Variable: name, Message: "the variable names no key", Fix: fix})
			}
			return "", nil
		},
	})
	values, err := provider.Read()
	if err != nil {
		problems = append(problems, Problem{Message: "cannot read the environment: " + err.Error()})
	}
	return values, by, problems
}
