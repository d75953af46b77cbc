package config

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/winchdata/winch/pkg/connector"
)

// settings are a connector's own settings, with references not yet resolved.
type settings struct {
	at     path
	values map[string]any
	// templates holds, by path id, the strings that have references.
	templates map[string]*template
	schema    *settingsSchema // nil if the connector is not known
	origins   *origins
	env       *environment
}

// newSettings prepares the settings at p and reports what is wrong with their
// references.
func newSettings(p path, values map[string]any, schema *settingsSchema, o *origins, env *environment) (*settings, Problems) {
	s := &settings{at: p, templates: map[string]*template{}, schema: schema, origins: o, env: env}
	var problems Problems
	s.values = mapText(p, values, func(p path, text string) string {
		parts, err := parseReferences(text)
		switch {
		case err != nil:
			at := o.of(p)
			at.Value, at.Message, at.Fix = redacted, err.Error(), referenceForms
			problems = append(problems, at)
			s.templates[p.id()] = &template{} // what it means is not known: the schema has no say
		case len(references(parts)) > 0:
			s.templates[p.id()] = &template{o.of(p), o.dirOf(p), parts, env}
		case len(parts) == 1:
			return parts[0].literal
		}
		return text
	}).(map[string]any)
	return s, problems
}

// mapText returns a copy of v, which stands at p, with each string replaced by
// what change makes of it.
func mapText(p path, v any, change func(path, string) string) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for name, value := range v {
			m[name] = mapText(p.key(name), value, change)
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i, value := range v {
			list[i] = mapText(p.item(i), value, change)
		}
		return list
	case string:
		return change(p, v)
	}
	return v
}

// dynamic reports whether the string at p has references, so that its value is
// not known before it is resolved.
func (s *settings) dynamic(p path) bool {
	return s.templates[p.id()] != nil
}

// check reports what the connector's schema does not allow.
func (s *settings) check() Problems {
	if s.schema == nil {
		return nil
	}
	return s.schema.check(s, s.values, false)
}

// Resolve returns the settings for the connector, with references resolved. An
// error is Problems or the context's; no problem shows a resolved value.
func (s *Source) Resolve(ctx context.Context) (connector.Config, error) {
	set := s.settings()
	r := newResolver(set.env)
	var problems Problems
	values := mapText(set.at, set.values, func(p path, text string) string {
		t, ok := set.templates[p.id()]
		if !ok {
			return text
		}
		text, bad := r.text(ctx, t)
		problems = append(problems, bad...)
		return text
	}).(map[string]any)
	if ctx.Err() != nil {
		return connector.Config{}, context.Cause(ctx)
	}
	if len(problems) == 0 && set.schema != nil {
		problems = set.schema.check(set, values, true)
	}
	if err := problems.err(); err != nil {
		return connector.Config{}, err
	}
	raw, err := json.Marshal(values)
	if err != nil {
		return connector.Config{}, fmt.Errorf("source %s: encode settings: %w", s.Name, err)
	}
	return connector.NewConfig(raw), nil
}
