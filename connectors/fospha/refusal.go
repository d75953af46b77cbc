package fospha

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/winchdata/winch/pkg/connector"
	"github.com/winchdata/winch/pkg/connector/rest"
)

// A meaning is what errors say, as far as it changes what is done about them.
// The codes of the API are not published; the words are those that GraphQL
// servers use.
type meaning int

// The meanings, the weightiest last.
const (
	meansOther meaning = iota
	meansTooMuch
	meansForbidden
	// meansUnauthorized may be said of the token or of the brand: one renewal
	// tells.
	meansUnauthorized
	meansUnauthenticated
	meansRateLimited
)

func (m meaning) renew() bool { return m == meansUnauthorized || m == meansUnauthenticated }

func (m meaning) kind() connector.Kind {
	switch m {
	case meansForbidden, meansUnauthorized:
		return connector.KindForbidden
	case meansUnauthenticated:
		return connector.KindAuth
	case meansRateLimited:
		return connector.KindRateLimited
	default:
		return connector.KindBadResponse
	}
}

// The words by which codes and messages are understood, in the order in which
// they are looked for. Codes are compared in upper case with "_" for all that is
// no letter or digit, messages in lower case.
var (
	codeWords = []struct {
		meaning meaning
		words   []string
	}{
		{meansOther, []string{"GRAPHQL_PARSE", "GRAPHQL_VALIDATION", "BAD_USER_INPUT", "VALIDATION"}},
		{meansRateLimited, []string{"RATE_LIMIT", "RATELIMIT", "THROTTL", "TOO_MANY_REQUESTS", "TOOMANYREQUESTS", "QUOTA", "429"}},
		{meansForbidden, []string{"FORBIDDEN", "ACCESS_DENIED", "ACCESSDENIED", "PERMISSION", "403"}},
		{meansUnauthenticated, []string{"UNAUTHENTICATED", "AUTHENTICATION", "TOKEN", "JWT", "401"}},
		{meansUnauthorized, []string{"UNAUTHORI", "NOT_AUTHORI", "NOTAUTHORI"}},
		{meansTooMuch, []string{"TOO_LARGE", "TOOLARGE", "TIMEOUT", "TIMED_OUT", "DEADLINE", "413", "502", "504"}},
	}
	messageWords = []struct {
		meaning meaning
		words   []string
	}{
		{meansOther, []string{"cannot query field", "unknown argument", "syntax error", "unknown type"}},
		{meansRateLimited, []string{"rate limit", "rate exceeded", "too many requests", "throttl", "quota"}},
		{meansUnauthenticated, []string{"unauthenticated", "not authenticated", "authentication", "token expired", "token has expired", "expired token", "invalid token", "token is invalid", "jwt"}},
		{meansUnauthorized, []string{"unauthori", "not authori"}},
		{meansForbidden, []string{"forbidden", "access denied", "permission", "not allowed"}},
		{meansTooMuch, []string{"too large", "response size", "timed out", "timeout", "time-out", "too many rows", "too many records", "too many results"}},
	}
)

// A refusal is what the vendor says under errors. In errors its text is on one
// line, cut, and without secrets; see scrub.
type refusal struct {
	meaning meaning
	text    string
}

func (r *refusal) Error() string { return r.text }

// classify reads what the standard reading of rest does not know: errors are a
// failure also with status 200, and never mean "no rows". What concerns the token
// (401) or may pass by itself (408, 425, 429, 5xx) is left to it.
func (c *client) classify(r *rest.Response) error {
	switch code := r.Status; {
	case code == http.StatusUnauthorized, code == http.StatusRequestTimeout, code == http.StatusTooEarly,
		code == http.StatusTooManyRequests, code >= 500, code/100 == 3:
		return nil
	case code == http.StatusNotFound:
		return &connector.Error{
			Kind: connector.KindBadResponse, Err: &refusal{meansOther, "404 Not Found"},
			Hint: "is data_url right? Fospha does not publish it: ask support",
		}
	}
	status := ""
	if r.Status/100 != 2 {
		status = fmt.Sprintf("%d %s", r.Status, http.StatusText(r.Status))
	}
	said := readErrors(r.Body)
	switch {
	case r.Status == http.StatusRequestEntityTooLarge:
		return c.refused(&refusal{meansTooMuch, textOf(said)}, status, r)
	case r.Status == http.StatusForbidden:
		return c.refused(&refusal{meansForbidden, textOf(said)}, status, r)
	case status != "" && said == nil:
		return nil
	case status != "":
		return c.refused(said, status, r)
	}
	data, err := dataOf(r.Body)
	switch {
	case err != nil:
		return err
	case said == nil && data == nil:
		return badAnswer("the answer has neither data nor errors")
	case said == nil:
		return nil
	case c.partial && hasData(data):
		return nil
	}
	return c.refused(said, status, r)
}

func textOf(said *refusal) string {
	if said == nil {
		return ""
	}
	return said.text
}

// refused is the error of a refusal, with the status where that says more than
// 200.
func (c *client) refused(said *refusal, status string, r *rest.Response) error {
	text := status
	if said.text != "" {
		text = strings.TrimPrefix(fmt.Sprintf("%s: fospha says %q", status, c.scrub(said.text)), ": ")
	}
	e := &connector.Error{Kind: said.meaning.kind(), Err: &refusal{said.meaning, text}}
	switch said.meaning {
	case meansOther:
		e.Hint = "check the stream's query and variables against the schema: winch connectors fospha --discover SOURCE prints what it offers"
	case meansTooMuch:
		e.Hint = "ask for smaller pages: paging.size of the stream"
	case meansUnauthenticated:
		e.Hint = "a token just renewed was refused as well: check that data_url is that of the region, and ask Fospha support"
	case meansRateLimited:
		e.RetryAfter, _ = rest.RetryAfter(r.Header)
	case meansForbidden, meansUnauthorized: // the hint names the brand, which is not known here
	}
	return e
}

func badAnswer(format string, args ...any) error {
	return &connector.Error{
		Kind: connector.KindBadResponse, Err: &refusal{meansOther, fmt.Sprintf(format, args...)},
		Hint: "is data_url the GraphQL address?",
	}
}

// dataOf returns the value of data, or nil where it is null or absent.
func dataOf(body []byte) (json.RawMessage, error) {
	var answer struct {
		Data json.RawMessage `json:"data"`
	}
	if body = bytes.TrimSpace(body); len(body) == 0 || body[0] != '{' || json.Unmarshal(body, &answer) != nil {
		return nil, badAnswer("the answer is not a JSON object")
	}
	if string(answer.Data) == "null" {
		return nil, nil
	}
	return answer.Data, nil
}

// hasData reports whether at least one of the fields asked for has a value.
func hasData(data json.RawMessage) bool {
	var fields map[string]json.RawMessage
	if json.Unmarshal(data, &fields) != nil {
		return false
	}
	for _, value := range fields {
		if string(value) != "null" {
			return true
		}
	}
	return false
}

// readErrors returns what stands under errors, or nil if nothing does. A shape
// that GraphQL does not know counts as an error too.
func readErrors(body []byte) *refusal {
	var answer struct {
		Errors json.RawMessage `json:"errors"`
	}
	if !bytes.Contains(body, []byte(`"errors"`)) || json.Unmarshal(body, &answer) != nil {
		return nil
	}
	switch string(answer.Errors) {
	case "", "null", "[]":
		return nil
	}
	var list []json.RawMessage
	if json.Unmarshal(answer.Errors, &list) != nil {
		list = []json.RawMessage{answer.Errors}
	}
	const most = 3 // of a thousand bad rows one learns no more
	all := &refusal{}
	var texts []string
	for _, element := range list {
		m, text := readError(element)
		all.meaning = max(all.meaning, m)
		if !slices.Contains(texts, text) && len(texts) < most {
			texts = append(texts, text)
		}
	}
	all.text = strings.Join(texts, "; ")
	return all
}

// readError reads one error: a code, which decides where it is known, and a
// message.
func readError(raw json.RawMessage) (m meaning, text string) {
	var e struct {
		Message    json.RawMessage `json:"message"`
		Code       json.RawMessage `json:"code"`
		ErrorType  json.RawMessage `json:"errorType"`
		Extensions struct {
			Code json.RawMessage `json:"code"`
		} `json:"extensions"`
	}
	message := scalar(raw)
	code := ""
	if json.Unmarshal(raw, &e) == nil {
		message = scalar(e.Message)
		for _, value := range []json.RawMessage{e.Extensions.Code, e.Code, e.ErrorType} {
			if code == "" {
				code = scalar(value)
			}
		}
	}
	text = strings.TrimPrefix(strings.TrimSuffix(code+": "+message, ": "), ": ")
	if text == "" {
		text = "an error without a message"
	}
	return meaningOf(code, message), text
}

func meaningOf(code, message string) meaning {
	code = strings.Map(func(r rune) rune {
		if r < 'A' || r > 'Z' && r < 'a' || r > 'z' {
			if r < '0' || r > '9' {
				return '_'
			}
		}
		return r
	}, strings.ToUpper(code))
	for _, known := range codeWords {
		for _, word := range known.words {
			if strings.Contains(code, word) {
				return known.meaning
			}
		}
	}
	message = strings.ToLower(message)
	for _, known := range messageWords {
		for _, word := range known.words {
			if strings.Contains(message, word) {
				return known.meaning
			}
		}
	}
	return meansOther
}

// scrub takes credentials out of what the vendor says, should it repeat them:
// those known, and any word so long that it can only be one.
func (c *client) scrub(text string) string {
	known := []string{c.secret.Reveal()}
	if last := c.last.Load(); last != nil {
		known = append(known, last.Reveal())
	}
	for _, secret := range known {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "[redacted]")
		}
	}
	words := strings.Fields(text)
	for i, word := range words {
		if len(word) > 60 {
			words[i] = "[redacted]"
		}
	}
	return cut(strings.Join(words, " "))
}

// scalar returns a string's text, or the literal of a number or boolean, and ""
// for anything else.
func scalar(raw json.RawMessage) string {
	var text string
	switch {
	case len(raw) == 0 || raw[0] == '{' || raw[0] == '[' || raw[0] == 'n':
		return ""
	case json.Unmarshal(raw, &text) == nil:
		return oneLine(text)
	default:
		return string(raw)
	}
}

// oneLine replaces what cannot be printed and joins what was on several lines.
func oneLine(text string) string {
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return ' '
		}
		return r
	}, text)), " ")
}

// cut shortens what the vendor says to what an error line can hold.
func cut(text string) string {
	if runes := []rune(text); len(runes) > 300 {
		return string(runes[:300]) + "..."
	}
	return text
}
