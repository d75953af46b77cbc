package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

const (
	// maxFile is far above any configuration written by people.
	maxFile = 1 << 20
	// maxValues and maxDepth bound what aliases can expand to.
	maxValues = 20_000
	maxDepth  = 64
)

// A document is a configuration file as read.
type document struct {
	// values is the content: map[string]any, []any, string, json.Number, bool
	// and nil.
	values map[string]any
	// places says where each key and list item stands, by path id.
	places map[string]place
}

// A place is where something stands in a file.
type place struct {
	line  int
	order int // among all keys and items; several can share a line
}

// parse reads the text of a configuration file. name is the file's name in
// problems.
func parse(name string, text []byte) (document, Problems) {
	r := &reader{file: name, doc: document{values: map[string]any{}, places: map[string]place{}}}
	if len(text) > maxFile {
		r.bad(nil, 0, "the file is larger than 1 MiB", "")
		return r.doc, r.problems
	}
	if line, ok := invalidUTF8(text); ok {
		r.bad(nil, line, "the file is not UTF-8 text", "save it as UTF-8")
		return r.doc, r.problems
	}
	var documents []*yaml.Node
	loader, err := yaml.NewLoader(bytes.NewReader(text))
	for err == nil {
		var node yaml.Node
		if err = loader.Load(&node); err == nil {
			documents = append(documents, &node)
		}
		if len(documents) > 1 {
			r.bad(nil, node.Line, "a second YAML document begins", `remove the "---" line`)
			return r.doc, r.problems
		}
	}
	if !errors.Is(err, io.EOF) {
		r.syntax(text, err)
		return r.doc, r.problems
	}
	if len(documents) == 0 {
		return r.doc, nil
	}
	root := documents[0]
	if root.Kind == yaml.DocumentNode && len(root.Content) == 1 {
		root = root.Content[0]
	}
	switch value := r.value(nil, root, 0).(type) {
	case map[string]any:
		if !r.cut {
			r.doc.values = value
		}
	case nil:
	default:
		r.bad(nil, root.Line, "want keys such as sink: and sources:, found "+kindOf(value), "")
	}
	return r.doc, r.problems
}

type reader struct {
	file     string
	doc      document
	problems Problems
	values   int
	cut      bool
}

func (r *reader) bad(p path, line int, message, fix string) {
	r.problems = append(r.problems, Problem{Key: p.String(), File: r.file, Line: line, Message: message, Fix: fix})
}

func (r *reader) value(p path, n *yaml.Node, depth int) any {
	r.values++
	if r.values >= maxValues || depth >= maxDepth {
		r.tooMany(n)
		return nil
	}
	switch n.Kind {
	case yaml.MappingNode:
		m := make(map[string]any, len(n.Content)/2)
		r.mapping(m, p, n, depth, false)
		return m
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, item := range n.Content {
			r.note(p.item(i), item)
			list[i] = r.value(p.item(i), item, depth+1)
		}
		return list
	case yaml.AliasNode:
		return r.value(p, n.Alias, depth+1)
	default:
		return r.scalar(p, n)
	}
}

func (r *reader) note(p path, n *yaml.Node) {
	r.doc.places[p.id()] = place{n.Line, len(r.doc.places)}
}

// tooMany reports, once, that the document is not read to its end.
func (r *reader) tooMany(n *yaml.Node) {
	if !r.cut {
		r.cut = true
		r.bad(nil, n.Line, "aliases or nesting make too many values", "an alias must not stand inside of its anchor")
	}
}

// mapping adds the entries of n to m. Merged entries come after n's own and
// yield to them.
func (r *reader) mapping(m map[string]any, p path, n *yaml.Node, depth int, merged bool) {
	first := map[string]int{}
	var bases []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		switch {
		case k.Kind != yaml.ScalarNode || strings.ContainsFunc(k.Value, isControl):
			r.bad(p, k.Line, "a key must be one line of text", `text that begins with "{" or "[" needs quotes`)
			continue
		case k.ShortTag() == "!!merge":
			bases = append(bases, v)
			continue
		}
		at := p.key(k.Value)
		if line, twice := first[k.Value]; twice {
			r.bad(at, k.Line, fmt.Sprintf("the key is given twice, first on line %d", line), "remove one of them")
			continue
		}
		first[k.Value] = k.Line
		if _, have := m[k.Value]; have && merged {
			continue
		}
		r.note(at, k)
		m[k.Value] = r.value(at, v, depth+1)
	}
	for _, base := range bases {
		r.merge(m, p, base, depth+1)
	}
}

func (r *reader) merge(m map[string]any, p path, base *yaml.Node, depth int) {
	for base.Kind == yaml.AliasNode {
		base = base.Alias
	}
	r.values++
	switch {
	case r.values >= maxValues || depth >= maxDepth:
		r.tooMany(base)
	case base.Kind == yaml.MappingNode:
		r.mapping(m, p, base, depth, true)
	case base.Kind == yaml.SequenceNode:
		for _, item := range base.Content {
			r.merge(m, p, item, depth+1)
		}
	default:
		r.bad(p, base.Line, `"<<" wants an alias of a table`, "")
	}
}

func (r *reader) scalar(p path, n *yaml.Node) any {
	switch n.ShortTag() {
	case "!!str", "!!timestamp":
		return n.Value
	case "!!null":
		return nil
	case "!!bool":
		var b bool
		if n.Load(&b) == nil {
			return b
		}
	case "!!int", "!!float":
		if number, ok := jsonNumber(n); ok {
			return number
		}
		r.bad(p, n.Line, "the number is out of range", "put it in quotes if it is text")
		return nil
	}
	r.bad(p, n.Line, "a YAML tag is not understood here", `text that begins with "!" needs quotes`)
	return nil
}

// jsonNumber keeps the digits of what is a JSON number already, so that long
// identifiers stay exact. Exponents become floats: an exact 1e999999999 would not
// fit into memory.
func jsonNumber(n *yaml.Node) (json.Number, bool) {
	if json.Valid([]byte(n.Value)) && !strings.ContainsAny(n.Value, "eE") {
		return json.Number(n.Value), true
	}
	var v any
	if n.Load(&v) != nil {
		return "", false
	}
	switch v := v.(type) {
	case int, int64, uint64:
		return json.Number(fmt.Sprint(v)), true
	case float64:
		if !math.IsInf(v, 0) && !math.IsNaN(v) {
			return json.Number(strconv.FormatFloat(v, 'g', -1, 64)), true
		}
	}
	return "", false
}

// syntaxMessages says in plain words what the YAML reader means. The reader's
// own words are not shown: they quote the text, which may be a secret.
var syntaxMessages = []struct {
	reader, message, fix string
	opening              bool // the fault is where the reader began, not where it gave up
}{
	{"mapping values are not allowed", "a colon where no key can be", `text that contains ": " needs quotes; or the line is indented too far`, false},
	{"could not find expected ':'", "a line without a colon", `write "key: value"`, true},
	{"expected ',' or ']'", `"[" is not closed`, `add "]"; or text that contains "[" or "{" needs quotes`, true},
	{"expected ',' or '}'", `"{" is not closed`, `add "}"; inside { } a reference such as "${env:NAME}" needs quotes`, true},
	{"unexpected end of stream", "a quote is not closed", "add the closing quote", true},
	{"unexpected document indicator", "a quote is not closed", "add the closing quote", true},
	{"cannot start any token", "a value begins with a character that YAML reserves", "put the value in quotes", false},
	{"unknown escape character", "an unknown escape", `inside double quotes write \\ for a backslash, or use single quotes`, false},
	{"unknown anchor", "an alias without its anchor", `text that begins with "*" needs quotes`, false},
	{"scanning an alias", "an alias without a name", `text that begins with "*" needs quotes`, false},
	{"scanning an anchor", "an anchor without a name", `text that begins with "&" needs quotes`, false},
	{"expected key", "a line that does not fit the lines before it", "indent it as its siblings; text after a closing quote is not allowed", false},
	{"sequence entries are not allowed", "a list begins where no list can be", "begin it on a line of its own, or put the text in quotes", false},
	{"expected node content", "a bracket or comma where a value is wanted", "put text in quotes, or close the bracket", false},
	{"expected '-' indicator", "a list goes on without its dash", "indent the line, or begin it with a dash", false},
	{"control characters", "a control character", "remove it", false},
}

func (r *reader) syntax(text []byte, err error) {
	at, opening, words := 0, 0, err.Error()
	var load *yaml.LoadError
	if errors.As(err, &load) {
		at, opening = load.Mark.Line, load.ContextMark.Line
		words = load.Message + " " + load.ContextMsg
	}
	lines := bytes.Split(text, []byte("\n"))
	if i := at - 1; i >= 0 && i < len(lines) {
		if indent := lines[i][:len(lines[i])-len(bytes.TrimLeft(lines[i], " \t"))]; bytes.IndexByte(indent, '\t') >= 0 {
			r.bad(nil, at, "the line is indented with a tab", "use spaces")
			return
		}
	}
	for _, s := range syntaxMessages {
		if !strings.Contains(words, s.reader) {
			continue
		}
		if s.opening && opening > 0 {
			at = opening
		}
		r.bad(nil, at, s.message, s.fix)
		return
	}
	r.bad(nil, at, "the file is not valid YAML", "look at quotes, brackets and indentation")
}

func invalidUTF8(text []byte) (line int, invalid bool) {
	line = 1
	for len(text) > 0 {
		c, size := utf8.DecodeRune(text)
		if c == utf8.RuneError && size == 1 {
			return line, true
		}
		if c == '\n' {
			line++
		}
		text = text[size:]
	}
	return 0, false
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// kindOf names the kind of a value for people.
func kindOf(v any) string {
	switch v.(type) {
	case map[string]any:
		return "a table"
	case []any:
		return "a list"
	case nil:
		return "nothing"
	case bool:
		return "true or false"
	case json.Number:
		return "a number"
	default:
		return "text"
	}
}
