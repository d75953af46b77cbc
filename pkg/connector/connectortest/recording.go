package connectortest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/winchdata/winch/pkg/connector"
)

// maxEvents is how many events of a pull are taken before it is endless.
const maxEvents = 500_000

// An event is one thing that a pull emitted.
type event struct {
	record []byte           // nil for a checkpoint
	cursor connector.Cursor // of a checkpoint
}

// A recording keeps what a pull emits.
type recording struct {
	exam   *exam
	stream string
	events []event
	// at, if set, is called before each event is kept, with its number from 0;
	// its error ends the pull.
	at func(n int) error

	failed error
	late   int // events after an error
}

var errEndless = fmt.Errorf("more than %d records and checkpoints", maxEvents)

// Record keeps a record.
func (r *recording) Record(raw []byte) error {
	r.exam.secrets.scan("a record of "+r.stream, string(raw))
	return r.add(event{record: bytes.Clone(raw)})
}

// Checkpoint keeps a cursor.
func (r *recording) Checkpoint(c connector.Cursor) error {
	r.exam.secrets.scan("a cursor of "+r.stream, string(c))
	return r.add(event{cursor: append(connector.Cursor{}, c...)})
}

func (r *recording) add(e event) error {
	if r.failed != nil {
		r.late++
		return r.failed
	}
	if r.at != nil {
		r.failed = r.at(len(r.events))
	}
	if r.failed == nil && len(r.events) >= maxEvents {
		r.failed = errEndless
	}
	if r.failed != nil {
		return r.failed
	}
	r.events = append(r.events, e)
	return nil
}

// records are the records among the events.
func (r *recording) records() [][]byte {
	var all [][]byte
	for _, e := range r.events {
		if e.record != nil {
			all = append(all, e.record)
		}
	}
	return all
}

// committed is what a sink would keep of the events: the records up to the last
// checkpoint, and its cursor.
func committed(events []event) ([]event, connector.Cursor) {
	for i, e := range slices.Backward(events) {
		if e.record == nil {
			return events[:i], e.cursor
		}
	}
	return nil, nil
}

// A keySet holds the primary keys of records.
type keySet map[string]bool

// keysOf returns the keys of the records among events. Records without one are
// left out: P8 is about them.
func keysOf(stream connector.Stream, events ...[]event) keySet {
	set := keySet{}
	for _, part := range events {
		for _, e := range part {
			if e.record != nil {
				if key, err := keyOf(stream, e.record); err == nil {
					set[key] = true
				}
			}
		}
	}
	return set
}

// keyOf returns the values of a record's primary key, as they stand in it.
func keyOf(stream connector.Stream, raw []byte) (string, error) {
	var parts []string
	for _, name := range stream.PrimaryKey {
		column, _ := stream.Column(name)
		value, err := valueOf(column, raw)
		if err != nil {
			return "", err
		}
		if value == "null" || value == `""` && column.Type != connector.TypeText || value == `""` && column.EmptyIsNull {
			return "", fmt.Errorf("primary key column %s is null", name)
		}
		parts = append(parts, value)
	}
	return strings.Join(parts, " "), nil
}

// valueOf returns the JSON text of a column's value, "null" where it is absent.
func valueOf(column connector.Column, raw []byte) (string, error) {
	for _, name := range column.Source() {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(raw, &fields); err != nil || fields == nil {
			return "null", nil
		}
		value, ok := fields[name]
		if !ok {
			return "null", nil
		}
		raw = value
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, raw); err != nil {
		return "", errors.New("a value is no JSON")
	}
	return compact.String(), nil
}

// difference says what is wrong with a set of keys, or nothing.
func difference(want, got keySet) string {
	missing, extra := 0, 0
	example := ""
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if !got[key] {
			missing++
			if example == "" {
				example = key
			}
		}
	}
	for key := range got {
		if !want[key] {
			extra++
		}
	}
	switch {
	case missing > 0 && extra > 0:
		return fmt.Sprintf("%d of %d keys are missing, such as %.80s, and %d others came", missing, len(want), example, extra)
	case missing > 0:
		return fmt.Sprintf("%d of %d keys are missing, such as %.80s", missing, len(want), example)
	case extra > 0:
		return fmt.Sprintf("%d keys came beyond the %d", extra, len(want))
	}
	return ""
}

// textsOf returns all strings in a JSON text, those in JSON that is in strings
// too, one to a line.
func textsOf(body []byte) string {
	var found []string
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			found = append(found, v)
			var inner any
			if strings.HasPrefix(v, "{") && json.Unmarshal([]byte(v), &inner) == nil {
				walk(inner)
			}
		case []any:
			for _, element := range v {
				walk(element)
			}
		case map[string]any:
			for _, element := range v {
				walk(element)
			}
		}
	}
	var v any
	if json.Unmarshal(body, &v) != nil {
		return string(body)
	}
	walk(v)
	return strings.Join(found, "\n")
}
