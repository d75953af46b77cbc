package rest

import (
	"encoding/json"

	"github.com/winchdata/winch/internal/jsonscan"
)

// Field returns the raw value at a path of keys in the JSON object, or nil where
// there is none or object is not JSON; without a path it is object itself, without
// the white space around it. The value is a slice of object. Nothing is allocated:
// this is made to run for each record.
//
// Names are exact, unlike with encoding/json, which takes those of another case
// too; of one that comes twice the last value counts.
func Field(object []byte, path ...string) json.RawMessage {
	if len(path) == 0 {
		value, _, _ := jsonscan.Lookup(object) // nil of what is not JSON
		return value
	}
	for _, name := range path {
		var found []byte
		err := jsonscan.Object(object, func(key, value []byte) error {
			if jsonscan.KeyIs(key, name) {
				found = value
			}
			return nil
		})
		if err != nil || found == nil {
			return nil
		}
		object = found
	}
	return object
}

// Fields is [Field] for several names of one object, which it reads once: the
// values stand in the order of names.
func Fields(object []byte, names ...string) []json.RawMessage {
	values := make([]json.RawMessage, len(names))
	err := jsonscan.Object(object, func(key, value []byte) error {
		for i, name := range names {
			if jsonscan.KeyIs(key, name) {
				values[i] = value
			}
		}
		return nil
	})
	if err != nil {
		clear(values)
	}
	return values
}
