package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// A settingsSchema is the JSON Schema of a connector's settings.
type settingsSchema struct {
	raw      json.RawMessage
	root     any // raw, decoded
	compiled *jsonschema.Schema
}

// compileSettings reads a connector's schema. A schema that refers to anything
// outside of itself is refused: it comes from a plugin, and must not make the
// agent read files.
func compileSettings(raw json.RawMessage) (*settingsSchema, error) {
	root, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(noLoader{})
	c.AssertFormat()
	if err := c.AddResource(schemaURL, root); err != nil {
		return nil, err
	}
	compiled, err := c.Compile(schemaURL)
	if err != nil {
		return nil, err
	}
	return &settingsSchema{raw, root, compiled}, nil
}

const schemaURL = "winch:settings"

type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, errors.New("a schema must not refer to " + url)
}

// check validates values against the schema. With resolved set, values are those
// of s with its references resolved, and no problem shows them.
func (c *settingsSchema) check(s *settings, values map[string]any, resolvedValues bool) Problems {
	var invalid *jsonschema.ValidationError
	if err := c.compiled.Validate(values); !errors.As(err, &invalid) {
		return nil
	}
	r := schemaReport{schema: c, settings: s, values: values, resolved: resolvedValues}
	return r.problems(invalid)
}

// A property is what a schema says about one setting.
type property struct {
	Types       []string
	Description string
	Secret      bool
	Enum        []any
	Examples    []any
	Default     any
	HasDefault  bool
}

// property merges what the schema's parts say about the setting at p, which is
// relative to the settings. A setting inside a secret one is secret.
func (c *settingsSchema) property(p path) property {
	var prop property
	for n := range len(p) + 1 {
		for _, node := range c.at(p[:n]) {
			if secret, _ := node["writeOnly"].(bool); secret {
				prop.Secret = true
			}
			if n < len(p) {
				continue
			}
			switch t := node["type"].(type) {
			case string:
				prop.Types = append(prop.Types, t)
			case []any:
				for _, name := range t {
					prop.Types = append(prop.Types, fmt.Sprint(name))
				}
			}
			if text, ok := node["description"].(string); ok && prop.Description == "" {
				prop.Description = text
			}
			if list, ok := node["enum"].([]any); ok && prop.Enum == nil {
				prop.Enum = list
			}
			if list, ok := node["examples"].([]any); ok && prop.Examples == nil {
				prop.Examples = list
			}
			if v, ok := node["default"]; ok && !prop.HasDefault {
				prop.Default, prop.HasDefault = v, true
			}
		}
	}
	return prop
}

// declared reports whether the schema knows the setting at p by name.
func (c *settingsSchema) declared(p path) bool { return len(c.at(p)) > 0 }

// names returns the names of the settings inside the one at p, sorted.
func (c *settingsSchema) names(p path) []string {
	names := map[string]bool{}
	for _, node := range c.at(p) {
		properties, _ := node["properties"].(map[string]any)
		for name := range properties {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// declaredOrder returns the names of the settings as the schema's author ordered
// them; those that stand elsewhere than in the schema's own properties come last.
func (c *settingsSchema) declaredOrder() []string {
	all := c.names(nil)
	var top struct {
		Properties json.RawMessage `json:"properties"`
	}
	if json.Unmarshal(c.raw, &top) != nil || len(top.Properties) == 0 {
		return all
	}
	var order []string
	dec := json.NewDecoder(bytes.NewReader(top.Properties))
	if _, err := dec.Token(); err != nil {
		return all
	}
	for dec.More() {
		name, err := dec.Token()
		var skipped json.RawMessage
		if err != nil || dec.Decode(&skipped) != nil {
			return all
		}
		if text, ok := name.(string); ok {
			order = append(order, text)
		}
	}
	for _, name := range all {
		if !slices.Contains(order, name) {
			order = append(order, name)
		}
	}
	return order
}

// at returns the subschemas that can apply to the setting at p.
func (c *settingsSchema) at(p path) []map[string]any {
	nodes := c.expand(c.root, nil)
	for _, name := range p {
		var next []map[string]any
		for _, node := range nodes {
			if strings.HasPrefix(name, "[") {
				next = append(next, c.expand(node["items"], nil)...)
				continue
			}
			properties, _ := node["properties"].(map[string]any)
			if sub, ok := properties[name]; ok {
				next = append(next, c.expand(sub, nil)...)
			} else if sub, ok := node["additionalProperties"].(map[string]any); ok {
				next = append(next, c.expand(sub, nil)...)
			}
		}
		nodes = next
	}
	return nodes
}

// expand returns the schema and those that it is composed of. refs are the
// references on the way there: a schema can refer to itself.
func (c *settingsSchema) expand(v any, refs []string) []map[string]any {
	node, ok := v.(map[string]any)
	if !ok {
		return nil
	}
	nodes := []map[string]any{node}
	if ref, ok := node["$ref"].(string); ok && !slices.Contains(refs, ref) {
		nodes = append(nodes, c.expand(c.pointer(ref), append(slices.Clip(refs), ref))...)
	}
	for _, word := range []string{"allOf", "anyOf", "oneOf"} {
		list, _ := node[word].([]any)
		for _, sub := range list {
			nodes = append(nodes, c.expand(sub, refs)...)
		}
	}
	for _, word := range []string{"then", "else"} {
		nodes = append(nodes, c.expand(node[word], refs)...)
	}
	return nodes
}

// pointer returns what a JSON pointer after "#" leads to, or nil.
func (c *settingsSchema) pointer(ref string) any {
	_, pointer, ok := strings.Cut(ref, "#")
	if !ok {
		return nil
	}
	v := c.root
	for name := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		if name == "" {
			continue
		}
		name = strings.NewReplacer("~1", "/", "~0", "~").Replace(name)
		switch t := v.(type) {
		case map[string]any:
			v = t[name]
		case []any:
			item, ok := lookup(t, path{"[" + name + "]"})
			if !ok {
				return nil
			}
			v = item
		default:
			return nil
		}
	}
	return v
}
