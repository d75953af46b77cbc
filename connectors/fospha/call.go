package fospha

import (
	"context"
	"slices"
	"strings"
)

// A call is a query that is being put together: its arguments, and which of them
// are used.
type call struct {
	field schemaField
	args  []argument
	used  map[string]bool // by place
}

// An argument is an argument of a query, or a field inside of one that is an
// input object.
type argument struct {
	path  []string
	input inputValue
}

// place is the argument as the settings write it: filter.dateFrom.
func (a argument) place() string { return strings.Join(a.path, ".") }

// arguments returns the arguments with the fields of input objects in their place.
func (s *schema) arguments(ctx context.Context, within []string, values []inputValue, depth int) (all []argument, err error) {
	for _, v := range values {
		path := append(slices.Clone(within), v.Name)
		named := v.Type.named()
		if named.Kind != "INPUT_OBJECT" || v.Type.list() || depth >= mostNesting {
			all = append(all, argument{path, v})
			continue
		}
		t, err := s.named(ctx, named.Name)
		if err != nil {
			return nil, err
		}
		inner, err := s.arguments(ctx, path, t.InputFields, depth+1)
		if err != nil {
			return nil, err
		}
		all = append(all, inner...)
	}
	return all, nil
}

// roles are the names, in lower case without "_", by which arguments are
// understood. They are guesses, since Fospha's are not published.
var roles = map[string][]string{
	"brand":  {"clientid", "fosphaclientid", "client", "brand", "brandid", "clientids", "fosphaclientids", "brands"},
	"from":   {"from", "datefrom", "fromdate", "startdate", "datestart", "start", "since", "begin", "begindate"},
	"to":     {"to", "dateto", "todate", "enddate", "dateend", "end", "until"},
	"offset": {"offset", "skip"},
	"limit":  {"limit", "take", "maxresults", "pagesize"},
	"page":   {"page", "pagenumber"},
	"size":   {"pagesize", "perpage", "size", "limit"},
	"first":  {"first"},
	"after":  {"after"},
	"token":  {"nexttoken", "pagetoken"},
}

// find returns the argument that plays a role; names earlier in the list win.
func (c *call) find(role string) (argument, bool) {
	for _, name := range roles[role] {
		for _, a := range c.args {
			if strings.ToLower(strings.ReplaceAll(a.input.Name, "_", "")) == name && !c.used[a.place()] {
				return a, true
			}
		}
	}
	return argument{}, false
}

func (c *call) has(role string) bool {
	_, ok := c.find(role)
	return ok
}

// take marks the argument that plays a role as used, and returns its place.
func (c *call) take(role string) (place string, ok bool) {
	a, ok := c.find(role)
	if ok {
		c.used[a.place()] = true
	}
	return a.place(), ok
}

// rootUsed reports whether the query passes the argument, or must.
func (c *call) rootUsed(name string) bool {
	for place := range c.used {
		if root, _, _ := strings.Cut(place, "."); root == name {
			return true
		}
	}
	i := slices.IndexFunc(c.field.Args, func(v inputValue) bool { return v.Name == name })
	return i >= 0 && c.field.Args[i].demanded()
}

// query writes the query: each used argument as a variable of its own name.
func (c *call) query(operation string, l listing, lines, beside []string) string {
	var declared, passed []string
	for _, arg := range c.field.Args {
		if c.rootUsed(arg.Name) {
			declared = append(declared, "$"+arg.Name+": "+arg.Type.String())
			passed = append(passed, arg.Name+": $"+arg.Name)
		}
	}
	parens := func(parts []string) string {
		if len(parts) == 0 {
			return ""
		}
		return "(" + strings.Join(parts, ", ") + ")"
	}
	levels := []string{"query " + operation + parens(declared), c.field.Name + parens(passed)}
	levels = append(levels, l.path...)
	if l.within != "" {
		levels = append(levels, l.within)
	}
	var b strings.Builder
	for i, level := range levels {
		b.WriteString(strings.Repeat("  ", i) + level + " {\n")
	}
	for _, line := range lines {
		b.WriteString(strings.Repeat("  ", len(levels)) + line + "\n")
	}
	for i := len(levels) - 1; i >= 0; i-- {
		if i == 1 {
			for _, line := range beside {
				b.WriteString("    " + line + "\n")
			}
		}
		b.WriteString(strings.Repeat("  ", i) + "}\n")
	}
	return b.String()
}
