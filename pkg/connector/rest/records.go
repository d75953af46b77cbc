package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/winchdata/winch/internal/jsonscan"
	"github.com/winchdata/winch/pkg/connector"
)

// Records returns the elements of the JSON array at path in body, raw: slices of
// body, their bytes untouched. Where there is no array at path, or body is not
// JSON, the error is of KindBadResponse and says what is there instead.
//
// A record that is an object is taken as far as its brackets and quotes say: what
// is wrong inside of it, the agent finds, and sets that one record aside.
func Records(body []byte, path ...string) ([][]byte, error) {
	if err := isJSON(body); err != nil {
		return nil, err
	}
	records, ok, err := jsonscan.Elements(nil, body, path...)
	if err != nil {
		return nil, badJSON(err)
	}
	if ok {
		return records, nil
	}
	where := "at the top"
	if len(path) > 0 {
		where = "at " + strings.Join(path, ".")
	}
	value, ok, err := jsonscan.Lookup(body, path...)
	if err != nil {
		return nil, badJSON(err)
	}
	if !ok {
		return nil, badResponse("no array %s: %s", where, keysOf(body))
	}
	return nil, badResponse("want an array %s, got %s", where, shape(value))
}

// GetJSON reads path and stores the JSON answer in v, as json.Unmarshal does.
func (c *Client) GetJSON(ctx context.Context, path string, query url.Values, v any) error {
	_, err := c.Do(ctx, Request{Path: path, Query: query, Read: func(r *Response) error {
		if err := isJSON(r.Body); err != nil {
			return err
		}
		if err := json.Unmarshal(r.Body, v); err != nil {
			return badJSON(err)
		}
		return nil
	}})
	return err
}

// DoRecords is Do for an answer with records, which split finds.
func (c *Client) DoRecords(ctx context.Context, req Request, split func(*Response) ([][]byte, error)) (*Response, [][]byte, error) {
	var records [][]byte
	req.Read = func(r *Response) (err error) {
		records, err = split(r)
		return err
	}
	resp, err := c.Do(ctx, req)
	if err != nil {
		return nil, nil, err
	}
	return resp, records, nil
}

// AddField returns the JSON object raw with name set to value, which replaces
// what was there under that name. The other values keep their bytes. raw itself
// is not changed.
func AddField(raw []byte, name string, value any) ([]byte, error) {
	encoded, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("field %s: %w", name, err)
	}
	key, err := json.Marshal(name)
	if err != nil {
		return nil, fmt.Errorf("field %s: %w", name, err)
	}
	out, _, err := without(raw, name, len(key)+len(encoded)+2)
	if err != nil {
		return nil, err
	}
	out = out[:len(out)-1] // the brace
	if len(out) > 1 {
		out = append(out, ',')
	}
	out = append(append(append(out, key...), ':'), encoded...)
	return append(out, '}'), nil
}

// DropField returns the JSON object raw without the field name, however its key
// is escaped. The other values keep their bytes. raw itself is not changed; it
// is returned where it has no such field.
func DropField(raw []byte, name string) ([]byte, error) {
	out, found, err := without(raw, name, 0)
	if err != nil {
		return nil, err
	}
	if !found {
		return raw, nil
	}
	return out, nil
}

// without copies the object raw, without the field name and without space
// between its fields, with room for that many bytes more.
func without(raw []byte, name string, room int) (out []byte, found bool, err error) {
	out = append(make([]byte, 0, len(raw)+room), '{')
	err = jsonscan.Object(raw, func(key, value []byte) error {
		if jsonscan.KeyIs(key, name) {
			found = true
			return nil
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, key...), ':'), value...)
		return nil
	})
	if err != nil {
		return nil, false, badResponse("a record is no JSON object: %w", err)
	}
	return append(out, '}'), found, nil
}

// isJSON says in a person's words what a body is that cannot be JSON.
func isJSON(body []byte) error {
	switch text := bytes.TrimSpace(body); {
	case len(text) == 0:
		return &connector.Error{Kind: connector.KindBadResponse, Err: errors.New("the answer is empty"), Hint: "is base_url right?"}
	case text[0] == '<':
		return &connector.Error{
			Kind: connector.KindBadResponse, Err: errors.New("got HTML or XML instead of JSON"), Hint: "is base_url right?",
		}
	}
	return nil
}

// badJSON hides the values that json's errors quote.
func badJSON(err error) error {
	var typed *json.UnmarshalTypeError
	if errors.As(err, &typed) {
		got, _, _ := strings.Cut(typed.Value, " ")
		return badResponse("field %q: want %s, got %s", typed.Field, typed.Type, got)
	}
	return badResponse("the answer is not the JSON expected: %w", err)
}

func badResponse(format string, args ...any) error {
	return &connector.Error{Kind: connector.KindBadResponse, Err: fmt.Errorf(format, args...)}
}

// shape names what kind of JSON value there is.
func shape(value []byte) string {
	switch value[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

// keysOf lists the top keys of an answer, which are the vendor's names and no
// data, for a person to compare.
func keysOf(body []byte) string {
	const most = 10
	var keys []string
	err := jsonscan.Object(body, func(key, _ []byte) error {
		if len(key) <= 64 {
			keys = append(keys, string(key))
		}
		return nil
	})
	if err != nil {
		start := jsonscan.SkipSpace(body, 0)
		return "the answer is " + shape(body[start:])
	}
	if len(keys) == 0 {
		return "the answer is an empty object"
	}
	if len(keys) > most {
		keys = append(keys[:most], "...")
	}
	return "the answer has " + strings.Join(keys, ", ")
}
