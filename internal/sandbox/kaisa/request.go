package kaisa

import (
	"bytes"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/winchdata/winch/internal/sandbox/sim"
)

// A resource is one readable path.
type resource struct {
	path string
	note string
	// id is the parameter that a number behind the path stands for.
	id    string
	serve func(*request, *answer)
}

// A request is what a resource is asked.
type request struct {
	*query
	twist sim.Twist
	asOf  int64
}

// route finds the resource of a path and the ids that its segments give. Records
// below a customer have two spellings (Introduction to the Kaisa API):
// customers/1/voicemail_greetings/2 and
// customers/voicemail_greetings?customer_id=1&vm_greeting_id=2. Every id has a
// digit in it and no name has one.
func (a *API) route(path string) (res resource, ids map[string]string, found bool) {
	ids = map[string]string{}
	var names []string
	name := ""
	for _, segment := range strings.Split(strings.Trim(path, "/"), "/") {
		parent, known := a.resources[name]
		_, isName := a.resources[strings.Join(append(names[:len(names):len(names)], segment), "/")]
		if !isName && known && parent.id != "" && ids[parent.id] == "" && strings.ContainsAny(segment, "0123456789") {
			ids[parent.id] = segment
			continue
		}
		names = append(names, segment)
		name = strings.Join(names, "/")
	}
	res, found = a.resources[name]
	return res, ids, found
}

// A query reads parameters; the first that cannot be read is the problem.
type query struct {
	values  url.Values
	problem string
}

func newQuery(values url.Values, ids map[string]string) *query {
	for name, id := range ids {
		values.Set(name, id)
	}
	return &query{values: values}
}

func (q *query) complain(text string) {
	if q.problem == "" {
		q.problem = text
	}
}

func (q *query) text(name string) string { return q.values.Get(name) }

// number returns a parameter, or absent if it is not given.
func (q *query) number(name string, absent int64) int64 {
	s := q.values.Get(name)
	if s == "" {
		return absent
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		q.complain(name + ": want a number")
		return absent
	}
	return n
}

// must returns a mandatory number.
func (q *query) must(name string) int64 {
	if q.values.Get(name) == "" {
		q.complain(name + ": is mandatory")
	}
	return q.number(name, 0)
}

// moment returns a parameter in one of the layouts, or absent.
func (q *query) moment(name string, absent int64, layouts ...string) int64 {
	s := q.values.Get(name)
	if s == "" {
		return absent
	}
	for _, layout := range layouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t.Unix()
		}
	}
	q.complain(name + ": want " + layouts[0])
	return absent
}

// maxPage is the documented default and maximum of pagesize.
const maxPage = 1000

// A page is which of the records to answer with.
type page struct{ number, size int }

// page reads page and pagesize. More than the maximum is taken for the maximum.
func (r *request) page(fixed bool) page {
	p := page{number: int(min(r.number("page", 0), 1<<40)), size: maxPage}
	if !fixed {
		p.size = int(min(r.number("pagesize", maxPage), maxPage))
		if p.size == 0 {
			p.size = maxPage
		}
	}
	if r.twist.RepeatPage {
		p.number = 0
	}
	return p
}

// span is the places [from, to) of the page's records among total. Beyond the
// last page it is empty, which is inferred.
func (p page) span(total int) (from, to int) {
	if p.number > total/p.size {
		return total, total
	}
	return p.number * p.size, min((p.number+1)*p.size, total)
}

// endless turns a page beyond the last into one of the others, if the twist asks.
func (r *request) endless(p page, total int) page {
	if pages := (total + p.size - 1) / p.size; r.twist.EndlessPages && pages > 0 {
		p.number %= pages
	}
	return p
}

// An answer is the JSON of one response.
type answer struct{ sim.Fields }

var answers = sync.Pool{New: func() any { return new(answer) }}

func newAnswer() *answer {
	a := answers.Get().(*answer)
	a.Fields = sim.Fields{JSON: a.JSON[:0]}
	return a
}

// release keeps the buffer for the next answer unless it has grown out of size.
func (a *answer) release() {
	if cap(a.JSON) <= 4<<20 {
		answers.Put(a)
	}
}

func (a *answer) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(a.JSON)))
	_, _ = w.Write(a.JSON) // the client has gone: nobody to tell
}

// paged opens an envelope with the metadata of a page and the list of the key.
func (a *answer) paged(o *Options, r *request, p page, total int, key string) {
	pages := (total + p.size - 1) / p.size
	if r.twist.EndlessPages {
		total, pages = total+(p.number+2)*p.size, p.number+2
	}
	a.JSON = append(a.JSON, '{')
	write := a.Int
	if o.TextMetadata {
		write = a.QuotedInt
	}
	write("total", int64(total))
	write("page", int64(p.number))
	write("pagesize", int64(p.size))
	write("numpages", int64(pages))
	a.Key(key)
	a.JSON = append(a.JSON, '[')
}

// open opens an envelope without metadata.
func (a *answer) open(key string) {
	a.JSON = append(a.JSON, '{')
	a.Key(key)
	a.JSON = append(a.JSON, '[')
}

func (a *answer) shut() { a.JSON = append(a.JSON, "]}"...) }

// strings writes a whole envelope of texts.
func (a *answer) strings(key string, all []string) {
	a.open(key)
	for _, s := range all {
		a.Comma()
		a.JSON = sim.AppendText(a.JSON, s, a.ASCII)
	}
	a.shut()
}

// quotedInts is a JSON array of numbers as strings.
func quotedInts(all []int64) []byte {
	var b bytes.Buffer
	b.WriteByte('[')
	for i, n := range all {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`"` + strconv.FormatInt(n, 10) + `"`)
	}
	b.WriteByte(']')
	return b.Bytes()
}
