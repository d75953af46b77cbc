package connector

import (
	"context"
	"errors"
	"time"
)

// A Kind says what the agent should do about an error. Kinds are for machines:
// an error's text never names its kind.
type Kind int

// The kinds.
const (
	// KindUnknown: retried a few times, then given up.
	KindUnknown Kind = iota
	// KindConfig: stops the source until its configuration changes.
	KindConfig
	// KindAuth: stops the source until its credentials change.
	KindAuth
	// KindForbidden: the credentials are good but may not read this stream or
	// partition; stops that alone.
	KindForbidden
	// KindRateLimited: wait for RetryAfter; not a failure.
	KindRateLimited
	// KindUnavailable: retried with backoff.
	KindUnavailable
	// KindBadResponse: the vendor sent what the connector cannot read.
	KindBadResponse
)

var kindNames = [...]string{"unknown", "config", "auth", "forbidden", "rate_limited", "unavailable", "bad_response"}

// String returns the kind as it is stored and printed, in snake_case.
func (k Kind) String() string {
	if k < 0 || int(k) >= len(kindNames) {
		return kindNames[KindUnknown]
	}
	return kindNames[k]
}

// ParseKind is the inverse of String; text that names no kind is KindUnknown.
func ParseKind(text string) Kind {
	for i, name := range kindNames {
		if name == text {
			return Kind(i)
		}
	}
	return KindUnknown
}

// An Error is an error that the agent can act on and a person can read: one
// lower-case line, outermost context first, never a response body, never a
// secret (P10).
type Error struct {
	Kind Kind
	// Op is what was being done, and at what position: "cdrs_in page 3".
	Op string
	// Err is the cause.
	Err error
	// RetryAfter is how long to wait, with KindRateLimited; zero if unknown.
	RetryAfter time.Duration
	// Hint is what a person could try; may be empty.
	Hint string
}

func (e *Error) Error() string {
	switch {
	case e.Err == nil:
		return e.Op
	case e.Op == "":
		return e.Err.Error()
	default:
		return e.Op + ": " + e.Err.Error()
	}
}

func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of the first *Error in err's tree whose kind is known.
func KindOf(err error) Kind {
	if e := known(err); e != nil {
		return e.Kind
	}
	return KindUnknown
}

// HintOf returns the outermost hint in err's chain, or "".
func HintOf(err error) string {
	for e := (*Error)(nil); errors.As(err, &e); err = e.Err {
		if e.Hint != "" {
			return e.Hint
		}
	}
	return ""
}

// RetryAfterOf returns how long the vendor asked to wait, or 0.
func RetryAfterOf(err error) time.Duration {
	for e := (*Error)(nil); errors.As(err, &e); err = e.Err {
		if e.RetryAfter > 0 {
			return e.RetryAfter
		}
	}
	return 0
}

func known(err error) *Error {
	for e := (*Error)(nil); errors.As(err, &e); err = e.Err {
		if e.Kind != KindUnknown {
			return e
		}
	}
	return nil
}

// Cancelled reports whether err comes from a cancelled or expired context, which
// is nobody's failure.
func Cancelled(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
