package record

import (
	"errors"
	"hash/maphash"
	"unicode/utf8"

	"github.com/winchdata/winch/internal/jsonscan"
)

// Decode reads one record into row, which refers to raw and is good until raw
// changes. An error is an *Error: the record is at fault, and row then holds
// nothing of use.
//
// What is not declared lands in Extra as it stands in the record: below a key
// that leads to a column, only the undeclared rest of it, unless a json column
// holds the whole. Null or an empty object in place of an object that leads to
// columns is as good as absent. Of equal keys the last counts.
//
// Text that holds NUL, a lone surrogate or invalid UTF-8 is stored with U+FFFD
// in their place and its literal is kept in Extra under the same path; in a
// primary key it is an error, since two keys would become one. The same goes for
// json, where numbers that PostgreSQL's numeric cannot hold become strings.
// Bytes of invalid UTF-8 are U+FFFD in Extra too. What Secret columns read is
// dropped from everything.
func (d *Decoder) Decode(raw []byte, row *Row) error {
	if i := jsonscan.SkipSpace(raw, 0); i < len(raw) && raw[i] != '{' {
		return notObject(raw)
	}
	row.reset(d)
	if err := d.read(raw, row, false); err != nil {
		// A repeated or escaped key is rare enough to be looked at only now: a
		// value that was refused may be one that the record itself replaces.
		canonical, err := d.appendCanonical(nil, raw, d.root)
		if err != nil {
			return wholeError(err)
		}
		row.reset(d)
		if err := d.read(canonical, row, true); err != nil {
			return wholeError(err)
		}
	}
	for _, i := range d.key {
		if row.Values[i].Null {
			return &Error{Column: d.plans[i].name, Want: "a value, because it identifies the row", Got: "nothing or null"}
		}
	}
	d.sum(row)
	return nil
}

func notObject(raw []byte) error {
	if err := jsonscan.Valid(raw); err != nil {
		return wholeError(err)
	}
	return &Error{Want: "a JSON object", Got: jsonType(raw[jsonscan.SkipSpace(raw, 0):])}
}

// wholeError makes an *Error of what a scan found.
func wholeError(err error) error {
	var syntax *jsonscan.SyntaxError
	if errors.As(err, &syntax) {
		return &Error{Want: "a JSON object", Got: err.Error()}
	}
	return err
}

// errRewrite stops a first reading at a key that occurs twice or is not written
// in its usual form.
var errRewrite = errors.New("the record has to be rewritten")

func (row *Row) reset(d *Decoder) {
	if row.owner != d || len(row.Values) != len(d.plans) {
		row.owner = d
		row.Values = make([]Value, len(d.plans))
		row.start = make([]*node, d.nodes)
		row.after = make([]*node, d.nodes)
		row.seen = make([]uint64, (d.nodes+63)/64)
		d.root.guess(row)
	}
	for i := range row.Values {
		row.Values[i].Null = true
	}
	clear(row.seen)
	row.keys.reset()
	row.buf = row.buf[:0]
	row.extra = append(row.extra[:0], '{')
	row.Extra = nil
}

// guess makes the declared order the expected one.
func (n *node) guess(row *Row) {
	for i, m := range n.members {
		row.after[m.id] = n.members[min(i+1, len(n.members)-1)]
		m.guess(row)
	}
	if len(n.members) > 0 {
		row.start[n.id] = n.members[0]
	}
}

// A reader is one reading of the record b into row, whose values may lie in b.
type reader struct {
	d   *Decoder
	row *Row
	b   []byte
	// distinct says that no declared or undeclared key occurs twice and that all
	// are written as appendQuoted would.
	distinct bool
}

func (d *Decoder) read(raw []byte, row *Row, distinct bool) error {
	r := reader{d, row, raw, distinct}
	end, err := r.object(d.root, jsonscan.SkipSpace(r.b, 0), 1, true)
	if err != nil {
		return err
	}
	if end = jsonscan.SkipSpace(r.b, end); end < len(r.b) {
		return &jsonscan.SyntaxError{Offset: end, Problem: "want the end of the record"}
	}
	if len(row.extra) > 1 {
		row.extra = append(row.extra, '}')
		row.Extra = row.extra
	}
	return nil
}

// object reads the object that begins at b[i] and lies in depth-1 others. What
// is not declared goes to extra if keep is set.
func (r *reader) object(n *node, i, depth int, keep bool) (end int, err error) {
	b := r.b
	if i >= len(b) {
		return 0, r.fault(i, "want an object")
	}
	if i = jsonscan.SkipSpace(b, i+1); i < len(b) && b[i] == '}' {
		return i + 1, nil
	}
	expected := &r.row.start[n.id]
	for {
		start := i
		member := *expected
		key := len(member.name.text) - len(":")
		if i = member.name.end(b, i); i == 0 {
			if member, key, i, err = r.key(n, start, expected); err != nil {
				return 0, err
			}
		}
		i = jsonscan.SkipSpace(b, i)
		if member == nil {
			if i, err = r.undeclared(n, b[start:start+key], i, depth, keep); err != nil {
				return 0, err
			}
		} else {
			if next := r.quick(member, i); next > 0 {
				i = next
			} else if i, err = r.declared(member, b[start:start+key], i, depth, keep); err != nil {
				return 0, err
			}
			expected = &r.row.after[member.id]
		}
		if i = jsonscan.SkipSpace(b, i); i >= len(b) || b[i] != ',' {
			break
		}
		i = jsonscan.SkipSpace(b, i+1)
	}
	if i >= len(b) || b[i] != '}' {
		return 0, r.fault(i, "want a comma or the end of the object")
	}
	return i + 1, nil
}

func (r *reader) fault(i int, problem string) error {
	return &jsonscan.SyntaxError{Offset: i, Problem: problem}
}

// key reads a key that was not the expected one, and expects it the next time if
// it is declared: its member, or nil for one that is not, its length, and the end
// of the colon after it.
func (r *reader) key(n *node, i int, expected **node) (member *node, length, end int, err error) {
	if i >= len(r.b) || r.b[i] != '"' {
		return nil, 0, 0, r.fault(i, "want a quoted object key")
	}
	end, t, err := jsonscan.Scan(r.b, i, 0)
	if err != nil {
		return nil, 0, 0, err
	}
	key := r.b[i:end]
	if !r.distinct && t != 0 && (t&jsonscan.Escaped != 0 || !utf8.Valid(key)) {
		return nil, 0, 0, errRewrite
	}
	if m, ok := n.index[string(key)]; ok {
		member = n.members[m]
		*expected = member
	}
	if i = jsonscan.SkipSpace(r.b, end); i >= len(r.b) || r.b[i] != ':' {
		return nil, 0, 0, r.fault(i, "want a colon after the object key")
	}
	return member, len(key), i + 1, nil
}

// quick reads a value at b[i] that stands there as most do. It returns 0 where
// declared has to read it.
func (r *reader) quick(n *node, i int) (end int) {
	if n.sole == nil {
		return 0
	}
	word, bit := &r.row.seen[n.id/64], uint64(1)<<(n.id%64)
	if *word&bit != 0 {
		return 0
	}
	if end = n.sole.quick(&r.row.Values[n.columns[0]], r.b, i); end > 0 {
		*word |= bit
	}
	return end
}

func (r *reader) undeclared(n *node, key []byte, i, depth int, keep bool) (end int, err error) {
	end, t, err := jsonscan.Scan(r.b, i, depth)
	if err != nil || !keep {
		return end, err
	}
	if !r.distinct && !r.row.keys.add(maphash.Bytes(r.d.seed, key)+uint64(n.id)) {
		return 0, errRewrite
	}
	r.keep(key, r.b[i:end], t)
	return end, nil
}

func (r *reader) declared(n *node, key []byte, i, depth int, keep bool) (end int, err error) {
	word, bit := &r.row.seen[n.id/64], uint64(1)<<(n.id%64)
	if *word&bit != 0 {
		return 0, errRewrite
	}
	*word |= bit
	if len(n.members) > 0 && len(n.columns) == 0 && !n.secret && i < len(r.b) && r.b[i] == '{' {
		return r.partly(n, key, i, depth, keep)
	}
	end, t, err := jsonscan.Scan(r.b, i, depth)
	if err != nil || n.secret {
		return end, err
	}
	text := r.b[i:end:end]
	if len(n.columns) == 0 {
		if keep && text[0] != 'n' {
			r.keep(key, text, t)
		}
		return end, nil
	}
	if n.hides && text[0] == '{' {
		from := len(r.row.buf)
		if r.row.buf, err = n.appendOpen(r.row.buf, text); err != nil {
			return 0, err
		}
		text = r.row.buf[from:len(r.row.buf):len(r.row.buf)]
	}
	same := true
	for _, c := range n.columns {
		p := &r.d.plans[c]
		exact, ok := p.set(&r.row.Values[c], r.row, text, t)
		switch {
		case !ok:
			return 0, p.refuse(p.want, text)
		case !exact && p.identity:
			return 0, p.refuse(wantIdentity, text)
		}
		same = same && exact
	}
	if !same && keep {
		r.keep(key, text, jsonscan.NonASCII)
	}
	if len(n.members) > 0 && text[0] == '{' {
		return r.object(n, i, depth+1, keep && !n.json)
	}
	return end, nil
}

// partly reads an object that leads to columns, and keeps what they leave.
func (r *reader) partly(n *node, key []byte, i, depth int, keep bool) (end int, err error) {
	row := r.row
	before := len(row.extra)
	r.name(key)
	row.extra = append(row.extra, '{')
	empty := len(row.extra)
	if end, err = r.object(n, i, depth+1, keep); err != nil {
		return 0, err
	}
	if len(row.extra) == empty {
		row.extra = row.extra[:before]
	} else {
		row.extra = append(row.extra, '}')
	}
	return end, nil
}

// keep adds a member to the innermost open object of extra.
func (r *reader) keep(key, text []byte, t jsonscan.Traits) {
	r.name(key)
	if t&jsonscan.NonASCII != 0 {
		r.row.extra = appendRepaired(r.row.extra, text)
	} else {
		r.row.extra = append(r.row.extra, text...)
	}
}

func (r *reader) name(key []byte) {
	if r.row.extra[len(r.row.extra)-1] != '{' {
		r.row.extra = append(r.row.extra, ',')
	}
	r.row.extra = append(append(r.row.extra, key...), ':')
}
