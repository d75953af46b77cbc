package generic

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/rest"
)

// split returns the records of an answer, raw. Where a path of keys leads to the
// records, nothing is decoded or copied.
func (a *api) split(st *stream, body []byte) ([][]byte, error) {
	if st.nested != nil {
		return a.explode(st, body)
	}
	records, err := recordsAt(st, body)
	if err == nil || len(a.jsonInString) == 0 {
		return records, err
	}
	value, decodeErr := decodeJSON(body)
	if decodeErr != nil {
		return nil, err
	}
	a.openStrings(&value)
	body, encodeErr := encodeJSON(value)
	if encodeErr != nil {
		return nil, err
	}
	return recordsAt(st, body)
}

func recordsAt(st *stream, body []byte) ([][]byte, error) {
	if !st.single {
		return rest.Records(body, st.keys...)
	}
	if rest.Field(body) == nil {
		return nil, badResponse("the answer is not JSON")
	}
	record := rest.Field(body, st.keys...)
	if len(record) == 0 || record[0] != '{' {
		return nil, badResponse("no record at %s", st.spec.Record)
	}
	return [][]byte{record}, nil
}

// explode returns the records of arrays inside arrays, each with what it gets
// from its outer elements. An element without inner elements gives one record,
// in which the columns of the key that are missing are empty texts: nothing that
// the vendor names is lost.
func (a *api) explode(st *stream, body []byte) ([][]byte, error) {
	root, err := decodeJSON(body)
	if err != nil {
		return nil, badResponse("the answer is %w", err)
	}
	a.openStrings(&root)
	var records [][]byte
	emit := func(record map[string]any) error {
		raw, err := encodeJSON(record)
		records = append(records, raw)
		return err
	}
	err = st.walk(root, 0, nil, emit)
	return records, err
}

// walk goes through the array of one level inside node; outers are the elements
// on the way, the outermost first.
func (st *stream) walk(node any, level int, outers []any, emit func(map[string]any) error) error {
	part := st.nested[level]
	value := first(part, node)
	elements, isArray := value.([]any)
	// Null is an array without elements where the others are, but never absence:
	// a key that the vendor has renamed would empty the stream.
	empty := level > 0 && value == nil && len(part) > 0 && part.Has(node)
	switch {
	case !isArray && !empty:
		return badResponse("%s: no array %q", st.spec.Records, part.String())
	case len(elements) == 0 && level > 0:
		return emit(st.childless(outers))
	}
	for _, element := range elements {
		path := append(slices.Clip(outers), element)
		if level+2 < len(st.nested) {
			if err := st.walk(element, level+1, path, emit); err != nil {
				return err
			}
			continue
		}
		record, ok := first(st.nested[level+1], element).(map[string]any)
		if !ok {
			return badResponse("%s: a record is not an object", st.spec.Records)
		}
		if err := emit(st.lift(maps.Clone(record), path)); err != nil {
			return err
		}
	}
	return nil
}

// lift adds to a record what its outer elements have.
func (st *stream) lift(record map[string]any, outers []any) map[string]any {
	for _, add := range st.added {
		if _, own := record[add.name]; own || add.outer == nil || add.level > len(outers) {
			continue
		}
		if value := first(add.outer[add.level], outers[add.level-1]); value != nil {
			record[add.name] = value
		}
	}
	return record
}

// childless is the record of an element that has no inner ones.
func (st *stream) childless(outers []any) map[string]any {
	record := st.lift(map[string]any{}, outers)
	for _, name := range st.PrimaryKey {
		c, _ := st.Column(name)
		source := c.Source()
		if _, there := record[source[0]]; !there && len(source) == 1 && c.Type == connector.TypeText {
			record[source[0]] = ""
		}
	}
	return record
}

func badResponse(format string, args ...any) error {
	return &connector.Error{Kind: connector.KindBadResponse, Err: fmt.Errorf(format, args...)}
}

// at says during what an answer could not be read.
func at(op string, err error) error { return &connector.Error{Op: op, Err: err} }

var errNotObject = errors.New("a record is not an object")
