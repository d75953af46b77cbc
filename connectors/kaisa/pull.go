package kaisa

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/rest"
)

// Pull reads a stream, or one window of it. It keeps no position: a snapshot has
// none, and a window is small enough to be read again.
func (s *source) Pull(ctx context.Context, req connector.Request, out connector.Emitter) error {
	i := slices.IndexFunc(s.streams, func(st stream) bool { return st.Name == req.Stream })
	if i < 0 {
		return &connector.Error{Kind: connector.KindConfig, Err: fmt.Errorf("kaisa has no stream %q", req.Stream)}
	}
	st := s.streams[i]
	if st.Mode == connector.ModeWindow && !req.Window.Until.After(req.Window.Since) {
		return &connector.Error{Kind: connector.KindConfig, Op: st.Name, Err: fmt.Errorf("window %s: want one that begins before it ends", req.Window)}
	}
	lists := []url.Values{nil}
	if st.queries != nil {
		lists = st.queries(req.Window)
	}
	if st.perCustomer {
		return s.pullPerCustomer(ctx, st, lists, req.Window, out)
	}
	for _, params := range lists {
		if _, err := s.read(ctx, st, query{params: params, window: req.Window}, out); err != nil {
			return err
		}
	}
	return nil
}

// pullPerCustomer reads the lists of each customer. A customer that has vanished
// since the customers were listed is left out. If that goes for all of them, it
// is the path that does not exist: an empty stream would delete what was pulled
// before.
func (s *source) pullPerCustomer(ctx context.Context, st stream, lists []url.Values, w connector.Window, out connector.Emitter) error {
	customers, err := s.customers(ctx)
	if err != nil || len(lists) == 0 {
		return err
	}
	var notFound error
	found := 0
	for _, customer := range customers {
		vanished, err := s.readCustomer(ctx, st, lists, customer, w, out)
		switch {
		case vanished:
			notFound = err
			s.log.InfoContext(ctx, "customer left out: the vendor does not know it", "stream", st.Name, "customer_id", customer)
		case err != nil:
			return err
		default:
			found++
		}
	}
	if found == 0 && notFound != nil {
		return notFound
	}
	return nil
}

// readCustomer reads the lists of a customer. It has vanished if the first answer
// is a 404; a later one is an error like any other.
func (s *source) readCustomer(ctx context.Context, st stream, lists []url.Values, customer string, w connector.Window, out connector.Emitter) (vanished bool, err error) {
	for i, params := range lists {
		received, err := s.read(ctx, st, query{params: params, customer: customer, window: w}, out)
		if err != nil {
			return i == 0 && received == 0 && errors.Is(err, errNotFound), err
		}
	}
	return false, nil
}

// customers returns the ids of the customers to read, in the vendor's order.
func (s *source) customers(ctx context.Context) ([]string, error) {
	var ids []string
	add := func(id string) {
		if !slices.Contains(s.cfg.Customers.Exclude, customerID(id)) {
			ids = append(ids, id)
		}
	}
	if include := s.cfg.Customers.Include; len(include) > 0 {
		for _, id := range include {
			add(string(id))
		}
		return ids, nil
	}
	i := slices.IndexFunc(s.streams, func(st stream) bool { return st.Name == customersStream })
	seen := map[string]bool{}
	err := s.list(ctx, s.streams[i], query{}, func(raw []byte) error {
		id := scalarText(rest.Field(raw, "customer_id"))
		if !digits.MatchString(id) {
			return at(customersStream, badResponse("a customer without a customer_id"))
		}
		if !seen[id] {
			add(id)
		}
		seen[id] = true
		return nil
	})
	return ids, err
}

// A query is one list of a stream.
type query struct {
	params   url.Values
	customer string // digits; empty for lists of the whole account
	window   connector.Window
}

// read reads one list and emits its records. It reports how many came.
func (s *source) read(ctx context.Context, st stream, q query, out connector.Emitter) (received int, err error) {
	err = s.list(ctx, st, q, func(raw []byte) error {
		received++
		record, err := shape(st, q, raw)
		if err != nil {
			return at(op(st, q), err)
		}
		if record == nil {
			return nil
		}
		return out.Record(record) // P3: its error ends the list
	})
	return received, err
}

// passes is how often a list that shrinks while it is read is read anew.
const passes = 3

// list reads one list and hands each record to each. A snapshot that shrank
// meanwhile may lack a record, which would then pass for vanished: it is read
// anew.
func (s *source) list(ctx context.Context, st stream, q query, each func(raw []byte) error) error {
	params := url.Values{}
	for name, values := range q.params {
		params[name] = values
	}
	if q.customer != "" {
		params.Set("customer_id", q.customer)
	}
	l := listing{
		op: op(st, q), path: st.path, query: params, paging: st.paging, size: s.cfg.PageSize,
		records: func(body []byte) ([][]byte, error) { return st.split(q, body) },
	}
	var stopped error
	for range passes {
		shrunk, err := s.api.list(ctx, l, func(raw []byte) error {
			stopped = each(raw)
			return stopped
		})
		switch {
		case stopped != nil:
			return stopped
		case err != nil:
			return explain(err, st.Name, q.customer)
		case !shrunk || st.Mode != connector.ModeSnapshot:
			return nil
		}
	}
	return &connector.Error{
		Kind: connector.KindUnavailable, Op: l.op,
		Err:  fmt.Errorf("the list became shorter while it was read, %d times in a row", passes),
		Hint: "schedule the source for a quieter hour",
	}
}

// op says in errors which list is read.
func op(st stream, q query) string {
	parts := []string{st.Name}
	for _, param := range []string{"class", "status", "type"} {
		if value := q.params.Get(param); value != "" {
			parts = append(parts, param, value)
		}
	}
	if q.customer != "" {
		parts = append(parts, "customer", q.customer)
	}
	return strings.Join(parts, " ")
}

// split returns the records of an answer.
func (st stream) split(q query, body []byte) ([][]byte, error) {
	if st.widget {
		return explode(body, q.params.Get("type"))
	}
	if st.emptyAnswer {
		switch string(bytes.TrimSpace(body)) {
		case "{}", "[]":
			return nil, nil
		}
	}
	return envelope(body, st.key, st.keyFixed)
}

// shape makes a record of what the vendor sent, or nil of what does not belong
// to the window.
func shape(st stream, q query, raw []byte) (record []byte, err error) {
	if st.wrap != "" {
		if raw[0] == '{' || raw[0] == '[' || raw[0] == 'n' {
			return nil, badResponse("an entry is neither a text nor a number")
		}
		raw = slices.Concat([]byte(`{"`+st.wrap+`":`), raw, []byte(`}`))
	}
	if raw[0] != '{' {
		return nil, badResponse("a record is not an object")
	}
	if !st.inWindow(q, raw) {
		return nil, nil
	}
	for _, name := range st.drop {
		if raw, err = rest.DropField(raw, name); err != nil { // P10
			return nil, err
		}
	}
	if st.widget {
		return widgetRecord(q, raw)
	}
	if st.addCustomer && scalarText(rest.Field(raw, "customer_id")) == "" {
		return rest.AddField(raw, "customer_id", q.customer)
	}
	return raw, nil
}

// inWindow reports whether a record belongs to the window asked for (P9). One
// whose time cannot be read does: the agent will say what is wrong with it.
func (st stream) inWindow(q query, raw []byte) bool {
	switch {
	case st.TimeColumn == "":
		return true
	case st.widget:
		return !isOtherDay(q, raw)
	}
	t, err := time.Parse(timeLayout, scalarText(rest.Field(raw, st.TimeColumn)))
	return err != nil || q.window.Contains(t)
}

// times returns each query with each value of a parameter; with no value, the
// queries as they are.
func times(queries []url.Values, name string, values []string) []url.Values {
	if len(values) == 0 {
		return queries
	}
	var product []url.Values
	for _, q := range queries {
		for _, value := range values {
			with := url.Values{name: {value}}
			for k, v := range q {
				with[k] = v
			}
			product = append(product, with)
		}
	}
	return product
}

func texts(numbers []int) []string {
	list := make([]string, len(numbers))
	for i, n := range numbers {
		list[i] = strconv.Itoa(n)
	}
	return list
}
