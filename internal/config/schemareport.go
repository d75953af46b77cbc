package config

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// A schemaReport turns what a validation found into problems for people.
type schemaReport struct {
	schema   *settingsSchema
	settings *settings
	values   map[string]any
	resolved bool
}

// problems returns the problems behind e. None means that nothing is known to be
// wrong: what hangs on a reference is decided once it is resolved.
func (r schemaReport) problems(e *jsonschema.ValidationError) Problems {
	at := r.instance(e.InstanceLocation)
	switch k := e.ErrorKind.(type) {
	case *kind.AnyOf:
		return r.alternatives(e)
	case *kind.OneOf:
		if len(k.Subschemas) > 1 {
			return Problems{r.problem(at, "settings that exclude each other are given"+r.choices(e), "remove all but one")}
		}
		return r.alternatives(e)
	}
	if len(e.Causes) > 0 {
		var problems Problems
		for _, cause := range e.Causes {
			problems = append(problems, r.problems(cause)...)
		}
		return problems
	}
	if _, wrongType := e.ErrorKind.(*kind.Type); !wrongType && !r.resolved && r.settings.dynamic(r.full(at)) {
		return nil
	}
	return r.leaf(at, e)
}

func (r schemaReport) leaf(at path, e *jsonschema.ValidationError) Problems {
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		return r.missing(at, k.Missing)
	case *kind.DependentRequired:
		return r.missing(at, k.Missing)
	case *kind.AdditionalProperties:
		var problems Problems
		for _, name := range slices.Sorted(slices.Values(k.Properties)) {
			problems = append(problems, r.unknown(at.key(name)))
		}
		return problems
	case *kind.FalseSchema:
		if strings.HasSuffix(e.SchemaURL, "/unevaluatedProperties") {
			if r.schema.declared(at) {
				return nil // part of an alternative that is incomplete, which is reported
			}
			return Problems{r.unknown(at)}
		}
		return Problems{r.problem(at, "not allowed here", "remove it")}
	}
	message, fix := r.wants(at, e.ErrorKind)
	p := r.problem(at, message, fix)
	p.Value = r.value(at)
	return Problems{p}
}

// wants says what a value should have been.
func (r schemaReport) wants(at path, found jsonschema.ErrorKind) (message, fix string) {
	fix = sentence(r.schema.property(at).Description)
	switch k := found.(type) {
	case *kind.Type:
		value, _ := lookup(r.values, at)
		text, _ := value.(string)
		_, isNumber := value.(json.Number)
		switch {
		case isNumber && slices.Contains(k.Want, "string"):
			fix = "put it in quotes"
		case json.Valid([]byte(text)) && !slices.Contains(k.Want, "array") && !slices.Contains(k.Want, "object"):
			fix = "remove the quotes"
		}
		if r.settings.dynamic(r.full(at)) {
			fix = "a reference is always text: write the value itself, or set it by an environment variable"
		}
		return "want " + typeNames(k.Want) + ", found " + kindOf(value), fix
	case *kind.Enum:
		names := make([]string, len(k.Want))
		for i, v := range k.Want {
			names[i] = fmt.Sprint(v)
		}
		if c := near(fmt.Sprint(k.Got), names); c != "" {
			fix = "did you mean " + c + "?"
		}
		return "want " + choose(names), fix
	case *kind.Const:
		return "want " + fmt.Sprint(k.Want), fix
	case *kind.Pattern:
		return "want text that matches " + k.Want, fix
	case *kind.Format:
		return "want " + formatName(k.Want), fix
	case *kind.MinLength:
		if k.Want == 1 {
			return "must not be empty", fix
		}
		return fmt.Sprintf("want at least %d characters", k.Want), fix
	case *kind.MaxLength:
		return fmt.Sprintf("want at most %d characters", k.Want), fix
	case *kind.Minimum:
		return "want at least " + k.Want.RatString(), fix
	case *kind.Maximum:
		return "want at most " + k.Want.RatString(), fix
	case *kind.ExclusiveMinimum:
		return "want more than " + k.Want.RatString(), fix
	case *kind.ExclusiveMaximum:
		return "want less than " + k.Want.RatString(), fix
	case *kind.MultipleOf:
		return "want a multiple of " + k.Want.RatString(), fix
	case *kind.MinItems:
		return fmt.Sprintf("want at least %d in the list, found %d", k.Want, k.Got), fix
	case *kind.MaxItems:
		return fmt.Sprintf("want at most %d in the list, found %d", k.Want, k.Got), fix
	case *kind.UniqueItems:
		return fmt.Sprintf("the list has the same value twice, at [%d] and [%d]", k.Duplicates[0], k.Duplicates[1]), fix
	case *kind.MinProperties:
		return fmt.Sprintf("want at least %d keys, found %d", k.Want, k.Got), fix
	case *kind.MaxProperties:
		return fmt.Sprintf("want at most %d keys, found %d", k.Want, k.Got), fix
	default:
		return "not allowed by the connector's schema (" + strings.Join(found.KeywordPath(), " ") + ")", fix
	}
}

// alternatives reports an anyOf or oneOf of which no branch matched.
func (r schemaReport) alternatives(e *jsonschema.ValidationError) Problems {
	var best Problems
	onlyMissing := true
	for i, cause := range e.Causes {
		problems := r.problems(cause)
		if len(problems) == 0 {
			return nil // this branch may match once its references are resolved
		}
		if i == 0 || len(problems) < len(best) {
			best = problems
		}
		onlyMissing = onlyMissing && isMissing(cause)
	}
	if choices := r.choices(e); onlyMissing && choices != "" {
		return Problems{r.problem(r.instance(e.InstanceLocation), "incomplete"+choices, "add what is missing of one of them")}
	}
	return best
}

func isMissing(e *jsonschema.ValidationError) bool {
	if _, ok := e.ErrorKind.(*kind.Required); ok {
		return true
	}
	if len(e.Causes) == 0 {
		return false
	}
	return !slices.ContainsFunc(e.Causes, func(c *jsonschema.ValidationError) bool { return !isMissing(c) })
}

// choices says which settings the branches of an anyOf or oneOf require:
// ": want client_id and client_secret, or username and password".
func (r schemaReport) choices(e *jsonschema.ValidationError) string {
	node, _ := r.schema.pointer(e.SchemaURL).(map[string]any)
	word := e.ErrorKind.KeywordPath()
	if len(word) != 1 {
		return ""
	}
	branches, _ := node[word[0]].([]any)
	var choices []string
	for _, branch := range branches {
		var names []string
		for _, part := range r.schema.expand(branch, nil) {
			required, _ := part["required"].([]any)
			for _, name := range required {
				names = append(names, fmt.Sprint(name))
			}
		}
		if len(names) > 0 {
			choices = append(choices, strings.Join(names, " and "))
		}
	}
	if len(choices) == 0 {
		return ""
	}
	return ": want " + strings.Join(choices, ", or ")
}

func (r schemaReport) missing(at path, names []string) Problems {
	var problems Problems
	for _, name := range names {
		p := at.key(name)
		prop := r.schema.property(p)
		fix := "add " + name + ":"
		if prop.Secret {
			fix += " ${env:" + variableFor(r.full(p)) + "}"
		}
		if about := sentence(prop.Description); about != "" {
			fix += " (" + about + ")"
		}
		problems = append(problems, r.problem(p, "missing", fix))
	}
	return problems
}

// variableFor suggests an environment variable for a setting: KAISA_SE_CLIENT_ID
// for sources.kaisa_se.config.client_id.
func variableFor(p path) string {
	names := append(path{p[1]}, p[3:]...)
	return strings.ToUpper(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.Join(names, "_")))
}

// unknown reports a setting that the schema does not have. Its value is not
// shown: it may be a misspelt secret.
func (r schemaReport) unknown(at path) Problem {
	parent, name := at[:len(at)-1], at[len(at)-1]
	fix := didYouMean(name, r.schema.names(parent))
	if _, ok := find(sourceKeys, name); ok && len(parent) == 0 {
		fix = "it belongs beside config, not under it"
	}
	return r.problem(at, "unknown key", fix)
}

func (r schemaReport) problem(at path, message, fix string) Problem {
	p := r.settings.origins.of(r.full(at))
	p.Message, p.Fix, p.AtRunTime = message, fix, r.resolved
	return p
}

// value is the value at p as a problem may show it: only what the schema declares
// and does not mark as secret, and nothing that a reference has brought in.
func (r schemaReport) value(at path) string {
	value, ok := lookup(r.values, at)
	text := ""
	switch v := value.(type) {
	case string:
		text = v
	case json.Number:
		text = v.String()
	case bool:
		text = strconv.FormatBool(v)
	}
	switch {
	case !ok || text == "" && value != "":
		return ""
	case !r.schema.declared(at) || r.schema.property(at).Secret || r.settings.dynamic(r.full(at)):
		return redacted
	}
	return shown(text)
}

// instance turns a location of the validator into a path relative to the
// settings.
func (r schemaReport) instance(location []string) path {
	var at path
	for _, name := range location {
		if v, _ := lookup(r.values, at); isList(v) {
			name = "[" + name + "]"
		}
		at = at.key(name)
	}
	return at
}

func isList(v any) bool {
	_, ok := v.([]any)
	return ok
}

func (r schemaReport) full(at path) path { return append(slices.Clip(r.settings.at), at...) }

func typeNames(types []string) string {
	names := make([]string, len(types))
	for i, t := range types {
		switch t {
		case "string":
			names[i] = "text"
		case "integer":
			names[i] = "a whole number"
		case "number":
			names[i] = "a number"
		case "boolean":
			names[i] = "true or false"
		case "array":
			names[i] = "a list"
		case "object":
			names[i] = "a table"
		default:
			names[i] = t
		}
	}
	return strings.Join(names, " or ")
}

func formatName(format string) string {
	switch format {
	case "uri", "uri-reference", "iri":
		return "a URL such as https://api.example.com"
	case "date":
		return "a date such as 2025-01-01"
	case "date-time":
		return "a time such as 2025-01-01T06:00:00+01:00"
	case "email":
		return "an e-mail address"
	case "regex":
		return "a regular expression"
	}
	return "a " + format
}

// choose lists names as a choice: a, b or c.
func choose(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}

// sentence is the first sentence of a description, to stand inside a line.
func sentence(description string) string {
	end := endOfSentence.FindStringIndex(description)
	if end != nil {
		description = description[:end[0]+1]
	}
	return oneLine(strings.TrimSuffix(description, "."), 120)
}

// endOfSentence is a full stop after a word; "custom_1, custom_2 ..." has none.
var endOfSentence = regexp.MustCompile(`[^\s.]\.(\s|$)`)
