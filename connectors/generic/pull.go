package generic

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/rest"
)

// Pull reads a stream, or one window of it. Only streams whose parents are read
// by windows keep a position.
func (s *source) Pull(ctx context.Context, req connector.Request, out connector.Emitter) error {
	i := slices.IndexFunc(s.api.streams, func(st *stream) bool { return st.Name == req.Stream })
	if i < 0 {
		return &connector.Error{Kind: connector.KindConfig, Err: fmt.Errorf("%s has no stream %q", s.api.Name, req.Stream)}
	}
	st := s.api.streams[i]
	if st.Mode == connector.ModeWindow && !req.Window.Until.After(req.Window.Since) {
		return &connector.Error{Kind: connector.KindConfig, Op: st.Name, Err: fmt.Errorf("window %s: want one that begins before it ends", req.Window)}
	}
	if st.Mode == connector.ModeWindow && !req.AsOf.IsZero() && req.Window.Until.After(req.AsOf) {
		req.Window.Until = req.AsOf // a window that is not over: what vendors make of days to come is their own
		if !req.Window.Until.After(req.Window.Since) {
			return nil
		}
	}
	switch {
	case st.Mode == connector.ModeCursor:
		return s.pullOpen(ctx, st, req, out)
	case st.parent != nil:
		return s.pullPerParent(ctx, st, out)
	case st.spec.Each != "":
		return s.pullPerValue(ctx, st, req.Window, out)
	default:
		return s.read(ctx, st, s.cfg.scope(), req.Window, out.Record)
	}
}

// pullPerValue reads one list for each value of a parameter.
func (s *source) pullPerValue(ctx context.Context, st *stream, w connector.Window, out connector.Emitter) error {
	left := newLeftOut(st)
	for _, value := range s.cfg.lists[st.spec.Each] {
		values := s.cfg.scope()
		values["each"] = value
		if err := left.consider(s.read(ctx, st, values, w, out.Record)); err != nil {
			return err
		}
	}
	return left.err()
}

// pullPerParent reads one list for each parent there is.
func (s *source) pullPerParent(ctx context.Context, st *stream, out connector.Emitter) error {
	var parents []scope
	err := s.read(ctx, st.parent.stream, s.cfg.scope(), connector.Window{}, func(raw []byte) error {
		values, err := s.parentScope(st.parent, raw)
		parents = append(parents, values)
		return err
	})
	if err != nil {
		return err
	}
	left := newLeftOut(st)
	for _, values := range parents {
		if err := left.consider(s.read(ctx, st, values, connector.Window{}, out.Record)); err != nil {
			return err
		}
	}
	return left.err()
}

// parentScope has what texts in braces can take from a parent: its columns.
func (s *source) parentScope(p *parent, raw []byte) (scope, error) {
	values := s.cfg.scope()
	for _, c := range p.Columns {
		if !c.Personal {
			values["parent."+c.Name] = scalarText(rest.Field(raw, c.Source()...))
		}
	}
	if values["parent."+p.column.Name] == "" {
		return nil, at(p.Name, badResponse("a record without %s", p.column.Name))
	}
	return values, nil
}

// leftOut notices when everything was left out by a rule: then it is the path
// that does not exist, and an empty stream would pass for one whose rows have
// vanished.
type leftOut struct {
	name string
	read int
	skip error
}

func newLeftOut(st *stream) *leftOut { return &leftOut{name: st.Name} }

// consider takes the result of one list and returns the error that ends the pull.
func (l *leftOut) consider(err error) error {
	switch {
	case err == nil:
		l.read++
		return nil
	case errors.Is(err, errSkip):
		l.skip = err
		return nil
	default:
		return err
	}
}

func (l *leftOut) err() error {
	if l.read == 0 {
		return l.skip
	}
	return nil
}

// read reads one list, or one record, and hands each record that belongs to the
// window to each, whose error ends it (P3).
func (s *source) read(ctx context.Context, st *stream, values scope, w connector.Window, each func(raw []byte) error) error {
	return s.list(ctx, st, values, w, func(raw []byte) error {
		record, err := s.shape(st, values, w, raw)
		if err != nil {
			return at(st.Name, err)
		}
		if record == nil {
			return nil
		}
		return each(record)
	})
}

// request builds the first request of a list.
func (s *source) request(st *stream, values scope, w connector.Window) (rest.Request, error) {
	req := rest.Request{Method: st.spec.Method, Op: st.Name, Header: http.Header{}}
	for _, name := range []string{"each", "parent." + st.parentKey()} {
		if value, ok := values[name]; ok && len(value) <= 64 {
			req.Op += " " + strconv.Quote(value)
		}
	}
	var err error
	if req.Path, err = st.path.fill(values, escapeSegment); err != nil {
		return req, at(req.Op, &connector.Error{Kind: connector.KindBadResponse, Err: err})
	}
	req.Template, _ = st.path.fill(values, func(string) (string, error) { return "{}", nil }) // for traces: no value fails
	if req.Query, err = fillAll(st.params, values); err != nil {
		return req, err
	}
	if st.window != nil {
		st.window.ask(req.Query, w)
	}
	if st.spec.Method == http.MethodPost {
		body := st.spec.Body
		if body == nil {
			body = map[string]any{}
		}
		if req.Body, err = encodeJSON(fillBody(body, values)); err != nil {
			return req, at(req.Op, err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.ReadOnly = true // the manifest says so, and the guard checks it
	}
	return req, nil
}

func (st *stream) parentKey() string {
	if st.parent == nil {
		return ""
	}
	return st.parent.column.Name
}

// escapeSegment makes one segment of a path of a value.
func escapeSegment(value string) (string, error) {
	if value == "" || value == "." || value == ".." {
		return "", fmt.Errorf("%q cannot be a part of a path", value)
	}
	return url.PathEscape(value), nil
}

func fillAll(templates map[string]template, values scope) (url.Values, error) {
	query := url.Values{}
	for name, t := range templates {
		text, err := t.fill(values, nil)
		if err != nil {
			return nil, err
		}
		query.Set(name, text)
	}
	return query, nil
}

// fillBody returns a copy of a body with its texts filled in.
func fillBody(value any, values scope) any {
	switch v := value.(type) {
	case map[string]any:
		filled := make(map[string]any, len(v))
		for name, inner := range v {
			filled[name] = fillBody(inner, values)
		}
		return filled
	case []any:
		filled := make([]any, len(v))
		for i, inner := range v {
			filled[i] = fillBody(inner, values)
		}
		return filled
	case string:
		t, err := parseTemplate(v, func(string) error { return nil })
		if err != nil {
			return v
		}
		text, _ := t.fill(values, nil)
		return text
	default:
		return v
	}
}

// ask puts the window into a query, with the overlap on both sides. A window
// without a begin or end asks for none.
func (w *window) ask(query url.Values, span connector.Window) {
	if !span.Since.IsZero() {
		query.Set(w.spec.SinceParam, formatTime(w.overlap.Before(span.Since.In(w.zone)), w.spec.Format))
	}
	if !span.Until.IsZero() {
		query.Set(w.spec.UntilParam, formatTime(w.overlap.After(span.Until.In(w.zone)), w.spec.Format))
	}
}
