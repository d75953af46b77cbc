// Package cassette records what a connector and its vendor say to each other and
// replays it without a network.
//
// It works below [github.com/winchdata/winch/pkg/connector/rest] and auth: their
// requests, token requests among them, go through [Transport], which does
// nothing unless the context of the call holds a [Tape]. The host puts it there;
// a connector does nothing for it, unless it has an HTTP client of its own,
// whose transport it then wraps.
//
// A cassette is a file of JSON lines: a heading, the pulls that were asked for,
// and the exchanges, each in the order in which it ended. It holds no header of
// a request, no configured secret, no token, and neither values of columns that
// a stream marks as personal or secret nor what looks like an e-mail address or
// a telephone number. In their place are stand-ins of the same type. Equal
// values have equal stand-ins within one recording, so that identifiers still
// fit; the key they are made with is kept nowhere. Redaction goes by the names
// of fields, which says more than it must, and by what is known: look at a
// cassette before it is shown to anybody.
package cassette

import (
	"context"
	"net/http"
)

// A Tape is a *Recorder or a *Player.
type Tape interface {
	roundTrip(req *http.Request, base http.RoundTripper) (*http.Response, error)
}

type (
	tapeKey  struct{}
	tokenKey struct{}
	filesKey struct{}
)

// With returns a context whose requests are recorded on t or replayed from it.
func With(ctx context.Context, t Tape) context.Context {
	return context.WithValue(ctx, tapeKey{}, t)
}

// Replaying reports whether the answers come from a cassette, so that waiting for
// the vendor's sake is waiting for nobody.
func Replaying(ctx context.Context) bool {
	_, ok := ctx.Value(tapeKey{}).(*Player)
	return ok
}

// ForToken marks the requests of a context as token requests: their bodies are
// not recorded, and of the answers only what is known to be harmless.
func ForToken(ctx context.Context) context.Context {
	return context.WithValue(ctx, tokenKey{}, true)
}

func isToken(req *http.Request) bool { return req.Context().Value(tokenKey{}) != nil }

// Files says where the exchanges of a source go to or come from, as paths, at most
// one of which is given. KeepFailed is where those before a failure go to, see
// [KeepLast].
type Files struct{ Record, Replay, KeepFailed string }

// WithFiles returns a context for opening a source whose exchanges are recorded
// or replayed.
func WithFiles(ctx context.Context, f Files) context.Context {
	return context.WithValue(ctx, filesKey{}, f)
}

// FilesOf returns what WithFiles put into the context.
func FilesOf(ctx context.Context) Files {
	f, _ := ctx.Value(filesKey{}).(Files)
	return f
}

// Transport returns a transport that goes through base, or through the tape of
// the request's context if it has one.
func Transport(base http.RoundTripper) http.RoundTripper { return taped{base} }

type taped struct{ base http.RoundTripper }

func (t taped) RoundTrip(req *http.Request) (*http.Response, error) {
	if tape, ok := req.Context().Value(tapeKey{}).(Tape); ok {
		return tape.roundTrip(req, t.base)
	}
	return t.base.RoundTrip(req)
}
