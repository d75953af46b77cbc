package fospha

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/winchdata/winch/pkg/connector"
)

// Discover reads the API's schema and returns YAML for the settings: a stream for
// each query that leads to a list of records, with query text, variables, paging,
// key and columns, and comments where a person must decide. It reads no data. An
// API that refuses introspection is an error of KindForbidden.
func (s *source) Discover(ctx context.Context) ([]byte, error) {
	look := s.schema()
	root, err := look.root(ctx)
	if err != nil {
		if !refusedIntrospection(err) {
			return nil, err
		}
		return nil, &connector.Error{
			Kind: connector.KindForbidden, Op: "discover", Err: fmt.Errorf("the API refuses introspection: %w", err),
			Hint: "ask Fospha support for the schema, and declare the streams from it in the settings",
		}
	}
	var found []discovered
	var others []string
	for _, field := range root.Fields {
		d, ok, err := look.discover(ctx, field)
		if err != nil {
			return nil, err
		}
		if !ok {
			others = append(others, field.Name)
			continue
		}
		for slices.ContainsFunc(found, func(f discovered) bool { return f.config.Name == d.config.Name }) {
			d.config.Name += "_2"
		}
		found = append(found, d)
	}
	return renderYAML(s.api.url, found, others), nil
}

// A discovered stream is its declaration and what a person must look at.
type discovered struct {
	config streamConfig
	notes  []string
}

// A listing is where a query's records stand in its answer.
type listing struct {
	path      []string // below the query's own field; empty where that is the list
	within    string   // field of each element that is the record, or ""
	row       string   // type of a record
	container schemaType
}

// listNames are what lists inside of an answer are usually called, the likeliest
// first.
var listNames = []string{"rows", "edges", "nodes", "items", "records", "results", "data"}

// listing finds the list that a query leads to.
func (s *schema) listing(ctx context.Context, field schemaField) (l listing, ok bool, err error) {
	named := field.Type.named()
	if named.Kind != "OBJECT" {
		return listing{}, false, nil
	}
	if field.Type.list() {
		return listing{row: named.Name}, true, nil
	}
	if l.container, err = s.named(ctx, named.Name); err != nil {
		return listing{}, false, err
	}
	var lists []schemaField
	for _, f := range l.container.Fields {
		if f.Type.list() && f.Type.named().Kind == "OBJECT" && f.selectable() {
			lists = append(lists, f)
		}
	}
	if len(lists) == 0 {
		return listing{}, false, nil
	}
	chosen := lists[0]
	for _, name := range listNames {
		if i := slices.IndexFunc(lists, func(f schemaField) bool { return f.Name == name }); i >= 0 {
			chosen = lists[i]
			break
		}
	}
	l.path, l.row = []string{chosen.Name}, chosen.Type.named().Name
	if chosen.Name == "edges" {
		edge, err := s.named(ctx, l.row)
		if err != nil {
			return listing{}, false, err
		}
		if i := slices.IndexFunc(edge.Fields, func(f schemaField) bool { return f.Name == "node" }); i >= 0 {
			l.within, l.row = "node", edge.Fields[i].Type.named().Name
		}
	}
	return l, true, nil
}

// discover makes a stream of a query; ok is false where it leads to no list.
func (s *schema) discover(ctx context.Context, field schemaField) (d discovered, ok bool, err error) {
	l, ok, err := s.listing(ctx, field)
	if err != nil || !ok {
		return discovered{}, false, err
	}
	row, err := s.named(ctx, l.row)
	if err != nil {
		return discovered{}, false, err
	}
	chosen, err := s.selection(ctx, row, nil, 0)
	if err != nil || len(chosen.columns) == 0 {
		return discovered{}, false, err
	}
	args, err := s.arguments(ctx, nil, field.Args, 0)
	if err != nil {
		return discovered{}, false, err
	}
	call := &call{field: field, args: args, used: map[string]bool{}}
	c := &d.config
	c.Name = snake(field.Name)
	c.Description = field.Description
	c.Operation = strings.ToUpper(field.Name[:1]) + field.Name[1:]
	c.RecordsPath = strings.Join(append([]string{"data", field.Name}, l.path...), ".")
	if l.within != "" {
		c.RecordsPath += "[]." + l.within
	}
	c.Columns = chosen.columns
	for _, name := range chosen.skipped {
		d.note("not selected: %s", name)
	}
	d.time(call)
	d.key()
	if place, ok := call.take("brand"); ok {
		c.ClientIDLocation = inVariable + ":" + place
	} else {
		// Brands in a header, and several that have no place yet, stay as they are.
		if cfg := s.source.cfg; len(cfg.ClientIDs) <= 1 && !strings.HasPrefix(cfg.ClientIDLocation, inHeader) {
			c.ClientIDLocation = nowhere
		}
		d.note("no argument looks like a brand: if the API wants it in a header, set client_id_location: header:<name>")
	}
	beside, err := d.paging(ctx, s, call, l)
	if err != nil {
		return discovered{}, false, err
	}
	if err := d.demands(ctx, s, call); err != nil {
		return discovered{}, false, err
	}
	c.Query = call.query(c.Operation, l, chosen.lines, beside)
	return d, true, nil
}

func (d *discovered) note(format string, args ...any) {
	d.notes = append(d.notes, oneLine(fmt.Sprintf(format, args...)))
}

// dayNames are what the day of a record is called where its type does not tell.
var dayNames = []string{"date", "day", "activity_date", "period"}

// time chooses between window and snapshot.
func (d *discovered) time(call *call) {
	c := &d.config
	columns := c.Columns
	day := slices.IndexFunc(columns, func(col columnConfig) bool { return col.Type == connector.TypeDate })
	for i := 0; day < 0 && i < len(dayNames); i++ {
		day = slices.IndexFunc(columns, func(col columnConfig) bool { return col.Name == dayNames[i] && col.Type == connector.TypeText })
		if day >= 0 {
			columns[day].Type = connector.TypeDate
			d.note("%s is a %s in the schema; it is taken for a date such as 2006-01-02, else give its formats", columns[day].Name, "text")
		}
	}
	from, hasFrom := call.find("from")
	_, hasTo := call.find("to")
	if day < 0 || !hasFrom || !hasTo {
		c.Mode = connector.ModeSnapshot
		d.note("read whole each time: for windows it takes arguments for the first and last day, and a column of the day")
		return
	}
	c.Mode, c.TimeColumn, c.Dates = connector.ModeWindow, columns[day].Name, &datesConfig{}
	c.Dates.From, _ = call.take("from")
	c.Dates.To, _ = call.take("to")
	if columnType(from.input.Type) == connector.TypeTimestamp {
		c.Dates.Format = "2006-01-02T15:04:05Z07:00"
	}
}

// key takes every dimension, which is all that is no number.
func (d *discovered) key() {
	for _, col := range d.config.Columns {
		switch col.Type {
		case connector.TypeText, connector.TypeDate, connector.TypeTimestamp, connector.TypeBoolean:
			d.config.PrimaryKey = append(d.config.PrimaryKey, col.Name)
		case connector.TypeBigint:
			if strings.HasSuffix(col.Name, "_id") || col.Name == "id" {
				d.config.PrimaryKey = append(d.config.PrimaryKey, col.Name)
			}
		default:
		}
	}
	if len(d.config.PrimaryKey) == 0 {
		d.note("no column can be a key: name one")
	}
}

// paging chooses the way to page by the arguments, and returns what the query must
// select beside the records.
func (d *discovered) paging(ctx context.Context, s *schema, call *call, l listing) (beside []string, err error) {
	p := &pagingConfig{By: byNone}
	inside := "data." + call.field.Name
	has := func(name string) bool {
		return slices.ContainsFunc(l.container.Fields, func(f schemaField) bool { return f.Name == name })
	}
	switch {
	case call.has("after") && has("pageInfo"):
		p.By, p.NextPath = byCursor, inside+".pageInfo"
		p.Variable, _ = call.take("after")
		p.SizeVariable, _ = call.take("first")
		beside = append(beside, "pageInfo { hasNextPage endCursor }")
	case call.has("token") && has("nextToken"):
		p.By, p.NextPath = byToken, inside+".nextToken"
		p.Variable, _ = call.take("token")
		p.SizeVariable, _ = call.take("limit")
		beside = append(beside, "nextToken")
	case call.has("offset"):
		p.By = byOffset
		p.Variable, _ = call.take("offset")
		p.SizeVariable, _ = call.take("limit")
	case call.has("page"):
		p.By = byPage
		p.Variable, _ = call.take("page")
		p.SizeVariable, _ = call.take("size")
		d.note("pages are taken to count from 1; else set paging.first_page: 0")
	case call.has("limit") || call.has("first"):
		d.note("takes a limit but no page: check that its answers are whole, and shorten slice if they are not")
	}
	if p.By != byNone && p.SizeVariable == "" {
		p.SizeVariable = nowhere
	}
	if p.By == byOffset || p.By == byPage {
		total, err := s.total(ctx, l.container)
		if err != nil {
			return nil, err
		}
		if total != nil {
			p.TotalPath = inside + "." + strings.Join(total, ".")
			beside = append(beside, strings.Join(total, " { ")+strings.Repeat(" }", len(total)-1))
		}
	}
	d.config.Paging = p
	return beside, nil
}

// total finds the number of all records beside the list or in an object beside it.
func (s *schema) total(ctx context.Context, container schemaType) ([]string, error) {
	isTotal := func(f schemaField) bool {
		return strings.HasPrefix(f.Name, "total") && f.Type.named().Name == "Int" && f.selectable()
	}
	if i := slices.IndexFunc(container.Fields, isTotal); i >= 0 {
		return []string{container.Fields[i].Name}, nil
	}
	for _, f := range container.Fields {
		if named := f.Type.named(); named.Kind == "OBJECT" && !f.Type.list() && f.selectable() {
			t, err := s.named(ctx, named.Name)
			if err != nil {
				return nil, err
			}
			if i := slices.IndexFunc(t.Fields, isTotal); i >= 0 {
				return []string{f.Name, t.Fields[i].Name}, nil
			}
		}
	}
	return nil, nil
}

// demands fills what the query demands besides, and tells of the rest.
func (d *discovered) demands(ctx context.Context, s *schema, call *call) error {
	variables := map[string]any{}
	var optional []string
	for _, a := range call.args {
		place := a.place()
		if call.used[place] {
			continue
		}
		if !a.input.demanded() || len(a.path) > 1 && !call.rootUsed(a.path[0]) {
			optional = append(optional, place+" ("+a.input.Type.String()+")")
			continue
		}
		call.used[place] = true
		named := a.input.Type.named()
		if named.Kind != "ENUM" {
			d.note("fill in under variables: %s, a %s", place, a.input.Type)
			continue
		}
		enum, err := s.named(ctx, named.Name)
		if err != nil {
			return err
		}
		var names []string
		for _, v := range enum.EnumValues {
			names = append(names, v.Name)
		}
		if len(names) == 0 {
			continue
		}
		var value any = likely(names)
		if a.input.Type.list() {
			value = names
		}
		d.note("%s is %v of %s", place, value, strings.Join(names, ", "))
		if err := setVariable(variables, a.path, value); err != nil {
			return err
		}
	}
	if len(optional) > 0 {
		d.note("also takes %s", strings.Join(optional, ", "))
	}
	if len(variables) > 0 {
		raw, err := json.Marshal(variables)
		if err != nil {
			return err
		}
		d.config.Variables = raw
	}
	return nil
}

// likely prefers the finest grain, which is the day.
func likely(names []string) string {
	for _, name := range names {
		switch strings.ToUpper(name) {
		case "DAY", "DAILY":
			return name
		}
	}
	return names[0]
}

// A selected is what a query selects of a type, and the columns that it makes.
type selected struct {
	lines   []string
	columns []columnConfig
	skipped []string
}

// mostNesting is how deep objects inside of records are selected.
const mostNesting = 2

func (s *schema) selection(ctx context.Context, t schemaType, within []string, depth int) (out selected, err error) {
	for _, f := range t.Fields {
		path := append(slices.Clone(within), f.Name)
		named := f.Type.named()
		switch {
		case !f.selectable():
			out.skipped = append(out.skipped, strings.Join(path, ".")+", which wants arguments")
		case named.Kind == "SCALAR" || named.Kind == "ENUM":
			column := columnConfig{Name: snake(strings.Join(path, "_")), Type: columnType(f.Type), Path: strings.Join(path, "."), Description: oneLine(f.Description)}
			if column.Name == clientIDColumn {
				column.Name += "_reported" // beside the one that the connector adds
			}
			if column.Path == column.Name {
				column.Path = ""
			}
			if slices.ContainsFunc(out.columns, func(c columnConfig) bool { return c.Name == column.Name }) {
				out.skipped = append(out.skipped, strings.Join(path, ".")+", whose column name is taken")
				continue
			}
			out.columns = append(out.columns, column)
			out.lines = append(out.lines, f.Name)
		case named.Kind == "OBJECT" && !f.Type.list() && depth < mostNesting:
			inner, err := s.named(ctx, named.Name)
			if err != nil {
				return selected{}, err
			}
			nested, err := s.selection(ctx, inner, path, depth+1)
			if err != nil {
				return selected{}, err
			}
			out.skipped = append(out.skipped, nested.skipped...)
			if len(nested.lines) > 0 {
				out.lines = append(out.lines, f.Name+" { "+strings.Join(nested.lines, " ")+" }")
				out.columns = append(out.columns, nested.columns...)
			}
		default:
			out.skipped = append(out.skipped, strings.Join(path, ".")+", a "+f.Type.String())
		}
	}
	return out, nil
}

// columnType is the column type of a scalar. GraphQL names five; the others are
// those that servers usually add.
func columnType(t typeRef) connector.Type {
	if t.list() {
		return connector.TypeJSON
	}
	switch strings.ToLower(strings.TrimPrefix(t.named().Name, "AWS")) {
	case "int", "long", "bigint", "int64":
		return connector.TypeBigint
	case "float", "decimal", "bigdecimal", "double", "number", "money":
		return connector.TypeNumeric // attributed counts are fractions, and must stay exact
	case "boolean":
		return connector.TypeBoolean
	case "date", "localdate":
		return connector.TypeDate
	case "datetime", "timestamp", "instant":
		return connector.TypeTimestamp
	case "json", "jsonobject", "map":
		return connector.TypeJSON
	default:
		return connector.TypeText
	}
}

// snake makes a column name of a GraphQL name: newConversions becomes
// new_conversions.
func snake(name string) string {
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		if unicode.IsUpper(r) && i > 0 && runes[i-1] != '_' &&
			(!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	out := strings.Trim(b.String(), "_")
	if out == "" || out[0] >= '0' && out[0] <= '9' {
		out = "f_" + out
	}
	return out[:min(len(out), 63)]
}
