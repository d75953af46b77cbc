package generic

import (
	"errors"
	"fmt"
	"strings"
)

// A template is a text with places in braces: "/order/{parent.order_id}".
type template struct {
	literals []string // one more than places
	places   []string
}

// parseTemplate reads a template; allowed says which places there can be.
func parseTemplate(text string, allowed func(place string) error) (template, error) {
	var t template
	for {
		before, rest, found := strings.Cut(text, "{")
		if strings.Contains(before, "}") {
			return t, errors.New("a } without its {")
		}
		t.literals = append(t.literals, before)
		if !found {
			return t, nil
		}
		place, after, closed := strings.Cut(rest, "}")
		if !closed || strings.Contains(place, "{") {
			return t, errors.New("a { without its }")
		}
		if err := allowed(place); err != nil {
			return t, err
		}
		t.places = append(t.places, place)
		text = after
	}
}

// fill puts values in the places. escape, if not nil, is applied to each value.
func (t template) fill(values scope, escape func(string) (string, error)) (string, error) {
	var b strings.Builder
	for i, literal := range t.literals {
		b.WriteString(literal)
		if i == len(t.places) {
			break
		}
		value := values[t.places[i]]
		if escape != nil {
			var err error
			if value, err = escape(value); err != nil {
				return "", fmt.Errorf("{%s}: %w", t.places[i], err)
			}
		}
		b.WriteString(value)
	}
	return b.String(), nil
}

// A scope has the values of places by name: "each", "parent.order_id".
type scope map[string]string
