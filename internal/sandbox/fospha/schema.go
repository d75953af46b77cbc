package fospha

import (
	"slices"
	"strings"
)

// A typeDef is an object type of the schema.
type typeDef struct {
	name, about string
	fields      []fieldDef
}

type fieldDef struct {
	name, typ, about string
	args             []argDef
}

type argDef struct{ name, typ, about string }

func (t typeDef) field(name string) (fieldDef, bool) {
	i := slices.IndexFunc(t.fields, func(f fieldDef) bool { return f.name == name })
	if i < 0 {
		return fieldDef{}, false
	}
	return t.fields[i], true
}

func (f fieldDef) arg(name string) bool {
	return slices.ContainsFunc(f.args, func(a argDef) bool { return a.name == name })
}

// The names of the vendor's are Query and QueryMetadata; all others are composed.
const (
	queryType    = "Query"
	metadataType = "QueryMetadata"
	resultType   = "PerformanceResult"
	rowType      = "PerformanceRow"
)

// schemaFor is the schema of an API with those manners.
func schemaFor(o Options) map[string]typeDef {
	performance := fieldDef{name: "performance", typ: resultType + "!", about: "Attributed performance by day and campaign."}
	if o.BrandHeader == "" {
		performance.args = append(performance.args, argDef{"clientId", "String!", "Brand."})
	}
	performance.args = append(performance.args, argDef{"dateFrom", "String!", "First day."}, argDef{"dateTo", "String!", "Last day."})
	result := typeDef{name: resultType}
	switch o.Paging {
	case pagingPage:
		performance.args = append(performance.args, argDef{"page", "Int", "Page, from 1."}, argDef{"pageSize", "Int", "Rows per page."})
	case pagingCursor:
		performance.args = append(performance.args, argDef{"first", "Int", "Rows per page."}, argDef{"after", "String", "Cursor of the page before."})
		result.fields = append(result.fields, fieldDef{name: "pageInfo", typ: "PageInfo!"}, fieldDef{name: "edges", typ: "[PerformanceEdge!]!"})
	case pagingToken:
		performance.args = append(performance.args, argDef{"nextToken", "String", "Token of the page."}, argDef{"limit", "Int", "Rows per page."})
		result.fields = append(result.fields, fieldDef{name: "nextToken", typ: "String"})
	case pagingOffset:
		performance.args = append(performance.args, argDef{"offset", "Int", "Rows to skip."}, argDef{"limit", "Int", "Rows per page."})
	}
	if o.Paging != pagingCursor {
		result.fields = append(result.fields, fieldDef{name: "rows", typ: "[" + rowType + "!]!"})
	}
	result.fields = append(result.fields, fieldDef{name: "metadata", typ: metadataType + "!"})
	rows := typeDef{name: rowType}
	for _, c := range cells {
		rows.fields = append(rows.fields, fieldDef{name: c.field, typ: c.typ})
	}
	types := map[string]typeDef{}
	for _, t := range []typeDef{
		{name: queryType, fields: []fieldDef{performance, {name: "version", typ: "String!", about: "Version of the API."}}},
		result, rows,
		{name: metadataType, about: "What is known about an answer.", fields: []fieldDef{{name: "totalRows", typ: "Int!", about: "Rows of all pages."}}},
		{name: "PerformanceEdge", fields: []fieldDef{{name: "node", typ: rowType + "!"}, {name: "cursor", typ: "String!"}}},
		{name: "PageInfo", fields: []fieldDef{{name: "hasNextPage", typ: "Boolean!"}, {name: "endCursor", typ: "String"}}},
	} {
		types[t.name] = t
	}
	return types
}

var scalars = []string{"String", "Int", "Float", "Boolean", "ID"}

// bare is the name of a type without list and non-null marks.
func bare(typ string) string { return strings.Trim(typ, "[]!") }

// ref is a type as introspection tells it.
func ref(typ string) map[string]any {
	if inner, ok := strings.CutSuffix(typ, "!"); ok {
		return map[string]any{"kind": "NON_NULL", "name": nil, "ofType": ref(inner)}
	}
	if strings.HasPrefix(typ, "[") {
		return map[string]any{"kind": "LIST", "name": nil, "ofType": ref(typ[1 : len(typ)-1])}
	}
	kind := "OBJECT"
	if slices.Contains(scalars, typ) {
		kind = "SCALAR"
	}
	return map[string]any{"kind": kind, "name": typ, "ofType": nil}
}

// introspect is a type as introspection tells it, with its fields; nil if there
// is none of that name.
func (a *API) introspect(name string) any {
	if slices.Contains(scalars, name) {
		return map[string]any{"kind": "SCALAR", "name": name, "fields": nil, "inputFields": nil, "enumValues": nil, "ofType": nil}
	}
	t, ok := a.schema[name]
	if !ok {
		return nil
	}
	fields := []any{}
	for _, f := range t.fields {
		args := []any{}
		for _, arg := range f.args {
			args = append(args, map[string]any{"name": arg.name, "description": orNull(arg.about), "defaultValue": nil, "type": ref(arg.typ)})
		}
		fields = append(fields, map[string]any{"name": f.name, "description": orNull(f.about), "args": args, "type": ref(f.typ)})
	}
	return map[string]any{
		"kind": "OBJECT", "name": t.name, "description": orNull(t.about), "fields": fields,
		"inputFields": nil, "enumValues": nil, "ofType": nil,
	}
}

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}
