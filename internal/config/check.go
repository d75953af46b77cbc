package config

import (
	"maps"
	"slices"
	"strings"
)

// checkTable reports keys that are not known and values of the wrong form. What
// the values of the right form mean is checked where they are decoded.
func (d *decoder) checkTable(p path, keys []key, values map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		k, known := find(keys, name)
		if !known {
			d.bad(p.key(name), "", "unknown key", d.unknownFix(p, keys, name))
			continue
		}
		d.checkValue(p.key(name), k, values[name])
	}
}

// unknownFix says where an unknown key belongs, or which key it may be.
func (d *decoder) unknownFix(p path, keys []key, name string) string {
	if c := near(name, namesOf(keys)); c != "" {
		return "did you mean " + c + "?"
	}
	if len(p) == 2 && p[0] == "sources" {
		text, _ := d.text(p.key("connector"))
		if schema := d.schemaOf(text); schema != nil && slices.Contains(schema.names(nil), name) {
			return "it belongs under config:"
		}
	}
	if place := elsewhere(fileKeys, "", name); place != "" {
		return "it belongs under " + place
	}
	return didYouMean(name, namesOf(keys))
}

func (d *decoder) checkValue(p path, k key, v any) {
	want := ""
	switch k.form {
	case formText:
		d.checkText(p, k, v)
	case formFlag:
		if _, ok := v.(bool); !ok {
			text, _ := scalar(v)
			d.bad(p, text, "want true or false", "")
		}
	case formList:
		want = "a list"
		if items, ok := v.([]any); ok || v == nil {
			d.checkItems(p, items)
			return
		}
	case formTable:
		want = "a table"
		if table, ok := v.(map[string]any); ok || v == nil {
			d.checkTable(p, k.keys, table)
			return
		}
	case formSettings:
		if !isTable(v) {
			want = "a table"
		}
	case formNamed, formTexts:
		want = "a table of names"
		if table, ok := v.(map[string]any); ok || v == nil {
			d.checkNamed(p, k, table)
			return
		}
	case formStreams:
		want = "a list of names or a table of names"
		switch v := v.(type) {
		case nil:
			return
		case []any:
			d.checkItems(p, v)
			return
		case map[string]any:
			d.checkNamed(p, k, v)
			return
		}
	}
	if want != "" {
		d.bad(p, "", "want "+want+", found "+kindOf(v), formFix(k))
	}
}

func formFix(k key) string {
	switch {
	case k.form == formList:
		return "write [a, b]"
	case k.form == formStreams:
		return "write [customers, calls], or customers: {lookback: 7d} on a line of its own"
	case k.form == formNamed:
		return "write each name with a colon on a line of its own, and its keys under it"
	case len(k.keys) > 0:
		return "its keys: " + strings.Join(namesOf(k.keys), ", ")
	}
	return ""
}

// checkNamed checks the entries of a table whose keys are names.
func (d *decoder) checkNamed(p path, k key, table map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(table)) {
		entry := key{name: name, form: formTable, keys: k.keys}
		if k.form == formTexts {
			entry.form = formText
		}
		d.checkValue(p.key(name), entry, table[name])
	}
}

func (d *decoder) checkItems(p path, items []any) {
	for i, item := range items {
		d.checkText(p.item(i), key{}, item)
	}
}

func (d *decoder) checkText(p path, k key, v any) {
	text, ok := scalar(v)
	value := text
	if k.secret && text != "" {
		value = redacted
	}
	switch {
	case v == nil:
		d.bad(p, "", "the key has no value", "give it one, or remove it")
	case !ok:
		d.bad(p, "", "want text, found "+kindOf(v), "")
	case text == "":
		d.bad(p, "", "the value is empty", "give it one, or remove the key")
	case !k.references && hasReference(text):
		list := p
		if strings.HasPrefix(p[len(p)-1], "[") {
			list = p[:len(p)-1]
		}
		name := variableName(list)
		d.bad(p, value, "references are understood in sink.url and in the settings under config only", "write the value, or set it by the variable "+name)
	case len(k.choices) > 0 && !slices.Contains(k.choices, text):
		fix := ""
		if c := near(text, k.choices); c != "" {
			fix = "did you mean " + c + "?"
		}
		d.bad(p, value, "want "+choose(k.choices), fix)
	}
}

func hasReference(text string) bool {
	return strings.Contains(text, "${")
}
