package fospha

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/winchdata/winch/internal/sandbox/sim"
)

// A problem is an answer other than data.
type problem struct {
	status        int
	code, message string
}

func (p *problem) Error() string { return p.message }

func invalid(format string, args ...any) error {
	return &problem{http.StatusBadRequest, "GRAPHQL_VALIDATION_FAILED", fmt.Sprintf(format, args...)}
}

// serveGraphQL answers one GraphQL request with a living token.
func (a *API) serveGraphQL(w http.ResponseWriter, r *http.Request, twist sim.Twist) {
	body, err := a.execute(r, twist)
	if err != nil {
		var p *problem
		if !errors.As(err, &p) {
			p = &problem{http.StatusBadRequest, "GRAPHQL_PARSE_FAILED", err.Error()}
		}
		writeErrors(w, p.status, p.code, p.message)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Request-Id", strconv.FormatUint(sim.Mix(a.seed, uint64(len(body))), 16))
	_, _ = w.Write(body)
}

func (a *API) execute(r *http.Request, twist sim.Twist) ([]byte, error) {
	text, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	var ask struct {
		Query         string         `json:"query"`
		OperationName string         `json:"operationName"`
		Variables     map[string]any `json:"variables"`
	}
	if err := json.Unmarshal(text, &ask); err != nil || ask.Query == "" {
		return nil, invalid("want a JSON object with a query")
	}
	operations, err := parseQuery(ask.Query)
	if err != nil {
		return nil, err
	}
	op, err := choose(operations, ask.OperationName)
	if err != nil {
		return nil, err
	}
	if err := fill(op, ask.Variables); err != nil {
		return nil, err
	}
	if err := a.validate(queryType, op.fields); err != nil {
		return nil, err
	}
	data := map[string]any{}
	for _, field := range op.fields {
		value, err := a.resolve(r, field, twist)
		if err != nil {
			return nil, err
		}
		data[field.key()] = value
	}
	return appendValue([]byte(`{"data":`), data, op.fields, '}'), nil
}

func choose(all []operation, name string) (operation, error) {
	if name == "" && len(all) == 1 {
		return all[0], nil
	}
	i := slices.IndexFunc(all, func(op operation) bool { return op.name == name && name != "" })
	if i < 0 {
		return operation{}, invalid("Unknown operation named %q.", name)
	}
	return all[i], nil
}

// fill puts the values of variables in their places.
func fill(op operation, given map[string]any) error {
	values := map[string]any{}
	for _, d := range op.variables {
		value, ok := given[d.name]
		if !ok && d.hasDefault {
			value, ok = d.byDefault, true
		}
		if (!ok || value == nil) && strings.HasSuffix(d.typ, "!") {
			return &problem{http.StatusBadRequest, "BAD_USER_INPUT", fmt.Sprintf("Variable \"$%s\" of required type %q was not provided.", d.name, d.typ)}
		}
		values[d.name] = value
	}
	var walk func(fields []selection) error
	walk = func(fields []selection) error {
		for _, f := range fields {
			for name, v := range f.args {
				if ref, ok := v.(variable); ok {
					value, known := values[string(ref)]
					if !known {
						return invalid("Variable \"$%s\" is not defined.", ref)
					}
					f.args[name] = value
				}
			}
			if err := walk(f.fields); err != nil {
				return err
			}
		}
		return nil
	}
	return walk(op.fields)
}

// validate checks fields and arguments against the schema. Introspection's own
// types are not checked.
func (a *API) validate(typ string, fields []selection) error {
	t := a.schema[typ]
	for _, s := range fields {
		if strings.HasPrefix(s.name, "__") {
			if a.opts.NoIntrospection && s.name != "__typename" {
				return &problem{http.StatusBadRequest, "INTROSPECTION_DISABLED", "GraphQL introspection is not allowed, but the query contained " + s.name}
			}
			continue
		}
		f, ok := t.field(s.name)
		if !ok {
			return invalid("Cannot query field %q on type %q.", s.name, typ)
		}
		for _, name := range slices.Sorted(maps.Keys(s.args)) {
			if !f.arg(name) {
				return invalid("Unknown argument %q on field \"%s.%s\".", name, typ, s.name)
			}
		}
		for _, arg := range f.args {
			if strings.HasSuffix(arg.typ, "!") && s.args[arg.name] == nil {
				return invalid("Argument %q of required type %q was not provided.", arg.name, arg.typ)
			}
		}
		leaf := slices.Contains(scalars, bare(f.typ))
		switch {
		case leaf && s.fields != nil:
			return invalid("Field %q must not have a selection since type %q has no subfields.", s.name, f.typ)
		case !leaf && s.fields == nil:
			return invalid("Field %q of type %q must have a selection of subfields.", s.name, f.typ)
		case !leaf:
			if err := a.validate(bare(f.typ), s.fields); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *API) resolve(r *http.Request, s selection, twist sim.Twist) (any, error) {
	switch s.name {
	case "__typename":
		return queryType, nil
	case "__schema":
		return map[string]any{"queryType": a.introspect(queryType), "mutationType": nil, "subscriptionType": nil}, nil
	case "__type":
		name, _ := s.args["name"].(string)
		return a.introspect(name), nil
	case "version":
		return "sandbox", nil
	default:
		return a.performance(r, s.args, twist)
	}
}

// performance is the one query with data.
func (a *API) performance(r *http.Request, args map[string]any, twist sim.Twist) (any, error) {
	brand, _ := args["clientId"].(string)
	if a.opts.BrandHeader != "" {
		brand = r.Header.Get(a.opts.BrandHeader)
	}
	if !a.mayRead(brand) {
		if a.opts.ForbiddenWithOK {
			return nil, &problem{http.StatusOK, "FORBIDDEN", "Not authorised for brand"}
		}
		return nil, &problem{http.StatusForbidden, "FORBIDDEN", "Not authorised for brand"}
	}
	first, end, err := a.days(args)
	if err != nil {
		return nil, err
	}
	var page page
	if page, err = a.page(args); err != nil {
		return nil, err
	}
	var rows []row
	total := 0
	if twist.RepeatPage {
		page.offset = 0
	}
	count := func() (n int) {
		for range a.rows(brand, first, end, a.world.AsOf()) {
			n++
		}
		return n
	}
	if twist.EndlessPages {
		if n := count(); n > 0 {
			page.offset %= n
		}
	}
	for row := range a.rows(brand, first, end, a.world.AsOf()) {
		if total >= page.offset && len(rows) < page.size {
			rows = append(rows, row)
		}
		total++
	}
	more := page.offset+len(rows) < total
	if twist.EndlessPages {
		more, total = true, math.MaxInt32
	}
	return a.result(rows, page.offset+len(rows), total, more), nil
}

// days reads the range of days: the first and the day after the last.
func (a *API) days(args map[string]any) (first, end int64, err error) {
	var days [2]int64
	for i, name := range []string{"dateFrom", "dateTo"} {
		text, _ := args[name].(string)
		day, err := time.Parse(time.DateOnly, text)
		if err != nil {
			return 0, 0, &problem{http.StatusBadRequest, "BAD_USER_INPUT", name + ": want a date such as 2025-01-01"}
		}
		days[i] = dayOf(day)
	}
	first, end = days[0], days[1]
	if !a.opts.ExclusiveTo {
		end++
	}
	if a.opts.MaxDays > 0 && end-first > int64(a.opts.MaxDays) {
		return 0, 0, &problem{http.StatusRequestEntityTooLarge, "RESPONSE_TOO_LARGE", "response too large"}
	}
	return first, end, nil
}

type page struct{ offset, size int }

func (a *API) page(args map[string]any) (p page, err error) {
	number := func(name string, byDefault int) int {
		v, given := args[name]
		if !given || v == nil {
			return byDefault
		}
		n, ok := v.(float64)
		if !ok || n < 0 || n != math.Trunc(n) || n > math.MaxInt32 {
			err = &problem{http.StatusBadRequest, "BAD_USER_INPUT", name + ": want an Int of 0 or more"}
		}
		return int(n)
	}
	place := func(name string) {
		text, _ := args[name].(string)
		if text == "" {
			return
		}
		plain, _ := base64.RawURLEncoding.DecodeString(text)
		offset, bad := strconv.Atoi(string(plain))
		if bad != nil {
			err = &problem{http.StatusBadRequest, "BAD_USER_INPUT", name + ": not one of ours"}
		}
		p.offset = offset
	}
	switch a.opts.Paging {
	case pagingOffset:
		p = page{number("offset", 0), number("limit", a.opts.MaxPage)}
	case pagingPage:
		p.size = min(number("pageSize", a.opts.MaxPage), a.opts.MaxPage)
		p.offset = (max(number("page", 1), 1) - 1) * p.size
	case pagingCursor:
		p.size = number("first", a.opts.MaxPage)
		place("after")
	case pagingToken:
		p.size = number("limit", a.opts.MaxPage)
		place("nextToken")
	default:
		return page{0, math.MaxInt32}, nil
	}
	p.size = min(p.size, a.opts.MaxPage)
	return p, err
}

// result is a page of rows in the shape of the schema.
func (a *API) result(rows []row, next, total int, more bool) map[string]any {
	token := any(nil)
	if more {
		token = base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(next)))
	}
	out := map[string]any{"metadata": map[string]any{"totalRows": int64(total)}}
	list := make([]any, len(rows))
	for i := range rows {
		list[i] = &rows[i]
	}
	switch a.opts.Paging {
	case pagingCursor:
		edges := make([]any, len(rows))
		for i := range list {
			cursor := base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(next - len(rows) + i + 1)))
			edges[i] = map[string]any{"node": list[i], "cursor": cursor}
		}
		out["edges"], out["pageInfo"] = edges, map[string]any{"hasNextPage": more, "endCursor": token}
		return out
	case pagingToken:
		out["nextToken"] = token
	}
	out["rows"] = list
	return out
}

// appendValue writes what the fields select of a value, and then closes with end.
func appendValue(dst []byte, v any, fields []selection, end ...byte) []byte {
	switch v := v.(type) {
	case map[string]any:
		dst = append(dst, '{')
		for i, s := range fields {
			if i > 0 {
				dst = append(dst, ',')
			}
			value, aliased := v[s.key()]
			if !aliased {
				value = v[s.name]
			}
			dst = append(sim.AppendText(dst, s.key(), false), ':')
			dst = appendValue(dst, value, s.fields)
		}
		dst = append(dst, '}')
	case *row:
		dst = append(dst, '{')
		for i, s := range fields {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(sim.AppendText(dst, s.key(), false), ':')
			dst = appendValue(dst, v.field(s.name), nil)
		}
		dst = append(dst, '}')
	case []any:
		dst = append(dst, '[')
		for i, element := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendValue(dst, element, fields)
		}
		dst = append(dst, ']')
	case string:
		dst = sim.AppendText(dst, v, false)
	case decimal:
		dst = append(dst, v...)
	case int64:
		dst = strconv.AppendInt(dst, v, 10)
	case bool:
		dst = strconv.AppendBool(dst, v)
	default:
		dst = append(dst, "null"...)
	}
	return append(dst, end...)
}

// field is the value of a field that the schema has.
func (r *row) field(name string) any {
	if name == "__typename" {
		return rowType
	}
	i := slices.IndexFunc(cells, func(c cell) bool { return c.field == name })
	return cells[i].value(r)
}
