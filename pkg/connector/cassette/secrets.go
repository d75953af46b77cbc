package cassette

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
)

var secretSetting = regexp.MustCompile(`(?i)(secret|password|passwd|token|api[_-]?key|private[_-]?key|authorization)$`)

// Secrets returns the secrets of a configuration: the values, however deep, of
// properties that the JSON Schema marks writeOnly anywhere, and of those whose
// names end as those of secrets do.
func Secrets(schema, config json.RawMessage) []string {
	names := map[string]bool{}
	var document any
	if json.Unmarshal(schema, &document) == nil {
		secretNames(document, document, "", names, 0)
	}
	var settings any
	if json.Unmarshal(config, &settings) != nil {
		return nil
	}
	var found []string
	collect(settings, func(name string) bool { return names[name] || secretSetting.MatchString(name) }, false, &found)
	slices.Sort(found)
	return slices.Compact(found)
}

// secretNames collects the names of properties whose schema, or a part of it that
// belongs to no other property, is writeOnly.
func secretNames(document, node any, name string, names map[string]bool, depth int) {
	if depth > deepest {
		return // a reference to itself
	}
	switch node := node.(type) {
	case []any:
		for _, part := range node {
			secretNames(document, part, name, names, depth+1)
		}
	case map[string]any:
		if marked, _ := node["writeOnly"].(bool); marked {
			names[name] = true
		}
		if reference, _ := node["$ref"].(string); name != "" && strings.HasPrefix(reference, "#/$defs/") {
			definitions, _ := document.(map[string]any)["$defs"].(map[string]any)
			if definition, _ := definitions[strings.TrimPrefix(reference, "#/$defs/")].(map[string]any); definition["writeOnly"] == true {
				names[name] = true
			}
		}
		for keyword, part := range node {
			properties, ok := part.(map[string]any)
			if !ok || keyword != "properties" && keyword != "patternProperties" {
				secretNames(document, part, name, names, depth+1)
				continue
			}
			for property, schema := range properties {
				secretNames(document, schema, property, names, depth+1)
			}
		}
	}
}

// collect appends the texts and numbers below properties that are secret.
func collect(node any, secret func(name string) bool, inside bool, found *[]string) {
	switch node := node.(type) {
	case map[string]any:
		for name, value := range node {
			collect(value, secret, inside || secret(name), found)
		}
	case []any:
		for _, value := range node {
			collect(value, secret, inside, found)
		}
	case string:
		if inside && node != "" {
			*found = append(*found, node)
		}
	case float64:
		if text, err := json.Marshal(node); inside && err == nil {
			*found = append(*found, string(text))
		}
	}
}
