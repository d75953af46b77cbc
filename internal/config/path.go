package config

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A path leads to a value: keys, and for items of a list "[n]", counted from 0.
type path []string

func (p path) key(name string) path { return append(slices.Clip(p), name) }

func (p path) item(i int) path { return p.key("[" + strconv.Itoa(i) + "]") }

// id is the path as a key of maps. No key contains NUL: parse refuses control
// characters.
func (p path) id() string { return strings.Join(p, "\x00") }

// String returns the path as people write it: sources.kaisa_se.config.scopes[0].
func (p path) String() string {
	var b strings.Builder
	for i, name := range p {
		item := strings.HasPrefix(name, "[") && strings.HasSuffix(name, "]")
		if i > 0 && !item {
			b.WriteByte('.')
		}
		if !item && (name == "" || strings.ContainsFunc(name, needsQuotes)) {
			name = strconv.Quote(name)
		}
		b.WriteString(name)
	}
	return b.String()
}

func needsQuotes(r rune) bool {
	return r <= ' ' || r == 0x7f || strings.ContainsRune(`.":[]`, r)
}

// lookup returns the value at p in a tree of map[string]any and []any.
func lookup(tree any, p path) (any, bool) {
	for _, name := range p {
		switch t := tree.(type) {
		case map[string]any:
			v, ok := t[name]
			if !ok {
				return nil, false
			}
			tree = v
		case []any:
			i, err := strconv.Atoi(strings.Trim(name, "[]"))
			if err != nil || i < 0 || i >= len(t) {
				return nil, false
			}
			tree = t[i]
		default:
			return nil, false
		}
	}
	return tree, true
}

// origins knows where each value is from.
type origins struct {
	file string // as the user named it; empty without a file
	dir  string // the file's directory
	// places holds, by path id, where a key or a list's item stands.
	places map[string]place
	// variables holds, by path id, the environment variable or flag that set the
	// value instead of the file.
	variables map[string]string
}

// of returns the place of p, or of what is nearest above it.
func (o *origins) of(p path) Problem {
	at := Problem{Key: p.String(), File: o.file}
	for n := len(p); n > 0; n-- {
		if name, ok := o.variables[p[:n].id()]; ok {
			return Problem{Key: p.String(), Variable: name}
		}
	}
	for n := len(p); n > 0 && at.Line == 0; n-- {
		at.Line = o.places[p[:n].id()].line
	}
	return at
}

// inOrder returns the keys of the table at p in the order of the file; those that
// are not in the file come first.
func (o *origins) inOrder(p path, table map[string]any) []string {
	return slices.SortedFunc(maps.Keys(table), func(a, b string) int {
		return cmp.Or(cmp.Compare(o.places[p.key(a).id()].order, o.places[p.key(b).id()].order), cmp.Compare(a, b))
	})
}

// dirOf is what relative paths in the value at p are relative to.
func (o *origins) dirOf(p path) string {
	if o.of(p).Variable != "" {
		return ""
	}
	return o.dir
}
