package generic

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"github.com/winchdata/winch/pkg/connector"
)

const (
	maxManifest = 1 << 20 // bytes, far above any manifest written by people
	maxNodes    = 20_000  // bounds what aliases can expand to
	maxDepth    = 32
	maxProblems = 100 // shown
)

// A reading is a manifest that is being read: what stands where, and what is
// wrong with it.
type reading struct {
	lines    map[string]int // of keys and items, by path: "streams[0].path"; empty where there are none to tell
	nodes    int
	told     map[string]bool // paths that have a problem
	problems []problem
}

func newReading() *reading { return &reading{lines: map[string]int{}, told: map[string]bool{}} }

type problem struct {
	line int
	text string
}

func (p problem) String() string {
	if p.line == 0 {
		return p.text
	}
	return fmt.Sprintf("line %d: %s", p.line, p.text)
}

// bad records that something is wrong at a path: the first thing only, where
// the path is that of a key, since others follow from it. A path that is not
// there has the line of what it is missing in.
func (r *reading) bad(path, format string, args ...any) {
	if path != "" && !strings.HasSuffix(path, "]") {
		if r.told[path] {
			return
		}
		r.told[path] = true
	}
	line := 0
	for at := path; line == 0; at = outer(at) {
		line = r.lines[at]
		if at == "" {
			break
		}
	}
	text := fmt.Sprintf(format, args...)
	if path != "" {
		text = path + ": " + text
	}
	r.problems = append(r.problems, problem{line, text})
}

// outer returns the path that holds another.
func outer(path string) string { return path[:max(0, strings.LastIndexAny(path, ".["))] }

// err returns all problems in one line, by line.
func (r *reading) err() error {
	if len(r.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(r.problems, func(a, b problem) int { return a.line - b.line })
	var texts []string
	for i, p := range r.problems {
		if i == maxProblems {
			texts = append(texts, fmt.Sprintf("and %d more", len(r.problems)-i))
			break
		}
		texts = append(texts, p.String())
	}
	return errors.New(strings.Join(texts, "; "))
}

// parseManifest reads and validates the YAML text of a manifest. Its error has
// everything that is wrong, with lines.
func parseManifest(text []byte) (*api, error) {
	r := newReading()
	return r.manifest(r.document(text))
}

// parseInline reads and validates a manifest that stands in the settings as a
// JSON object.
func parseInline(raw json.RawMessage) (*api, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var value any
	if err := dec.Decode(&value); err != nil {
		return nil, errors.New("not an object")
	}
	return newReading().manifest(asNode(value))
}

func (r *reading) manifest(root *yaml.Node) (*api, error) {
	var m manifest
	if root != nil {
		r.value(root, reflect.ValueOf(&m).Elem(), "", "", 0)
	}
	var a *api
	if root != nil && root.Kind == yaml.MappingNode {
		a = r.compile(m) // also beside problems of form, so that all are told at once
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	return a, nil
}

// document returns the one YAML document of a text.
func (r *reading) document(text []byte) *yaml.Node {
	switch {
	case len(text) > maxManifest:
		r.bad("", "the manifest is larger than 1 MiB")
		return nil
	case !utf8.Valid(text):
		r.bad("", "the manifest is not UTF-8 text")
		return nil
	}
	loader, err := yaml.NewLoader(bytes.NewReader(text))
	var documents []*yaml.Node
	for err == nil && len(documents) < 2 {
		var node yaml.Node
		if err = loader.Load(&node); err == nil {
			documents = append(documents, &node)
		}
	}
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		text := strings.Join(strings.Fields(err.Error()), " ")
		if m := yamlPosition.FindStringSubmatch(text); m != nil {
			r.lines[""], _ = strconv.Atoi(m[1])
		}
		r.bad("", "no YAML: %s", text)
	case len(documents) == 0 || len(documents[0].Content) == 0:
		r.bad("", "the manifest is empty")
	case len(documents) > 1:
		r.bad("", "more than one YAML document")
	default:
		return documents[0].Content[0]
	}
	return nil
}

// asNode is a JSON value as a node without lines.
func asNode(value any) *yaml.Node {
	scalar := func(tag, text string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: text} }
	switch v := value.(type) {
	case map[string]any:
		node := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			node.Content = append(node.Content, scalar("!!str", name), asNode(v[name]))
		}
		return node
	case []any:
		node := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for _, element := range v {
			node.Content = append(node.Content, asNode(element))
		}
		return node
	case string:
		return scalar("!!str", v)
	case bool:
		return scalar("!!bool", strconv.FormatBool(v))
	case json.Number:
		if _, err := v.Int64(); err != nil {
			return scalar("!!float", v.String())
		}
		return scalar("!!int", v.String())
	default:
		return scalar("!!null", "null")
	}
}

// yamlPosition is how the library says where in a text it stopped.
var yamlPosition = regexp.MustCompile(`\bL([0-9]+)\.C`)

var spanType = reflect.TypeFor[connector.Span]()

// value stores what a node says in v, whose tag enum says what it may be.
func (r *reading) value(n *yaml.Node, v reflect.Value, path, enum string, depth int) {
	if n.Line > 0 && r.lines[path] == 0 {
		r.lines[path] = n.Line
	}
	for n.Kind == yaml.AliasNode && n.Alias != nil {
		n = n.Alias
	}
	r.nodes++
	if depth > maxDepth || r.nodes > maxNodes {
		if r.nodes <= maxNodes || r.nodes == maxNodes+1 {
			r.bad(path, "too much, or too deep, for a manifest")
		}
		return
	}
	switch {
	case v.Type() == spanType:
		r.span(n, v, path)
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		r.value(n, v.Elem(), path, enum, depth+1)
	case v.Kind() == reflect.Struct:
		r.object(n, v, path, depth)
	case v.Kind() == reflect.Map:
		r.mapping(n, v, path, depth)
	case v.Kind() == reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			r.bad(path, "want a list, got %s", shape(n))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
		for i, element := range n.Content {
			r.value(element, v.Index(i), fmt.Sprintf("%s[%d]", path, i), enum, depth+1)
		}
	case v.Kind() == reflect.Interface:
		r.free(n, v, path, depth)
	default:
		r.scalar(n, v, path, enum)
	}
}

// object stores a mapping in a struct: every key is known, none comes twice, and
// those that are needed are there.
func (r *reading) object(n *yaml.Node, v reflect.Value, path string, depth int) {
	if n.Kind != yaml.MappingNode {
		r.bad(path, "want keys and values, got %s", shape(n))
		return
	}
	t := v.Type()
	fields := map[string]int{}
	var names []string
	for i := range t.NumField() {
		name := t.Field(i).Tag.Get("yaml")
		fields[name] = i
		names = append(names, name)
	}
	seen := map[string]bool{}
	for key, element := range r.pairs(n, path) {
		at := join(path, key.Value)
		i, known := fields[key.Value]
		if !known {
			r.lines[at] = key.Line
			r.bad(at, "no such key (there are %s)", strings.Join(names, ", "))
			delete(r.lines, at)
			continue
		}
		seen[key.Value] = true
		r.value(element, v.Field(i), at, t.Field(i).Tag.Get("enum"), depth+1)
	}
	for _, name := range names {
		if t.Field(fields[name]).Tag.Get("need") != "" && !seen[name] {
			r.bad(join(path, name), "missing")
		}
	}
}

// mapping stores a mapping in a map of texts or of anything.
func (r *reading) mapping(n *yaml.Node, v reflect.Value, path string, depth int) {
	if n.Kind != yaml.MappingNode {
		r.bad(path, "want keys and values, got %s", shape(n))
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for key, element := range r.pairs(n, path) {
		one := reflect.New(v.Type().Elem()).Elem()
		r.value(element, one, join(path, key.Value), "", depth+1)
		v.SetMapIndex(reflect.ValueOf(key.Value), one)
	}
}

// pairs yields the keys and values of a mapping, and reports keys that are no
// texts or come twice.
func (r *reading) pairs(n *yaml.Node, path string) func(func(key, value *yaml.Node) bool) {
	return func(yield func(key, value *yaml.Node) bool) {
		seen := map[string]bool{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := n.Content[i], n.Content[i+1]
			switch {
			case key.Kind != yaml.ScalarNode || key.ShortTag() == "!!merge":
				r.bad(path, "a key that is no text")
				continue
			case seen[key.Value]:
				if key.Line > 0 {
					r.lines[join(path, key.Value)] = key.Line
				}
				r.bad(join(path, key.Value), "comes twice")
				continue
			}
			seen[key.Value] = true
			if key.Line > 0 {
				r.lines[join(path, key.Value)] = key.Line
			}
			if !yield(key, value) {
				return
			}
		}
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// free stores any value, as encoding/json would.
func (r *reading) free(n *yaml.Node, v reflect.Value, path string, depth int) {
	switch n.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		r.mapping(n, reflect.ValueOf(&m).Elem(), path, depth)
		v.Set(reflect.ValueOf(m))
		return
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, element := range n.Content {
			r.value(element, reflect.ValueOf(&list[i]).Elem(), fmt.Sprintf("%s[%d]", path, i), "", depth+1)
		}
		v.Set(reflect.ValueOf(list))
		return
	default: // a scalar: value has followed aliases, and documents hold no documents
	}
	switch n.ShortTag() {
	case "!!null":
	case "!!bool":
		v.Set(reflect.ValueOf(n.Value == "true"))
	case "!!int", "!!float":
		if !json.Valid([]byte(n.Value)) {
			r.bad(path, "write the number as JSON does")
			return
		}
		v.Set(reflect.ValueOf(json.Number(n.Value)))
	default:
		v.Set(reflect.ValueOf(n.Value))
	}
}

func (r *reading) span(n *yaml.Node, v reflect.Value, path string) {
	span, err := connector.ParseSpan(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil {
		r.bad(path, "want a span such as 1h, 1d, 2w or 1mo, got %s", shape(n))
		return
	}
	v.Set(reflect.ValueOf(span))
}

// scalar stores a text, a number or a flag. A text may be spelled like one of
// the others: limit: 1.
func (r *reading) scalar(n *yaml.Node, v reflect.Value, path, enum string) {
	tag := n.ShortTag()
	if n.Kind != yaml.ScalarNode || tag == "!!null" {
		r.bad(path, "want %s, got %s", kindName(v.Kind()), shape(n))
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		if tag != "!!bool" {
			r.bad(path, "want true or false, got %s", shape(n))
			return
		}
		v.SetBool(strings.EqualFold(n.Value, "true"))
	case reflect.Int:
		i, err := strconv.Atoi(n.Value)
		if tag != "!!int" || err != nil {
			r.bad(path, "want a whole number, got %s", shape(n))
			return
		}
		v.SetInt(int64(i))
	default:
		if strings.ContainsFunc(n.Value, func(c rune) bool { return c < ' ' && c != '\n' && c != '\t' || c == 0x7f }) {
			r.bad(path, "control characters in a text")
			return
		}
		v.SetString(n.Value)
	}
	if allowed := strings.Split(enum, "|"); enum != "" && !slices.Contains(allowed, n.Value) {
		r.bad(path, "%.60q: want %s", n.Value, strings.Join(allowed, " or "))
	}
}

func kindName(k reflect.Kind) string {
	switch k {
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	default:
		return "a text"
	}
}

// shape says what stands there.
func shape(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "keys and values"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.ShortTag() == "!!null":
		return "nothing"
	default:
		return fmt.Sprintf("%.60q", n.Value)
	}
}
