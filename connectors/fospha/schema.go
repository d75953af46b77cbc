package fospha

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/textproto"
	"slices"
	"strings"

	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/rest"
)

// The questions that a GraphQL server answers about itself. The depth of ofType
// is what [Row!]! needs.
const (
	typenameQuery = `{ __typename }`

	typeRefSelection = `{ kind name ofType { kind name ofType { kind name ofType { kind name } } } }`

	inputSelection = `{ name description defaultValue type ` + typeRefSelection + ` }`

	rootQuery = `{ __schema { queryType { name fields { name description args ` + inputSelection + ` type ` + typeRefSelection + ` } } } }`

	typeQuery = `query Type($name: String!) { __type(name: $name) { kind name fields { name description args ` + inputSelection +
		` type ` + typeRefSelection + ` } inputFields ` + inputSelection + ` enumValues { name } } }`
)

// queryMetadata is the one object type of the API whose name is published, by the
// address of its page.
const queryMetadata = "QueryMetadata"

// A typeRef is a type as a field or argument names it: a named type, or NON_NULL
// or LIST of one.
type typeRef struct {
	Kind   string   `json:"kind"`
	Name   string   `json:"name"`
	OfType *typeRef `json:"ofType"`
}

// named returns the type below NON_NULL and LIST.
func (t typeRef) named() typeRef {
	for t.OfType != nil {
		t = *t.OfType
	}
	return t
}

func (t typeRef) required() bool { return t.Kind == "NON_NULL" }

func (t typeRef) list() bool {
	if t.required() && t.OfType != nil {
		t = *t.OfType
	}
	return t.Kind == "LIST"
}

// String is the type as a query declares it: [Row!]!.
func (t typeRef) String() string {
	switch {
	case t.OfType == nil:
		return t.Name
	case t.Kind == "NON_NULL":
		return t.OfType.String() + "!"
	default:
		return "[" + t.OfType.String() + "]"
	}
}

type inputValue struct {
	Name         string  `json:"name"`
	Description  string  `json:"description"`
	DefaultValue *string `json:"defaultValue"`
	Type         typeRef `json:"type"`
}

// demanded reports whether a request must give a value.
func (v inputValue) demanded() bool { return v.Type.required() && v.DefaultValue == nil }

type schemaField struct {
	Name        string       `json:"name"`
	Description string       `json:"description"`
	Args        []inputValue `json:"args"`
	Type        typeRef      `json:"type"`
}

// selectable reports whether a query can select the field without arguments.
func (f schemaField) selectable() bool {
	return !slices.ContainsFunc(f.Args, inputValue.demanded)
}

type schemaType struct {
	Kind        string        `json:"kind"`
	Name        string        `json:"name"`
	Fields      []schemaField `json:"fields"`
	InputFields []inputValue  `json:"inputFields"`
	EnumValues  []struct {
		Name string `json:"name"`
	} `json:"enumValues"`
}

// schema asks the vendor about its types and remembers the answers.
type schema struct {
	source  *source
	types   map[string]schemaType
	headers map[string]bool // names of headers about limits and requests
}

func (s *source) schema() *schema {
	return &schema{source: s, types: map[string]schemaType{}, headers: map[string]bool{}}
}

// ask asks a question of the schema and stores the value at a path of the answer
// in v.
func (s *schema) ask(ctx context.Context, op, query string, variables map[string]any, v any, path ...string) error {
	q := question{op: op, query: query, variables: variables}
	if ids := s.source.cfg.ClientIDs; len(ids) > 0 {
		place, err := s.source.cfg.placement(s.source.cfg.ClientIDLocation)
		if err != nil {
			return err
		}
		q.header = place.headers(ids[0]) // a gateway may want it before anything is read
	}
	q.read = func(resp *rest.Response) error {
		s.note(resp)
		value, ok := lookup(resp.Body, path)
		if !ok {
			return badAnswer("the answer has no %s", strings.Join(path, "."))
		}
		if err := json.Unmarshal(value, v); err != nil {
			return badAnswer("the answer's %s has another shape than GraphQL's", strings.Join(path, "."))
		}
		return nil
	}
	_, err := s.source.api.ask(ctx, q)
	return err
}

// note keeps the names of headers that tell of limits and requests, since none
// are published.
func (s *schema) note(resp *rest.Response) {
	for name := range resp.Header {
		lower := strings.ToLower(name)
		for _, part := range []string{"ratelimit", "rate-limit", "quota", "retry-after", "request-id", "requestid", "trace-id", "correlation"} {
			if strings.Contains(lower, part) {
				s.headers[textproto.CanonicalMIMEHeaderKey(name)] = true
			}
		}
	}
}

// root returns the name and fields of the query type.
func (s *schema) root(ctx context.Context) (schemaType, error) {
	var root schemaType
	err := s.ask(ctx, "introspection", rootQuery, nil, &root, "data", "__schema", "queryType")
	return root, err
}

// named returns a type by its name.
func (s *schema) named(ctx context.Context, name string) (schemaType, error) {
	if t, ok := s.types[name]; ok {
		return t, nil
	}
	var t schemaType
	err := s.ask(ctx, "introspection of "+name, typeQuery, map[string]any{"name": name}, &t, "data", "__type")
	if err == nil {
		s.types[name] = t
	}
	return t, err
}

// Check walks what can be found out about the API without reading data: whether
// the URL answers GraphQL to this token, what queries it has, and what
// QueryMetadata is. That introspection is refused is a finding.
func (s *source) Check(ctx context.Context) ([]connector.Finding, error) {
	var found []connector.Finding
	find := func(name, format string, args ...any) {
		found = append(found, connector.Finding{Name: name, Detail: oneLine(fmt.Sprintf(format, args...))})
	}
	look := s.schema()
	var typename string
	if err := look.ask(ctx, "__typename", typenameQuery, nil, &typename, "data", "__typename"); err != nil {
		return found, err
	}
	find("graphql", "%s answers from %s", typename, s.api.url)

	root, err := look.root(ctx)
	switch {
	case err != nil && !refusedIntrospection(err):
		return found, err
	case err != nil:
		find("introspection", "refused (%v): queries, keys and columns must come from the settings", err)
	default:
		var names []string
		for _, f := range root.Fields {
			names = append(names, f.Name)
		}
		find("introspection", "allowed: %s has %s", root.Name, strings.Join(names, ", "))
		metadata, err := look.named(ctx, queryMetadata)
		switch {
		case err != nil && !refusedIntrospection(err):
			return found, err
		case err != nil:
			find("metadata", "the schema shows no %s", queryMetadata)
		default:
			var fields []string
			for _, f := range metadata.Fields {
				fields = append(fields, f.Name+" "+f.Type.String())
			}
			find("metadata", "%s has %s", queryMetadata, strings.Join(fields, ", "))
		}
	}
	if len(look.headers) > 0 {
		find("headers", "limits and requests are told in %s", strings.Join(slices.Sorted(maps.Keys(look.headers)), ", "))
	} else {
		find("headers", "no header tells of limits or request ids")
	}
	if len(s.cfg.Streams) == 0 {
		find("streams", "none are declared: winch connectors fospha --discover SOURCE writes them from the schema")
	}
	return found, nil
}

// refusedIntrospection reports whether an error is the vendor's answer to the
// question, rather than that there was none or that the token is no good.
func refusedIntrospection(err error) bool {
	switch connector.KindOf(err) {
	case connector.KindForbidden, connector.KindBadResponse:
		return true
	default:
		return false
	}
}
