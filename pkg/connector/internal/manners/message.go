package manners

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/winchdata/winch/internal/jsonscan"
)

// What vendors call the short fields of an error body: a code, then a text.
var (
	codeFields = []string{"code", "code_reason", "error_code", "errorCode"}
	textFields = []string{"error_description", "message", "errorMessage", "error_message", "detail"}
)

const (
	messageLimit   = 200      // characters of a vendor's message that are shown
	errorBodyLimit = 64 << 10 // a longer body is no error message
)

// Message returns what an error body says in its short fields, on one line, cut
// and without the secrets: "invalid_client: no such client". It returns "" for a
// body that is not a JSON object or has none of those fields; no other part of a
// body is ever shown.
//
// It knows OAuth 2.0 bodies (RFC 6749 section 5.2), {"error": {...}}, flat ones,
// and {"errors": [...]} of texts or objects.
func Message(body []byte, secrets ...string) string {
	var parts []string
	add := func(value []byte) {
		if text := scalar(value); text != "" && !slices.Contains(parts, text) {
			parts = append(parts, text)
		}
	}
	objects := [][]byte{body}
	if first, ok := lookup(body, "errors"); ok {
		if element, ok := firstElement(first); ok {
			add(element)
			objects = append(objects, element)
		}
	}
	if inner, ok := lookup(body, "error"); ok {
		add(inner)
		objects = append(objects, inner)
	}
	for _, fields := range [][]string{codeFields, textFields} {
		for _, object := range objects {
			for _, field := range fields {
				if value, ok := lookup(object, field); ok {
					add(value)
				}
			}
		}
	}
	return cut(Scrub(strings.Join(parts, ": "), secrets...))
}

// ErrorCode returns the code of an OAuth 2.0 error body, such as invalid_client,
// be it flat or nested, or "".
func ErrorCode(body []byte) string {
	inner, _ := lookup(body, "error")
	if code := scalar(inner); code != "" {
		return code
	}
	reason, _ := lookup(inner, "code_reason")
	return scalar(reason)
}

// Scrub replaces the secrets in text, also as they are spelled in URLs and in
// JSON. Secrets shorter than four characters would take ordinary words along;
// they stay.
func Scrub(text string, secrets ...string) string {
	for _, secret := range secrets {
		if len(secret) < 4 {
			continue
		}
		spellings := []string{secret, url.QueryEscape(secret), url.PathEscape(secret)}
		for _, html := range []bool{false, true} {
			var quoted strings.Builder
			enc := json.NewEncoder(&quoted)
			enc.SetEscapeHTML(html)
			if enc.Encode(secret) == nil {
				spellings = append(spellings, strings.Trim(quoted.String(), "\"\n"))
			}
		}
		for _, spelling := range spellings {
			text = strings.ReplaceAll(text, spelling, "[redacted]")
		}
	}
	return text
}

func lookup(b []byte, key string) ([]byte, bool) {
	if len(b) > errorBodyLimit {
		return nil, false
	}
	value, ok, err := jsonscan.Lookup(b, key)
	return value, ok && err == nil
}

func firstElement(b []byte) (element []byte, ok bool) {
	if len(b) == 0 || b[0] != '[' {
		return nil, false
	}
	err := jsonscan.Array(b, func(value []byte) error {
		if !ok {
			element, ok = value, true
		}
		return nil
	})
	return element, ok && err == nil
}

// scalar returns a string or a number as text, anything else as "".
func scalar(value []byte) string {
	if len(value) == 0 {
		return ""
	}
	switch c := value[0]; {
	case c == '"':
		text, err := jsonscan.Unquote(nil, value)
		if err != nil {
			return ""
		}
		return string(text)
	case c == '-' || (c >= '0' && c <= '9'):
		return string(value)
	}
	return ""
}

// cut makes one printable line of text.
func cut(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	}), " ")
	if runes := []rune(text); len(runes) > messageLimit {
		return string(runes[:messageLimit]) + "..."
	}
	return text
}
