package rest

import (
	"net/http"
	"strings"
)

// NextLink returns the target of the first link with the relation next in the
// header Link (RFC 8288), as the vendor wrote it, which may be relative to the
// answer's URL; "" where there is none. A link with an anchor is about something
// else than the answer and does not count.
func NextLink(h http.Header) string {
	for _, line := range h.Values("Link") {
		for line != "" {
			var target string
			var params map[string]string
			var ok bool
			if target, params, line, ok = link(line); !ok {
				break // of a line that is no list of links, the rest says nothing
			}
			_, anchored := params["anchor"]
			for relation := range strings.FieldsSeq(params["rel"]) {
				if strings.EqualFold(relation, "next") && !anchored && target != "" {
					return target
				}
			}
		}
	}
	return ""
}

// link reads one link of a header and returns what comes after its comma.
func link(text string) (target string, params map[string]string, rest string, ok bool) {
	text = strings.TrimLeft(text, " \t,")
	text, ok = strings.CutPrefix(text, "<")
	if !ok {
		return "", nil, "", false
	}
	if target, text, ok = strings.Cut(text, ">"); !ok {
		return "", nil, "", false
	}
	params = map[string]string{}
	for {
		text = strings.TrimLeft(text, " \t")
		if text == "" || text[0] == ',' {
			return strings.TrimSpace(target), params, text, true
		}
		if text[0] != ';' {
			return "", nil, "", false
		}
		var name, value string
		if name, value, text, ok = param(strings.TrimLeft(text[1:], " \t")); !ok {
			return "", nil, "", false
		}
		if _, there := params[name]; !there && name != "" { // of several rel the first counts, says the RFC
			params[name] = value
		}
	}
}

// param reads one parameter: name, name=token or name="quoted".
func param(text string) (name, value, rest string, ok bool) {
	end := strings.IndexAny(text, "=;,")
	if end < 0 {
		end = len(text)
	}
	name, text = strings.ToLower(strings.TrimSpace(text[:end])), text[end:]
	if !strings.HasPrefix(text, "=") {
		return name, "", text, true
	}
	text = strings.TrimLeft(text[1:], " \t")
	if !strings.HasPrefix(text, `"`) {
		end = strings.IndexAny(text, ";,")
		if end < 0 {
			end = len(text)
		}
		return name, strings.TrimSpace(text[:end]), text[end:], true
	}
	var quoted strings.Builder
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '"':
			return name, quoted.String(), text[i+1:], true
		case '\\':
			if i++; i == len(text) {
				return "", "", "", false
			}
		}
		quoted.WriteByte(text[i])
	}
	return "", "", "", false
}
