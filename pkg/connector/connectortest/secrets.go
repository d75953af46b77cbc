package connectortest

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/winchdata/winch/pkg/connector"
)

// secrets knows what must not come out of the connector, and where it did.
type secrets struct {
	mu    sync.Mutex
	known map[string]string // text in one of the forms it can take -> name
	leaks []string
}

// add makes a secret known under a name.
func (s *secrets) add(name, value string) {
	if len(value) < shortestSecret {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = map[string]string{}
	}
	for _, form := range []string{value, url.QueryEscape(value), base64.StdEncoding.EncodeToString([]byte(value))} {
		s.known[form] = name
	}
}

// scan looks for secrets in what came out at a place.
func (s *secrets) scan(place, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for secret, name := range s.known {
		if leak := name + " in " + place; strings.Contains(text, secret) && !slices.Contains(s.leaks, leak) {
			s.leaks = append(s.leaks, leak)
		}
	}
}

// found returns the leaks so far.
func (s *secrets) found() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(slices.Values(s.leaks))
}

// holds reports whether a text holds one of the candidate's own secrets or a
// token.
func (s *secrets) holds(text string) (name string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for secret, name := range s.known {
		if strings.Contains(text, secret) {
			return name, true
		}
	}
	return "", false
}

// told looks for secrets in an error.
func (e *exam) told(op string, err error) {
	e.secrets.scan("an error of "+op, err.Error())
	e.secrets.scan("a hint of "+op, connector.HintOf(err))
}

// A listener is a log handler that looks for secrets in what the connector logs.
type listener struct{ exam *exam }

func (l listener) Enabled(context.Context, slog.Level) bool { return true }

func (l listener) Handle(_ context.Context, r slog.Record) error {
	l.exam.secrets.scan("a log line", lineOf(r))
	return nil
}

func (l listener) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		l.exam.secrets.scan("a log line", a.String())
	}
	return l
}

func (l listener) WithGroup(string) slog.Handler { return l }

func lineOf(r slog.Record) string {
	var b strings.Builder
	b.WriteString(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&b, " %s", a)
		return true
	})
	return b.String()
}

// A tap stands before slog's default handler. A Definition that is examined in
// this process logs there, and so do others: each exam that listens hears it all,
// and looks for nothing but its own secrets.
type tap struct {
	slog.Handler
	ears *ears
}

type ears struct {
	mu    sync.Mutex
	exams []*exam
}

var installTap = sync.OnceValue(func() *ears {
	behind := slog.Default().Handler()
	if fmt.Sprintf("%T", behind) == "*slog.defaultHandler" {
		// It writes through package log, which SetDefault leads back to the new
		// default handler: the two would call each other for ever.
		behind = slog.NewTextHandler(os.Stderr, nil)
	}
	e := &ears{}
	slog.SetDefault(slog.New(tap{behind, e}))
	return e
})

// listen makes the exam hear slog's default logger until the returned function is
// called.
func (e *exam) listen() func() {
	ears := installTap()
	ears.mu.Lock()
	defer ears.mu.Unlock()
	ears.exams = append(ears.exams, e)
	return func() {
		ears.mu.Lock()
		defer ears.mu.Unlock()
		ears.exams = slices.DeleteFunc(ears.exams, func(other *exam) bool { return other == e })
	}
}

func (t tap) Enabled(context.Context, slog.Level) bool { return true }

func (t tap) Handle(ctx context.Context, r slog.Record) error {
	t.hear(lineOf(r))
	if t.Handler.Enabled(ctx, r.Level) {
		return t.Handler.Handle(ctx, r)
	}
	return nil
}

func (t tap) hear(line string) {
	t.ears.mu.Lock()
	exams := slices.Clone(t.ears.exams)
	t.ears.mu.Unlock()
	for _, e := range exams {
		e.secrets.scan("a log line", line)
	}
}

func (t tap) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		t.hear(a.String())
	}
	return tap{t.Handler.WithAttrs(attrs), t.ears}
}

func (t tap) WithGroup(name string) slog.Handler { return tap{t.Handler.WithGroup(name), t.ears} }
