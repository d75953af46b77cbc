package connectortest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/winchdata/winch/pkg/connector"
)

const (
	fromConnector = "package connector, connector.go"
	fromContract  = "package connector, doc.go"
	fromKinds     = "package connector, errors.go"
	fromTokens    = "package connectortest, tokens.go"
	fromHostile   = "package connectortest, hostile.go"
)

var definitionChecks = []Check{
	{
		ID: "D1", Rule: "the definition is complete: name, title, documentation, streams, settings with token_url and base_url, secrets marked writeOnly",
		Source: fromConnector, Means: "people cannot configure the connector, or a secret is shown where settings are printed", run: checkDefinition,
	},
	{
		ID: "D2", Rule: "Open refuses settings that it does not know or cannot use with KindConfig, and asks the vendor nothing",
		Source: fromConnector, Means: "a typing error in a configuration does nothing, in silence, or costs requests at each validation", run: checkOpen,
	},
	{
		ID: "D3", Rule: "Streams gives the same, valid answer twice",
		Source: fromConnector, Means: "tables are built on names, keys and types that then change", run: checkStreams,
	},
	{
		ID: "R1", Rule: "every stream is read from a vendor that behaves",
		Source: fromConnector, Means: "the stream cannot be pulled at all", run: checkReading,
	},
	{
		ID: "R2", Rule: "the setting proxy_url leads to the proxy for tokens and for records, with its password and never for a loopback host",
		Source: fromConnector, Means: "who reaches the internet by a proxy alone cannot use the connector", run: checkProxy,
	},
}

func checkDefinition(_ context.Context, e *exam) (string, error) {
	var p problems
	d := e.def
	if !connector.ValidName(d.Name) {
		p.addf("the name %q has other than lower case letters, digits and underscores", d.Name)
	}
	if d.Title == "" {
		p.addf("there is no title")
	}
	if d.DocsURL == "" {
		p.addf("there is no address of the vendor's documentation")
	}
	if len(d.Streams) == 0 {
		p.addf("there are no streams for people who have no account yet")
	}
	p.streams(d.Streams)
	var settings schema
	if err := json.Unmarshal(d.ConfigSchema, &settings); err != nil {
		p.addf("the configuration schema is no JSON object: %v", err)
	}
	for _, key := range []string{"token_url", "base_url"} {
		if _, ok := settings.Properties[key]; !ok {
			p.addf("the configuration schema has no %s", key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(e.candidate.Settings)) {
		text, ok := e.candidate.text(key)
		if ok && slices.Contains(e.candidate.Secrets, text) && !settings.Properties[key].WriteOnly {
			p.addf("the setting %s holds a secret and is not marked writeOnly", key)
		}
	}
	return fmt.Sprintf("%d streams, %d settings", len(d.Streams), len(settings.Properties)), p.err()
}

func (p *problems) streams(streams []connector.Stream) {
	seen := map[string]bool{}
	for _, st := range streams {
		if err := st.Validate(); err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				p.addf("%s", line)
			}
		}
		if seen[st.Name] {
			p.addf("there are two streams %s", st.Name)
		}
		seen[st.Name] = true
	}
}

func checkOpen(ctx context.Context, e *exam) (string, error) {
	s, err := e.connect(ctx)
	if err != nil {
		return "", err
	}
	defer s.close()
	var p problems
	for name, changes := range map[string]map[string]any{
		"a setting that does not exist": {"no_such_setting_of_the_exam": 1},
		"a number as base_url":          {"base_url": 4711},
	} {
		cfg, err := e.candidate.config(s.gate, changes)
		if err != nil {
			return "", err
		}
		_, err = s.wire.Open(ctx, cfg)
		if err != nil {
			e.told("Open", err)
		}
		if err == nil || connector.KindOf(err) != connector.KindConfig {
			p.addf("with %s: %s, want KindConfig", name, describe(err))
		}
	}
	if err := s.openSource(ctx); err != nil {
		p.addf("with the candidate's settings: %v", err)
	}
	if n := len(s.gate.exchanges(false)) + len(s.gate.exchanges(true)); n > 0 {
		p.addf("%d requests were made", n)
	}
	return "", p.err()
}

func checkStreams(ctx context.Context, e *exam) (string, error) {
	s, err := e.open(ctx)
	if err != nil {
		return "", err
	}
	defer s.close()
	var answers [2][]connector.Stream
	for i := range answers {
		if answers[i], err = s.source.Streams(ctx); err != nil {
			return "", err
		}
	}
	var p problems
	p.streams(answers[0])
	if !reflect.DeepEqual(answers[0], answers[1]) {
		p.addf("two calls gave different answers")
	}
	return fmt.Sprintf("%d streams", len(answers[0])), p.err()
}

func checkReading(_ context.Context, e *exam) (string, error) {
	if e.unread != nil {
		return "", e.unread
	}
	var p problems
	records, requests := 0, 0
	var empty []string
	for _, s := range e.slices {
		requests += len(s.requests)
		records += len(s.keys)
		switch {
		case s.err != nil:
			p.addf("%s: %v", where(s.req), s.err)
		case len(s.events) == 0:
			empty = append(empty, s.stream.Name)
		}
	}
	if err := p.err(); err != nil {
		return "", err
	}
	if records == 0 {
		return "", errors.New("no stream had a record: the exam needs a vendor with data")
	}
	detail := fmt.Sprintf("%d slices, %d keys, %d requests", len(e.slices), records, requests)
	if len(empty) > 0 {
		detail += "; without a record: " + strings.Join(empty, ", ")
	}
	return detail, nil
}
