// Package alert tells webhooks what is the matter: runs that fail, streams that are
// stale, records that drift or are set aside, and when it is over.
package alert

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/winchdata/winch/internal/metrics"
	"github.com/winchdata/winch/internal/pull"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// What is told.
const (
	Failure    = "failure"
	Staleness  = "staleness"
	Drift      = "drift"
	Quarantine = "quarantine"
	Recovery   = "recovery"
	Test       = "test"
)

// A Message is what the generic format posts, as JSON. Receivers rely on it: fields
// may be added, never changed.
type Message struct {
	// ID is the same however often the message is told: a receiver can drop what it
	// has.
	ID     string    `json:"id"`
	Event  string    `json:"event"`
	At     time.Time `json:"at"`
	Source string    `json:"source,omitempty"`
	Stream string    `json:"stream,omitempty"` // empty: the source as a whole
	Run    int64     `json:"run,omitempty"`
	Text   string    `json:"text"` // for people, one line
	Error  string    `json:"error,omitempty"`
	Hint   string    `json:"hint,omitempty"`
	// Of is, of a recovery, what is over: failure or staleness.
	Of string `json:"of,omitempty"`
	// Fields are, of drift, some of those that the stream does not declare.
	Fields []string `json:"fields,omitempty"`
	// Records is, of quarantine, how many were set aside.
	Records int64 `json:"records,omitempty"`
	// Newest is, of staleness, when the newest held data ended.
	Newest *time.Time `json:"newest,omitempty"`
}

// A Webhook is told of some events.
type Webhook struct {
	Name   string
	Format string // generic or slack
	On     []string
	URL    func(context.Context) (connector.Secret, error)
}

// A Teller tells webhooks: Ran and Aged record what is news, Deliver tells what is
// recorded, also what an agent has recorded that died since. Its fields are set before
// its first use.
type Teller struct {
	Store    sink.Alerts
	Webhooks []Webhook
	Log      *slog.Logger
	Metrics  *metrics.Metrics // nil: nothing is counted
}

// recordFor bounds recording what is news, and what was told of it.
const recordFor = 10 * time.Second

// A note says that something is the matter, or that it is not.
type note struct {
	is     bool
	event  string
	detail string
	Message
}

// Ran records what became of a pull. What goes wrong with that is logged.
func (t *Teller) Ran(ctx context.Context, res pull.Result) {
	var busy *sink.Busy
	if res.Status == sink.Interrupted || errors.As(res.Err, &busy) {
		return // nothing is known about the source
	}
	about := func(stream string) Message { return Message{Source: res.Name, Stream: stream, Run: res.Run} }
	whole := note{is: res.Err != nil, event: Failure, Message: about("")}
	if whole.is {
		whole.fail(res.Err)
	}
	notes := []note{whole}
	for _, s := range res.Streams {
		failed := note{is: s.Err != nil, event: Failure, Message: about(s.Name)}
		if failed.is {
			failed.fail(s.Err)
		}
		// What fails the run as a whole fails streams with it: that is told once. What
		// was not read to its end is neither well nor ill.
		if s.Err != nil && res.Err == nil || s.Status == sink.Succeeded && s.Slices > 0 {
			notes = append(notes, failed)
		}
		if s.Slices == 0 {
			continue
		}
		notes = append(notes, drifted(s, about(s.Name)), setAside(s, about(s.Name)))
	}
	t.note(ctx, res.Name, notes)
}

func (n *note) fail(err error) {
	n.Error, n.Hint = err.Error(), sink.HintOf(err)
	n.Text = fmt.Sprintf("%s failed: %s", n.name(), n.Error)
}

func (m Message) name() string {
	if m.Stream == "" {
		return m.Source
	}
	return m.Source + "/" + m.Stream
}

// fieldNamed is what a field's name looks like. Keys that are data do not leave.
var fieldNamed = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,63}$`)

// toldFields is how many fields a message names.
const toldFields = 20

func drifted(s pull.StreamResult, m Message) note {
	for _, name := range slices.Sorted(maps.Keys(s.Undeclared)) {
		if fieldNamed.MatchString(name) && len(m.Fields) < toldFields {
			m.Fields = append(m.Fields, name)
		}
	}
	n := note{is: len(s.Undeclared) > 0, event: Drift, detail: strings.Join(m.Fields, ","), Message: m}
	n.Text = fmt.Sprintf("%s has fields that it does not declare: %s", m.name(), cmp.Or(strings.Join(m.Fields, ", "), "names that look like data"))
	n.Hint = "they are kept in _extra; see whether a newer connector declares them"
	return n
}

func setAside(s pull.StreamResult, m Message) note {
	m.Records = s.Counts.Quarantined
	m.Text = fmt.Sprintf("%s: %d records cannot become rows and were set aside", m.name(), m.Records)
	m.Hint = "winch quarantine lists them"
	return note{is: m.Records > 0, event: Quarantine, Message: m}
}

// An Age is how old the newest data of a stream are and may be.
type Age struct {
	Source, Stream string
	Newest         time.Time // zero: nothing is held, which is no staleness
	Freshness      connector.Span
}

// Aged records which streams are staler than stated.
func (t *Teller) Aged(ctx context.Context, ages []Age, now time.Time) {
	bySource := map[string][]note{}
	for _, a := range ages {
		if a.Newest.IsZero() {
			continue
		}
		newest := a.Newest.UTC()
		n := note{is: newest.Before(a.Freshness.Before(now)), event: Staleness, Message: Message{Source: a.Source, Stream: a.Stream, Newest: &newest}}
		n.Text = fmt.Sprintf("%s is stale: its newest data are of %s, %s ago, and may be %s old", n.name(),
			newest.Format(time.RFC3339), now.Sub(newest).Round(time.Minute), a.Freshness)
		bySource[a.Source] = append(bySource[a.Source], n)
	}
	for source, notes := range bySource {
		t.note(ctx, source, notes)
	}
}

// note records what is news to each webhook. Recording does not depend on the
// context of what is told of.
func (t *Teller) note(ctx context.Context, source string, notes []note) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordFor)
	defer cancel()
	for _, w := range t.Webhooks {
		for _, n := range notes {
			if err := t.record(ctx, w, n); err != nil {
				t.Log.WarnContext(ctx, "alert not recorded", "alert", w.Name, "event", n.event, "source", source, "stream", n.Stream, "error", err)
			}
		}
	}
}

// record records what one webhook is told of one thing, if it is news.
func (t *Teller) record(ctx context.Context, w Webhook, n note) error {
	if !slices.Contains(w.On, n.event) {
		return nil
	}
	key := sink.AlertKey{Alert: w.Name, Source: n.Source, Stream: n.Stream, Event: n.event}
	if n.is {
		n.Event = n.event
		_, err := t.Store.RaiseAlert(ctx, key, n.detail, pending(n.Message))
		return err
	}
	message := ""
	if (n.event == Failure || n.event == Staleness) && slices.Contains(w.On, Recovery) {
		over := Message{Event: Recovery, Of: n.event, Source: n.Source, Stream: n.Stream, Run: n.Run, Newest: n.Newest}
		over.Text = fmt.Sprintf("%s is well again: the %s is over", over.name(), n.event)
		message = pending(over)
	}
	_, err := t.Store.ClearAlert(ctx, key, message)
	return err
}
