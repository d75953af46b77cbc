package config

import (
	"context"
	"errors"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/winchdata/winch/pkg/connector"
)

// A template is a text with references, and where it stands.
type template struct {
	at    Problem // key and place
	dir   string  // what relative paths are relative to
	parts []part
	env   *environment
}

// A resolver resolves the references of one call. A command that is named twice
// runs once.
type resolver struct {
	env  *environment
	done map[string]resolved
}

type resolved struct {
	value   string
	failure *failure
}

func newResolver(env *environment) *resolver {
	return &resolver{env: env, done: map[string]resolved{}}
}

func (r *resolver) text(ctx context.Context, t *template) (string, Problems) {
	var b strings.Builder
	var problems Problems
	for _, part := range t.parts {
		if part.ref == nil {
			b.WriteString(part.literal)
			continue
		}
		id := t.dir + "\x00" + part.ref.String()
		done, ok := r.done[id]
		if !ok {
			done.value, done.failure = r.env.value(ctx, *part.ref, t.dir)
			r.done[id] = done
		}
		if done.failure != nil {
			problems = append(problems, t.fails(*part.ref, done.failure))
			continue
		}
		b.WriteString(done.value)
	}
	return b.String(), problems
}

func (t *template) fails(ref reference, f *failure) Problem {
	p := t.at
	p.Value, p.Message, p.Fix, p.AtRunTime = ref.String(), f.message, f.fix, true
	return p
}

// absent reports the references that lead nowhere, as far as can be told without
// running a command.
func (t *template) absent() Problems {
	var problems Problems
	for _, ref := range references(t.parts) {
		if f := t.env.present(ref, t.dir); f != nil {
			problems = append(problems, t.fails(ref, f))
		}
	}
	return problems
}

// Absent reports every reference that would stop a run started now: variables
// that are not set and files that cannot be read. Commands are not run. The
// problems are marked AtRunTime, since the configuration itself is not wrong.
func (c *Config) Absent() Problems {
	problems := c.Sink.url().absent()
	for _, a := range c.Alerts {
		problems = append(problems, a.url().absent()...)
	}
	if key := c.Telemetry.Lineage.key; key != nil {
		problems = append(problems, key().absent()...)
	}
	for _, s := range c.Sources {
		for _, t := range s.settings().templates {
			problems = append(problems, t.absent()...)
		}
	}
	return problems.inOrder()
}

// A SinkURL is a resolved sink: one of its fields is set.
type SinkURL struct {
	// Postgres is the whole URL of a PostgreSQL database.
	Postgres connector.Secret
	// SQLite is the path of the embedded store's file.
	SQLite string
}

// Resolve resolves the references in the sink's URL. An error is Problems, or
// the context's.
func (s Sink) Resolve(ctx context.Context) (SinkURL, error) {
	t := s.url()
	text, problems := newResolver(t.env).text(ctx, t)
	if ctx.Err() != nil {
		return SinkURL{}, context.Cause(ctx)
	}
	if err := problems.err(); err != nil {
		return SinkURL{}, err
	}
	u, err := parseSinkURL(text, t.dir)
	if err != nil {
		p := t.at
		p.Value, p.Message = redacted, err.Error()
		p.AtRunTime = len(references(t.parts)) > 0
		return SinkURL{}, Problems{p}
	}
	return u, nil
}

const wantSink = "want postgres://user:password@host:5432/database or sqlite:PATH"

// parseSinkURL reads a sink's URL. Its errors show none of it.
func parseSinkURL(text, dir string) (SinkURL, error) {
	scheme, rest, ok := strings.Cut(text, ":")
	if !ok {
		return SinkURL{}, errors.New(wantSink)
	}
	switch scheme {
	case "postgres", "postgresql":
		// What url.Parse says can show parts of a password that it took for a host.
		u, err := url.Parse(text)
		if err != nil || !strings.HasPrefix(rest, "//") {
			return SinkURL{}, errors.New("not a URL: " + wantSink + "; in user and password write %40 for @, %2F for /, %3A for :, %23 for #, %3F for ?, %25 for %")
		}
		if u.Fragment != "" {
			return SinkURL{}, errors.New("a # in user or password must be written %23")
		}
		return SinkURL{Postgres: connector.NewSecret(text)}, nil
	case "sqlite":
		name := strings.TrimPrefix(rest, "//")
		switch {
		case name == "":
			return SinkURL{}, errors.New("want sqlite: and the path of a file")
		case name == ":memory:":
			return SinkURL{}, errors.New("a store in memory keeps nothing: want sqlite: and the path of a file")
		case strings.ContainsAny(name, "?#") || strings.ContainsFunc(name, isControl):
			return SinkURL{}, errors.New("want sqlite: and a path without ?, # and control characters")
		}
		return SinkURL{SQLite: filepath.Clean(relativeTo(dir, name))}, nil
	default:
		return SinkURL{}, errors.New("this kind of sink is unknown: " + wantSink)
	}
}

// checkSinkURL checks a sink's URL as far as its literal text goes.
func checkSinkURL(parts []part, dir string) error {
	if len(references(parts)) == 0 {
		var text string
		for _, p := range parts {
			text += p.literal
		}
		_, err := parseSinkURL(text, dir)
		return err
	}
	scheme, _, ok := strings.Cut(parts[0].literal, ":")
	if ok && scheme != "postgres" && scheme != "postgresql" && scheme != "sqlite" {
		return errors.New("this kind of sink is unknown: " + wantSink)
	}
	return nil
}
