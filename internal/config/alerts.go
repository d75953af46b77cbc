package config

import (
	"context"
	"slices"
	"strings"

	"github.com/winchdata/winch/pkg/connector"
)

// An Alert is a webhook that is told what is the matter; Resolve gives its URL.
type Alert struct {
	Name   string
	Format string   // generic or slack
	On     []string // of AlertEvents
	url    hidden[template]
}

// AlertEvents are what a webhook can be told of.
var AlertEvents = []string{"failure", "staleness", "drift", "quarantine", "recovery"}

var alertFormats = []string{"generic", "slack"}

var alertKeys = []key{
	{name: "url", about: "Where it is posted: https, or http to this machine.", secret: true, references: true, example: "${env:ALERT_WEBHOOK}"},
	{name: "format", about: "What is posted: the JSON of docs/telemetry.md, or what Slack takes.", choices: alertFormats, standard: "generic"},
	{name: "on", about: "What is told: failure, staleness, drift, quarantine, recovery. The default is all.", form: formList},
}

// String is the name alone.
func (a Alert) String() string { return "alert " + a.Name }

// GoString is String.
func (a Alert) GoString() string { return a.String() }

func (d *decoder) alerts() []Alert {
	at := path{"alerts"}
	v, _ := lookup(d.values, at)
	table, _ := v.(map[string]any)
	var all []Alert
	for _, name := range d.origins.inOrder(at, table) {
		p := at.key(name)
		a := Alert{Name: name, Format: "generic", On: d.list(p.key("on"))}
		if text, ok := d.text(p.key("format")); ok {
			a.Format = text
		}
		for i, event := range a.On {
			if !slices.Contains(AlertEvents, event) {
				d.bad(p.key("on").item(i), event, "nothing of this kind is told", "one of "+strings.Join(AlertEvents, ", "))
			}
		}
		if len(a.On) == 0 {
			a.On = AlertEvents
		}
		a.url = hide(d.alertURL(p))
		all = append(all, a)
	}
	return all
}

func (d *decoder) alertURL(p path) *template {
	at := p.key("url")
	t := &template{at: d.origins.of(at), dir: d.origins.dirOf(at), env: d.env}
	text, ok := d.text(at)
	if !ok {
		if _, given := lookup(d.values, at); !given {
			d.bad(p, "", "the alert has no url", "add url: ${env:ALERT_WEBHOOK}")
		}
		return t
	}
	parts, err := parseReferences(text)
	if err != nil {
		d.bad(at, redacted, err.Error(), referenceForms)
	} else if len(references(parts)) == 0 {
		if err := checkReceiver(text); err != nil {
			d.bad(at, redacted, err.Error(), "")
		}
	}
	t.parts = parts
	return t
}

// Resolve resolves the references in the URL. An error is Problems, or the
// context's.
func (a Alert) Resolve(ctx context.Context) (connector.Secret, error) {
	t := a.url()
	text, problems := newResolver(t.env).text(ctx, t)
	if ctx.Err() != nil {
		return connector.Secret{}, context.Cause(ctx)
	}
	if err := problems.err(); err != nil {
		return connector.Secret{}, err
	}
	if err := checkReceiver(text); err != nil {
		p := t.at
		p.Value, p.Message = redacted, err.Error()
		p.AtRunTime = len(references(t.parts)) > 0
		return connector.Secret{}, Problems{p}
	}
	return connector.NewSecret(text), nil
}

// Freshness is how old the newest data of streams may be before they are stale, of
// the streams for which the configuration says.
func (s *Source) Freshness() map[string]connector.Span {
	stated := map[string]connector.Span{}
	for _, one := range s.streams {
		if one.enabled && one.freshness != nil {
			stated[one.name] = *one.freshness
		}
	}
	return stated
}
