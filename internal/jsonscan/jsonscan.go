// Package jsonscan finds values in JSON text without decoding or copying it.
//
// It accepts exactly what RFC 8259 allows, with two limits of its own: values
// nest at most [MaxDepth] deep, and invalid UTF-8 inside strings is accepted, as
// encoding/json accepts it, and becomes U+FFFD in [Unquote]. Nothing is
// allocated unless the text is at fault. What it returns are slices of its input.
// Only [Elements] leaves something unvalidated.
package jsonscan

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// MaxDepth is how deep arrays and objects may nest. A deeper text is an error,
// so that a hostile one cannot exhaust the stack.
const MaxDepth = 1000

// A SyntaxError says where a text stops being JSON. It holds none of the text,
// which may be personal or secret.
type SyntaxError struct {
	Offset  int // from the beginning of the text given
	Problem string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("invalid JSON at byte %d: %s", e.Offset, e.Problem)
}

// Traits say what must be looked at before the text of a value can be used as it
// stands. A string without traits is what stands between its quotes.
type Traits uint8

// The traits of a value and of all that it contains, keys included.
const (
	// Escaped: a string has an escape.
	Escaped Traits = 1 << iota
	// NonASCII: a string has bytes that are not ASCII; they may be invalid UTF-8.
	NonASCII
	// LargeNumber: a number has an exponent or is longer than 100 characters.
	LargeNumber
)

// Scan validates the value that begins exactly at b[i] and lies in depth arrays
// and objects; b[i:end] is its text.
func Scan(b []byte, i, depth int) (end int, t Traits, err error) {
	end, t, f := scanValue(b, i, depth)
	if f != noFault {
		return 0, 0, f.at(end)
	}
	return end, t, nil
}

// Value finds the next value at or after b[i]: b[start:end] is its text, valid
// and without the white space around it. What follows it is not looked at.
func Value(b []byte, i int) (start, end int, err error) {
	start = SkipSpace(b, i)
	end, _, f := scanValue(b, start, 0)
	if f != noFault {
		return 0, 0, f.at(end)
	}
	return start, end, nil
}

// Valid returns nil if b is one JSON value with optional white space around it.
func Valid(b []byte) error {
	_, end, err := Value(b, 0)
	if err != nil {
		return err
	}
	return atEnd(b, end)
}

// Object calls field for each member of the object b, in order; key is its name
// as it stands there, with quotes, and value the text of its value. White space
// around b is allowed. An error of field ends the scan and is returned as it is;
// a fault in the text may be found only after field has been called for what
// stands before it.
func Object(b []byte, field func(key, value []byte) error) error {
	i := SkipSpace(b, 0)
	if i >= len(b) || b[i] != '{' {
		return wantObject.at(i)
	}
	i = SkipSpace(b, i+1)
	if i < len(b) && b[i] == '}' {
		return atEnd(b, i+1)
	}
	for {
		keyEnd, start, _, f := scanKey(b, i)
		if f != noFault {
			return f.at(keyEnd)
		}
		end, _, f := scanValue(b, start, 1)
		if f != noFault {
			return f.at(end)
		}
		if err := field(b[i:keyEnd:keyEnd], b[start:end:end]); err != nil {
			return err
		}
		i = SkipSpace(b, end)
		if i >= len(b) || b[i] != ',' {
			break
		}
		i = SkipSpace(b, i+1)
	}
	if i >= len(b) || b[i] != '}' {
		return wantObjectEnd.at(i)
	}
	return atEnd(b, i+1)
}

// Array calls element with the text of each element of the array b, in order.
// Space and errors are as in [Object].
func Array(b []byte, element func(value []byte) error) error {
	i := SkipSpace(b, 0)
	if i >= len(b) || b[i] != '[' {
		return wantArray.at(i)
	}
	i = SkipSpace(b, i+1)
	if i < len(b) && b[i] == ']' {
		return atEnd(b, i+1)
	}
	for {
		end, _, f := scanValue(b, i, 1)
		if f != noFault {
			return f.at(end)
		}
		if err := element(b[i:end:end]); err != nil {
			return err
		}
		i = SkipSpace(b, end)
		if i >= len(b) || b[i] != ',' {
			break
		}
		i = SkipSpace(b, i+1)
	}
	if i >= len(b) || b[i] != ']' {
		return wantArrayEnd.at(i)
	}
	return atEnd(b, i+1)
}

// Lookup returns the text of the value at a path of object keys; of duplicate
// keys the last one counts. The empty path is b itself. ok is false if a key is
// missing or something on the way is not an object. All of b is validated.
func Lookup(b []byte, path ...string) (value []byte, ok bool, err error) {
	start, end, err := Value(b, 0)
	if err != nil {
		return nil, false, err
	}
	if err := atEnd(b, end); err != nil {
		return nil, false, err
	}
	value = b[start:end:end]
	for _, name := range path {
		if value[0] != '{' {
			return nil, false, nil
		}
		var found []byte
		err := Object(value, func(key, v []byte) error {
			if KeyIs(key, name) {
				found = v
			}
			return nil
		})
		if err != nil || found == nil {
			return nil, false, err
		}
		value = found
	}
	return value, true, nil
}

// KeyIs reports whether the quoted string key, as [Object] gives it, spells
// name.
func KeyIs(key []byte, name string) bool {
	if len(key) < 2 {
		return false
	}
	if c := key[1]; c != '\\' && c < utf8.RuneSelf && name != "" && c != name[0] {
		return false // most keys are told by their first letter
	}
	if bytes.IndexByte(key, '\\') < 0 && isASCII(name) {
		return string(key[1:len(key)-1]) == name
	}
	var space [64]byte
	s, err := Unquote(space[:0], key)
	return err == nil && string(s) == name
}

// SkipSpace returns the index of the first byte at or after b[i] that is not
// white space, or len(b).
func SkipSpace(b []byte, i int) int {
	if i < len(b) && b[i] > ' ' {
		return i
	}
	return skipSpace(b, i)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func atEnd(b []byte, i int) error {
	if i = SkipSpace(b, i); i < len(b) {
		return wantEnd.at(i)
	}
	return nil
}
