package config

import (
	"bytes"
	"encoding/json"
)

// editorSchema returns the JSON Schema (2020-12) of winch.yaml for editors:
// configs/winch.schema.json. It follows from the table of keys. What Load checks
// beyond it are the settings of connectors and what text means.
func editorSchema() []byte {
	schema := tableSchema(fileKeys)
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	schema["title"] = "winch.yaml"
	schema["description"] = "What Winch pulls, when, and where to."
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(schema); err != nil {
		panic("config: the editor schema holds what JSON cannot: " + err.Error())
	}
	return b.Bytes()
}

func tableSchema(keys []key) map[string]any {
	properties := map[string]any{}
	for _, k := range keys {
		properties[k.name] = k.schema()
	}
	schema := map[string]any{
		"type":                 []string{"object", "null"},
		"properties":           properties,
		"additionalProperties": false,
	}
	if _, ok := find(keys, "connector"); ok {
		schema["required"] = []string{"connector"}
		schema["type"] = "object"
	}
	return schema
}

func (k key) schema() map[string]any {
	schema := map[string]any{}
	names := map[string]any{"type": "string"}
	switch k.form {
	case formText:
		// Numbers are text too: "lookback: 0".
		schema["type"] = []string{"string", "number"}
		if len(k.choices) > 0 {
			schema = map[string]any{"enum": k.choices}
		}
		if k.pattern != "" {
			schema["pattern"] = k.pattern
		}
		if k.example != "" {
			schema["examples"] = []string{k.example}
		}
	case formFlag:
		schema["type"] = "boolean"
	case formList:
		schema["type"], schema["items"] = []string{"array", "null"}, names
	case formTable:
		schema = tableSchema(k.keys)
	case formNamed:
		schema = namedSchema(tableSchema(k.keys))
	case formTexts:
		schema = namedSchema(map[string]any{"type": "string", "pattern": k.pattern})
	case formSettings:
		schema["type"] = []string{"object", "null"}
	case formStreams:
		schema["oneOf"] = []any{
			map[string]any{"type": "array", "items": names, "minItems": 1, "uniqueItems": true},
			namedSchema(tableSchema(k.keys)),
		}
	}
	schema["description"] = k.about
	switch {
	case k.standard == "":
	case k.form == formFlag:
		schema["default"] = k.standard == "true"
	default:
		schema["default"] = k.standard
	}
	return schema
}

func namedSchema(entry map[string]any) map[string]any {
	return map[string]any{
		"type":                 []string{"object", "null"},
		"propertyNames":        map[string]any{"pattern": "^[a-z][a-z0-9_]{0,62}$"},
		"additionalProperties": entry,
	}
}
