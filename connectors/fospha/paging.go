package fospha

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
	"strings"

	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/rest"
)

// The ways to cut a list into pages.
const (
	byNone   = "none"
	byOffset = "offset"
	byPage   = "page"
	byCursor = "cursor"
	byToken  = "token"
)

// paging says how a list comes in pages. Places are paths among the variables or
// into the answer.
type paging struct {
	by           string
	variable     []string // of the offset, page, cursor or token
	sizeVariable []string // none is not sent
	size         int
	first        int      // number of the first page
	next         []string // the cursor's pageInfo, or the token
	total        []string // the number of all records; may be empty
}

// defaultPageSize is a guess: the API's largest page is not published.
const defaultPageSize = 1000

// pagingNames are the usual variables of each way.
var pagingNames = map[string]struct{ variable, size string }{
	byNone:   {},
	byOffset: {"offset", "limit"},
	byPage:   {"page", "pageSize"},
	byCursor: {"after", "first"},
	byToken:  {"nextToken", "limit"},
}

func parsePaging(p *pagingConfig) (paging, error) {
	if p == nil {
		p = &pagingConfig{}
	}
	by := cmp.Or(p.By, byNone)
	names, known := pagingNames[by]
	if !known {
		return paging{}, fmt.Errorf("by %q: want none, offset, page, cursor or token", by)
	}
	if by == byNone && *p != (pagingConfig{By: p.By}) {
		return paging{}, errors.New("by none has no other settings")
	}
	if p.FirstPage != nil && by != byPage {
		return paging{}, errors.New("first_page belongs to by page")
	}
	if needsNext := by == byCursor || by == byToken; needsNext != (p.NextPath != "") {
		return paging{}, errors.New("next_path: by cursor needs the path of pageInfo, by token that of the token; the others have none")
	}
	if p.TotalPath != "" && by != byOffset && by != byPage {
		return paging{}, errors.New("total_path belongs to by offset and by page")
	}
	if p.Size < 0 {
		return paging{}, fmt.Errorf("size %d: want 1 or more", p.Size)
	}
	out := paging{by: by, size: cmp.Or(p.Size, defaultPageSize), first: 1}
	if p.FirstPage != nil {
		out.first = *p.FirstPage
	}
	for _, place := range []struct {
		text string
		to   *[]string
	}{
		{cmp.Or(p.Variable, names.variable), &out.variable},
		{cmp.Or(p.SizeVariable, names.size), &out.sizeVariable},
		{p.NextPath, &out.next},
		{p.TotalPath, &out.total},
	} {
		if place.text == "" || place.text == nowhere {
			continue
		}
		if !variablePath.MatchString(place.text) {
			return paging{}, fmt.Errorf("%q: want names joined by dots", place.text)
		}
		*place.to = strings.Split(place.text, ".")
	}
	if by != byNone && out.variable == nil {
		return paging{}, errors.New("variable: the page must be asked for by one")
	}
	return out, nil
}

// A walk goes through the pages of one list.
type walk struct {
	paging
	number   int    // pages read
	received int    // records read
	after    string // cursor or token of the next page
	begun    map[uint64]bool
	seed     maphash.Seed
}

func (p paging) walk() *walk {
	return &walk{paging: p, begun: map[uint64]bool{}, seed: maphash.MakeSeed()}
}

// set puts the variables of the next page in their places.
func (w *walk) set(variables map[string]any) error {
	if w.by == byNone {
		return nil
	}
	if w.sizeVariable != nil {
		if err := setVariable(variables, w.sizeVariable, w.size); err != nil {
			return err
		}
	}
	switch w.by {
	case byOffset:
		return setVariable(variables, w.variable, w.received)
	case byPage:
		return setVariable(variables, w.variable, w.first+w.number)
	case byCursor, byToken:
		if w.number > 0 {
			return setVariable(variables, w.variable, w.after)
		}
	}
	return nil
}

// next reports whether the page that body holds was the last one. A server may
// give less than it is asked for, so that a short page proves nothing: by offset
// and by page the end is the total, where the answer has one, or an empty page.
// A page that begins as an earlier one is an error: the server ignores the
// variable, or its list has no end.
func (w *walk) next(body []byte, records [][]byte) (last bool, err error) {
	w.number++
	w.received += len(records)
	if w.by == byNone {
		return true, nil
	}
	if len(records) > 0 {
		first := maphash.Bytes(w.seed, records[0])
		if w.begun[first] {
			return false, badPage("the page begins as an earlier one did: the server ignores %s, or its list has no end", strings.Join(w.variable, "."))
		}
		w.begun[first] = true
	}
	switch w.by {
	case byOffset, byPage:
		return w.counted(body, len(records))
	case byCursor:
		info, ok := lookup(body, w.paging.next)
		if !ok {
			return false, badPage("the answer has no %s", strings.Join(w.paging.next, "."))
		}
		var page struct {
			HasNextPage *bool   `json:"hasNextPage"`
			EndCursor   *string `json:"endCursor"`
		}
		if json.Unmarshal(info, &page) != nil || page.HasNextPage == nil {
			return false, badPage("the page does not say whether it has a next one")
		}
		if !*page.HasNextPage {
			return true, nil
		}
		if page.EndCursor == nil {
			return false, badPage("the page has a next one but no cursor for it")
		}
		return false, w.advance(*page.EndCursor)
	default:
		token, ok := lookup(body, w.paging.next)
		if text := scalar(token); ok && text != "" {
			return false, w.advance(text)
		}
		return true, nil
	}
}

// advance moves on to the page behind a cursor or token, which must be a new one.
func (w *walk) advance(to string) error {
	if to == w.after && w.number > 1 {
		return badPage("the page leads to itself")
	}
	w.after = to
	return nil
}

// counted decides by the total. A full page is never the last by the total alone,
// since it may be the count of the page instead of that of the list.
func (w *walk) counted(body []byte, records int) (last bool, err error) {
	total, known := -1, false
	if w.total != nil {
		value, ok := lookup(body, w.total)
		n, err := strconv.Atoi(strings.Trim(string(value), `"`))
		if !ok || err != nil || n < 0 {
			return false, badPage("the answer has no number at %s", strings.Join(w.total, "."))
		}
		total, known = n, true
	}
	switch {
	case records == 0 && known && w.received < total:
		return false, badPage("an empty page after %d of %d records", w.received, total)
	case records == 0:
		return true, nil
	}
	return known && w.received >= total && records < w.size, nil
}

func badPage(format string, args ...any) error {
	return &connector.Error{
		Kind: connector.KindBadResponse, Err: fmt.Errorf(format, args...),
		Hint: "check the stream's paging setting against the schema",
	}
}

// A recordsPath leads to the records of an answer: to an array, and where
// elements wrap their records ("edges[].node"), on into each element.
type recordsPath struct {
	array  []string
	within []string
}

func parseRecordsPath(text string) (recordsPath, error) {
	array, within, wrapped := strings.Cut(text, "[].")
	if !variablePath.MatchString(array) || wrapped && !variablePath.MatchString(within) {
		return recordsPath{}, fmt.Errorf("%.100q: want the path of an array in the answer, such as data.performance.rows or data.performance.edges[].node", text)
	}
	if !strings.HasPrefix(array, "data.") {
		return recordsPath{}, fmt.Errorf("%.100q: want a path that begins with data", text)
	}
	p := recordsPath{array: strings.Split(array, ".")}
	if wrapped {
		p.within = strings.Split(within, ".")
	}
	return p, nil
}

// of returns the records of an answer, slices of body. Null in place of the array
// is an error, never "no records".
func (p recordsPath) of(body []byte) ([][]byte, error) {
	records, err := rest.Records(body, p.array...)
	if err != nil || p.within == nil {
		return records, err
	}
	for i, element := range records {
		record, ok := lookup(element, p.within)
		if !ok {
			return nil, badPage("element %d of %s has no %s", i, strings.Join(p.array, "."), strings.Join(p.within, "."))
		}
		records[i] = record
	}
	return records, nil
}

// lookup returns the value at a path of object keys, if it is there and not null.
func lookup(raw []byte, path []string) (json.RawMessage, bool) {
	value := json.RawMessage(bytes.TrimSpace(raw))
	for _, key := range path {
		var object map[string]json.RawMessage
		if len(value) == 0 || value[0] != '{' || json.Unmarshal(value, &object) != nil {
			return nil, false
		}
		value = object[key]
	}
	return value, len(value) > 0 && string(value) != "null"
}

// setVariable sets the value at a path, whose objects are made where they are
// missing.
func setVariable(variables map[string]any, path []string, value any) error {
	at := variables
	for _, name := range path[:len(path)-1] {
		next, ok := at[name]
		if !ok {
			next = map[string]any{}
			at[name] = next
		}
		object, ok := next.(map[string]any)
		if !ok {
			return fmt.Errorf("variable %s: %s is not an object", strings.Join(path, "."), name)
		}
		at = object
	}
	at[path[len(path)-1]] = value
	return nil
}

// copyVariables returns a copy that setVariable may change.
func copyVariables(v map[string]any) map[string]any {
	out := make(map[string]any, len(v))
	for name, value := range v {
		switch value := value.(type) {
		case map[string]any:
			out[name] = copyVariables(value)
		case []any:
			out[name] = slices.Clone(value)
		default:
			out[name] = value
		}
	}
	return out
}
