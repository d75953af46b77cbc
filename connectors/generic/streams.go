package generic

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // the time zones of a manifest exist on machines that have none

	"github.com/expr-lang/expr/vm"

	"github.com/winchdata/winch/pkg/connector"
)

// A stream is a declared stream, ready to be read.
type stream struct {
	connector.Stream
	spec   streamSpec
	path   template
	params map[string]template

	keys   []string // of the array, or of the one record
	nested route    // instead, where arrays stand inside arrays
	single bool     // keys lead to one record

	added    []addition
	personal [][]string
	window   *window
	paging   paging
	parent   *parent
}

// An addition is a field that records get.
type addition struct {
	name string
	text template
	// outer, if not nil, leads from the outer element of that level (1 is an
	// element of the first array) to the value.
	outer route
	level int
}

// A window is how a stream is asked for a span of time.
type window struct {
	spec    windowSpec
	column  connector.Column
	zone    *time.Location
	overlap connector.Span
	source  []string // where the time stands in a record
	formats []string // how it is written
}

type paging struct {
	pagingSpec
	total, next []string // keys in the answer; nil: not told
}

// A parent is the stream whose records a child is read for.
type parent struct {
	*stream
	column   connector.Column // that identifies a parent
	open     *vm.Program      // nil: never
	walk     connector.Span
	lookback connector.Span
}

// The kinds of paging, and what ends it.
const (
	pagingNone    = "none"
	pagingPage    = "page"
	pagingOffset  = "offset"
	pagingCursor  = "cursor"
	pagingNextURL = "next_url"
	pagingLink    = "link"
	stopEmpty     = "empty_page"
)

const (
	vanishedKeep   = "keep"
	vanishedDelete = "delete"
)

// named reports whether the vendor names the address of the next page.
func (p *paging) named() bool { return p.Type == pagingNextURL || p.Type == pagingLink }

// told reports whether the vendor tells the next page, instead of its being
// counted.
func (p *paging) told() bool { return p.Type == pagingCursor || p.named() }

// stream reads one stream; the streams before it are in a.
func (r *reading) stream(a *api, at string, spec streamSpec) *stream {
	st := &stream{spec: spec}
	st.Stream = connector.Stream{
		Name: spec.Name, Description: spec.Description, DocsURL: cmp.Or(spec.DocsURL, a.DocsURL),
		Mode: connector.ModeSnapshot, PrimaryKey: spec.Key, Optional: spec.Optional,
	}
	st.spec.Method = cmp.Or(spec.Method, http.MethodGet)
	r.columns(at, st)
	r.personalPaths(at, st)
	r.parentOf(a, at, st)
	r.windowOf(at, st)
	r.recordsOf(at, st)
	r.requestOf(a, at, st)
	r.additions(a, at, st)
	r.pagingOf(at, st)
	if st.Mode == connector.ModeWindow {
		st.Slice, st.Lookback, st.Lag = spec.Slice, spec.Lookback, spec.Lag
		if st.Slice.IsZero() {
			st.Slice = connector.Days(1)
		}
	} else if !spec.Slice.IsZero() || !spec.Lookback.IsZero() || !spec.Lag.IsZero() {
		r.bad(at, "slice, lookback and lag need a window")
	}
	if spec.Name != "" && len(spec.Key) > 0 {
		if err := st.Validate(); err != nil {
			prefix := "stream " + spec.Name + ": "
			for line := range strings.Lines(err.Error()) {
				if strings.Contains(line, "unknown type") {
					continue // told of the column itself
				}
				r.bad(at, "%s", strings.TrimPrefix(strings.TrimSpace(line), prefix))
			}
		}
	}
	return st
}

func (r *reading) columns(at string, st *stream) {
	for i, spec := range st.spec.Columns {
		c := connector.Column{
			Name: spec.Name, Type: connector.Type(spec.Type), Formats: spec.Formats,
			EmptyIsNull: spec.EmptyIsNull, Description: spec.Description,
		}
		if spec.Path != "" {
			c.Path = r.keys(fmt.Sprintf("%s.columns[%d].path", at, i), spec.Path)
		}
		st.Columns = append(st.Columns, c)
	}
}

// personalPaths marks the columns that hold personal data.
func (r *reading) personalPaths(at string, st *stream) {
	for i, text := range st.spec.Personal {
		path := r.keys(fmt.Sprintf("%s.personal[%d]", at, i), text)
		if len(path) == 0 {
			continue
		}
		st.personal = append(st.personal, path)
		for k := range st.Columns {
			c := &st.Columns[k]
			if !within(c.Source(), path) {
				continue
			}
			c.Personal = true
			if slices.Contains(st.PrimaryKey, c.Name) || st.spec.Window != nil && st.spec.Window.Column == c.Name {
				r.bad(fmt.Sprintf("%s.personal[%d]", at, i), "%q: column %s is needed as it is", text, c.Name)
			}
		}
	}
}

// within reports whether path is outer or lies in it.
func within(path, outer []string) bool {
	return len(path) >= len(outer) && slices.Equal(path[:len(outer)], outer)
}

func (r *reading) parentOf(a *api, at string, st *stream) {
	spec := st.spec.Parent
	if spec == nil || spec.Stream == "" || spec.Key == "" {
		return
	}
	at += ".parent"
	i := slices.IndexFunc(a.streams, func(p *stream) bool { return p.Name == spec.Stream })
	if i < 0 {
		r.bad(at+".stream", "%q: no stream of that name stands before this one", spec.Stream)
		return
	}
	p := &parent{stream: a.streams[i], lookback: spec.Lookback, walk: spec.Walk}
	if p.parent != nil || p.spec.Each != "" {
		r.bad(at+".stream", "%q has a parent or each itself", spec.Stream)
	}
	if st.spec.Window != nil {
		r.bad(at, "a stream with a parent is read by its parent's windows, not by its own")
	}
	c, ok := p.Column(spec.Key)
	if !ok {
		r.bad(at+".key", "stream %s has no column %q", spec.Stream, spec.Key)
	}
	p.column = c
	if p.window == nil {
		if spec.Open != "" || !spec.Walk.IsZero() || !spec.Lookback.IsZero() {
			r.bad(at, "open, walk and lookback need a parent with a window")
		}
		st.parent = p
		return
	}
	st.Mode = connector.ModeCursor
	if spec.Open != "" {
		var err error
		if p.open, err = parseRecordCondition(spec.Open); err != nil {
			r.bad(at+".open", "%v", err)
		}
	}
	if p.walk.IsZero() {
		p.walk = p.Slice
	}
	if !p.walk.Positive() {
		r.bad(at+".walk", "%s: want a span above zero", p.walk)
	}
	if !p.lookback.IsZero() && !p.lookback.Positive() {
		r.bad(at+".lookback", "%s: want a span above zero", p.lookback)
	}
	st.parent = p
}

func (r *reading) windowOf(at string, st *stream) {
	spec := st.spec.Window
	if spec == nil {
		return
	}
	at += ".window"
	st.Mode = connector.ModeWindow
	w := &window{spec: *spec, overlap: spec.Overlap, zone: time.UTC}
	w.spec.Vanished = cmp.Or(spec.Vanished, vanishedKeep)
	c, ok := st.Column(spec.Column)
	if !ok || c.Type != connector.TypeTimestamp && c.Type != connector.TypeDate {
		r.bad(at+".column", "%q: want a declared column of type date or timestamptz", spec.Column)
	}
	w.column, w.source, w.formats = c, c.Source(), c.Formats
	if len(w.formats) == 0 {
		w.formats = []string{time.RFC3339}
		if c.Type == connector.TypeDate {
			w.formats = []string{time.DateOnly}
		}
	}
	if spec.Timezone != "" {
		zone, err := time.LoadLocation(spec.Timezone)
		if err != nil || strings.EqualFold(spec.Timezone, "local") { // P6: not that of the machine
			r.bad(at+".timezone", "%q: want a name such as Europe/Stockholm", spec.Timezone)
		} else {
			w.zone = zone
		}
	}
	if spec.Format != "" && formatTime(time.Unix(0, 0).UTC(), spec.Format) == formatTime(time.Unix(1e9, 0).UTC(), spec.Format) {
		r.bad(at+".format", "%q: want unix, unix_ms or a layout such as 2006-01-02", spec.Format)
	}
	if !spec.Overlap.IsZero() && !spec.Overlap.Positive() {
		r.bad(at+".overlap", "%s: want a span above zero", spec.Overlap)
	}
	st.window = w
}

func (r *reading) recordsOf(at string, st *stream) {
	switch spec := st.spec; {
	case (spec.Records == "") == (spec.Record == ""):
		r.bad(at, "want either records or record")
	case spec.Record != "":
		st.single, st.keys = true, r.keys(at+".record", spec.Record)
	default:
		path := r.path(at+".records", spec.Records)
		if keys, ok := path.keys(); ok {
			st.keys = keys
		} else {
			st.nested = path
		}
	}
	if st.single && st.spec.Paging.Type != "" && st.spec.Paging.Type != pagingNone {
		r.bad(at+".paging", "one record has no pages")
	}
}

// requestOf reads what is sent. The guard: a POST goes only where the manifest
// says that it reads.
func (r *reading) requestOf(a *api, at string, st *stream) {
	spec := st.spec
	if spec.Method == http.MethodPost && !slices.Contains(a.ReadOnlyPost, spec.Path) {
		r.bad(at+".method", "POST %s is not declared read-only: nothing is sent that could change something at the vendor; list the path under read_only_post if it only reads", spec.Path)
	}
	if spec.Body != nil && spec.Method != http.MethodPost {
		r.bad(at+".body", "only a POST has one")
	}
	if spec.Each != "" {
		if p := a.parameter(spec.Each); p == nil || p.Type != parameterList {
			r.bad(at+".each", "no parameter of type list has the name %q", spec.Each)
		}
		if spec.Parent != nil {
			r.bad(at+".each", "beside parent: want one of them")
		}
	}
	allowed := func(place string) error { return a.place(st, place) }
	if spec.Path != "" {
		st.path = r.template(at+".path", spec.Path, allowed)
		sample := strings.Join(st.path.literals, "x")
		if !plainPath.MatchString(sample) {
			r.bad(at+".path", "%.60q: want a path such as /orders/list", spec.Path)
		}
	}
	st.params = r.templates(at+".params", spec.Params, allowed)
	r.body(at+".body", spec.Body, allowed)
}

func (r *reading) body(at string, value any, allowed func(string) error) {
	switch v := value.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			r.body(join(at, name), v[name], allowed)
		}
	case []any:
		for i, element := range v {
			r.body(fmt.Sprintf("%s[%d]", at, i), element, allowed)
		}
	case string:
		r.template(at, v, allowed)
	}
}

// place allows what a stream's texts can have in braces.
func (a *api) place(st *stream, place string) error {
	field, isParent := strings.CutPrefix(place, "parent.")
	switch {
	case place == "each" && st.spec.Each != "":
		return nil
	case place == "each":
		return errors.New("{each} needs each: the name of a parameter of type list")
	case !isParent:
		return a.parameterPlace(place)
	case st.parent == nil:
		return fmt.Errorf("{%.60s} needs a parent", place)
	}
	c, ok := st.parent.Column(field)
	switch {
	case !ok:
		return fmt.Errorf("{%.60s}: stream %s has no such column", place, st.parent.Name)
	case c.Personal:
		return fmt.Errorf("{%.60s}: personal data is not passed on", place)
	case st.Mode == connector.ModeCursor && field != st.spec.Parent.Key:
		return fmt.Errorf("{%.60s}: only the key {parent.%s} is kept for records that are read again", place, st.spec.Parent.Key)
	}
	return nil
}

func (r *reading) additions(a *api, at string, st *stream) {
	for _, name := range slices.Sorted(maps.Keys(st.spec.Add)) {
		text, here := st.spec.Add[name], join(at+".add", name)
		one := addition{name: name}
		inner, isPlace := strings.CutPrefix(text, "{")
		inner, closed := strings.CutSuffix(inner, "}")
		scoped := inner == "each" || strings.HasPrefix(inner, "parent.") || strings.HasPrefix(inner, "parameter.")
		if isPlace && closed && !scoped && !strings.ContainsAny(inner, "{}") {
			one.outer = r.path(here, inner)
			one.level = len(one.outer) - 1
			if !st.encloses(one.outer) {
				r.bad(here, "%.60q: want a path of an outer element of records, such as data.countries[*].code", text)
			}
		} else {
			one.text = r.template(here, text, func(place string) error { return a.place(st, place) })
		}
		st.added = append(st.added, one)
	}
}

// encloses reports whether a path leads to an outer element of the records.
func (st *stream) encloses(outer route) bool {
	if len(outer) < 2 || len(outer) >= len(st.nested) || len(outer[len(outer)-1]) == 0 {
		return false
	}
	for i := range len(outer) - 1 {
		if outer[i].String() != st.nested[i].String() {
			return false
		}
	}
	return true
}

func (r *reading) pagingOf(at string, st *stream) {
	p := paging{pagingSpec: st.spec.Paging}
	at += ".paging"
	p.Type = cmp.Or(p.Type, pagingNone)
	if p.Type == pagingNone {
		if p.pagingSpec != (pagingSpec{Type: pagingNone}) {
			r.bad(at, "want type: page, offset, cursor, next_url or link")
		}
		st.paging = p
		return
	}
	switch {
	case p.named() && p.Param != "":
		r.bad(at+".param", "the address of the next page has it all")
	case !p.named() && p.Param == "":
		r.bad(at+".param", "missing")
	}
	if p.Size < 0 || p.Start < 0 {
		r.bad(at, "size and start: want 0 or more")
	}
	if p.SizeParam != "" && p.Size == 0 {
		r.bad(at+".size", "missing beside size_param")
	}
	if p.told() && (p.Start != 0 || p.Stop != "" || p.Total != "") {
		r.bad(at, "start, stop and total belong to type: page or offset")
	}
	if !p.told() && p.Stop != stopEmpty && p.Size == 0 {
		r.bad(at+".size", "missing: what a short page is, the size says; or set stop: empty_page")
	}
	if (p.Type == pagingCursor || p.Type == pagingNextURL) != (p.Next != "") {
		r.bad(at+".next", "belongs to type: cursor or next_url")
	}
	if p.Next != "" {
		p.next = r.keys(at+".next", p.Next)
	}
	if p.Total != "" {
		p.total = r.keys(at+".total", p.Total)
	}
	st.paging = p
}
