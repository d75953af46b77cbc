package pull

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"github.com/winchdata/winch/internal/jsonscan"
	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/pkg/connector"
)

// Which records of a slice are looked at for fields that no column declares: all
// of the first, then one in so many. A field is so found by a sample; what it
// holds is in _extra in any case.
const (
	driftFirst = 256
	driftEvery = 64
	// driftFields bounds the names that are remembered of a stream: keys of some
	// records are data.
	driftFields = 100
)

// declaredFields are the top-level fields of a record that lead to a column.
func declaredFields(stream connector.Stream) map[string]bool {
	fields := make(map[string]bool, len(stream.Columns))
	for _, c := range stream.Columns {
		fields[c.Source()[0]] = true
	}
	return fields
}

// drift looks at the next record for fields that the stream does not declare.
func (e *emitter) drift(ctx context.Context, raw []byte) {
	if e.records >= driftFirst && e.records%driftEvery != 0 {
		return
	}
	// A record that is no object is the sink's to refuse.
	_ = jsonscan.Object(raw, func(key, _ []byte) error {
		if len(key) > 2 && e.declared[string(key[1:len(key)-1])] {
			return nil
		}
		if e.stream.undeclared(key) {
			e.run.drifted(ctx, e.attempt.Slice, string(key))
		}
		return nil
	})
}

// undeclared counts a field, given as it stands in the record, and reports whether
// it is the first of its name.
func (s *streamState) undeclared(key []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, known := s.extra[string(key)]
	if !known && len(s.extra) >= driftFields {
		return false
	}
	if s.extra == nil {
		s.extra = map[string]int64{}
	}
	s.extra[string(key)] = n + 1
	return !known
}

// drifted tells that a field was met for the first time in the run.
func (r *run) drifted(ctx context.Context, slice ledger.Slice, key string) {
	name := fieldName(key)
	r.log.DebugContext(ctx, "field is not declared", "slice", slice.String(), "field", name)
	r.observe(Event{Kind: Drifted, Slice: slice, Field: name})
}

// tellDrift logs once for each stream of the run what its columns do not declare.
func (r *run) tellDrift(ctx context.Context) {
	for _, s := range r.streams {
		if fields := s.summary().Undeclared; len(fields) > 0 {
			r.log.InfoContext(ctx, "fields that the stream does not declare went to _extra",
				"stream", s.want.Stream.Name, "fields", slices.Sorted(maps.Keys(fields)))
		}
	}
}

// fieldName is the name that a quoted key spells.
func fieldName(key string) string {
	var name string
	if json.Unmarshal([]byte(key), &name) != nil {
		return key
	}
	return name
}

// fieldNames are the counts by name.
func fieldNames(counts map[string]int64) map[string]int64 {
	names := make(map[string]int64, len(counts))
	for key, n := range counts {
		names[fieldName(key)] += n
	}
	return names
}
