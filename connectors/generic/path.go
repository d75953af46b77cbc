package generic

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/ohler55/ojg/jp"
)

// A route is a JSONPath of object keys, indexes and [*], cut at each [*].
//
// The paths are those of ojg's jp, so that their spelling is nobody's invention.
// It reads all of them, and goes through the decoded answers of errors and of
// arrays inside arrays; where a path is only keys, as for records and columns,
// the bytes are scanned without it.
type route []jp.Expr

// parsePath reads a path such as data.order_list or data.countries[*].cities[*].
func parsePath(text string) (route, error) {
	expr, err := jp.ParseString(text)
	if err != nil {
		return nil, fmt.Errorf("%.60q is no path: want one such as data.items or data.items[*].parts[*]", text)
	}
	parts := route{nil}
	for i, frag := range expr {
		last := len(parts) - 1
		switch frag.(type) {
		case jp.Root:
			if i > 0 {
				return nil, errors.New("$ stands only at the begin of a path")
			}
		case jp.Child, jp.Nth:
			parts[last] = append(parts[last], frag)
		case jp.Wildcard:
			parts = append(parts, nil)
		default:
			return nil, fmt.Errorf("%.60q: want only keys, [0] and [*]", text)
		}
	}
	return parts, nil
}

// keys returns the object keys of a path that is nothing else.
func (r route) keys() (keys []string, ok bool) {
	if len(r) != 1 {
		return nil, false
	}
	for _, frag := range r[0] {
		key, ok := frag.(jp.Child)
		if !ok {
			return nil, false
		}
		keys = append(keys, string(key))
	}
	return keys, true
}

// first returns the value at the path's part before any [*], or nil.
func first(part jp.Expr, value any) any {
	if len(part) == 0 {
		return value
	}
	return part.First(value)
}

// parseKeys reads a path of object keys.
func parseKeys(text string) ([]string, error) {
	r, err := parsePath(text)
	if err != nil {
		return nil, err
	}
	keys, ok := r.keys()
	if !ok || len(keys) == 0 {
		return nil, fmt.Errorf("%.60q: want keys such as data.items", text)
	}
	return keys, nil
}

// decodeJSON decodes a value without rounding its numbers.
func decodeJSON(raw []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var value any
	if err := dec.Decode(&value); err != nil {
		return nil, errors.New("not JSON")
	}
	return value, nil
}

// encodeJSON encodes a value without escaping for HTML.
func encodeJSON(value any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// textOf returns a text, number or flag as text, and "" of all else.
func textOf(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return fmt.Sprint(v)
	default:
		return ""
	}
}

// opened returns the text's JSON where it holds an object or array.
func opened(value any) any {
	text, ok := value.(string)
	if !ok {
		return value
	}
	if trimmed := strings.TrimSpace(text); strings.HasPrefix(trimmed, "{") || strings.HasPrefix(trimmed, "[") {
		if inner, err := decodeJSON([]byte(trimmed)); err == nil {
			return inner
		}
	}
	return value
}

// scalarText returns a string's text or the literal of a number or boolean, and
// "" for what is absent, null or none of these.
func scalarText(raw []byte) string {
	var text string
	switch {
	case len(raw) == 0 || raw[0] == '{' || raw[0] == '[' || raw[0] == 'n':
		return ""
	case raw[0] == '"' && len(raw) >= 2 && bytes.IndexByte(raw, '\\') < 0:
		return string(raw[1 : len(raw)-1])
	case json.Unmarshal(raw, &text) == nil:
		return text
	case raw[0] == '"':
		return ""
	default:
		return string(raw)
	}
}
