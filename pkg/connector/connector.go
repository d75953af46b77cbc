package connector

import (
	"context"
	"encoding/json"
	"time"
)

// A Definition is all that can be known about a connector before it is opened.
type Definition struct {
	// Name is the connector's name in configuration: lower case letters, digits
	// and underscores, starting with a letter; it never changes.
	Name string
	// Title is the vendor's name as people write it: "Contentsquare".
	Title string
	// DocsURL is the vendor's page about the API.
	DocsURL string
	// ConfigSchema is the JSON Schema (2020-12) of the configuration that Open
	// accepts. Properties that hold secrets are marked "writeOnly": true. Every
	// connector accepts "token_url" and "base_url", so that it can be pointed at
	// a sandbox or a gateway. One that uses HTTP accepts "proxy_url" too, a secret:
	// the process has no environment that could name a proxy.
	ConfigSchema json.RawMessage
	// Streams are the streams of a source with default settings, for people who
	// have no account yet. What a configured source really has, its Streams
	// method says.
	Streams []Stream
	// Open returns a source for one configuration. It validates and does not use
	// the network. The host calls it once per configured source; an error of
	// KindConfig stops the source until its configuration changes. ctx ends when
	// Open has returned, so it must not be kept.
	Open func(ctx context.Context, cfg Config) (Source, error)
}

// A Source is one configured account at one vendor.
//
// A Source may also implement [Checker], [Tokener], [Partitioner], [Limiter],
// [Discoverer] and [io.Closer]; the host finds them by type assertion. Its methods may be called
// at the same time from several goroutines.
type Source interface {
	// Streams lists what can be pulled. Names, primary keys and column types are
	// promises: tables are built on them. The host calls it before the first
	// Pull of a process and may call it again; two calls give the same answer
	// unless the configuration is discovered from the vendor. An error fails the
	// run of the whole source. ctx lives as long as the call.
	Streams(ctx context.Context) ([]Stream, error)

	// Pull emits the records of one slice: of one stream, and of one window if
	// the stream is a window stream.
	//
	// The host calls it any number of times, for different slices also at the
	// same time, for one slice never. A nil error says that the slice has been
	// read whole; the host then commits it. Any other error makes the host keep
	// only what was committed by a checkpoint, and act on the error's [Kind].
	// When ctx is cancelled Pull returns within five seconds (P4). An error from
	// out ends the pull (P3). Repeating a record is allowed, the last one wins;
	// missing one is not.
	Pull(ctx context.Context, req Request, out Emitter) error
}

// A Request says what to pull. It is complete: a connector does not look at the
// clock (P6). Its times are in UTC.
type Request struct {
	// Stream is the name of the stream.
	Stream string
	// Partition is one of the names that the source's [Partitioner] gave for
	// the stream; empty for all other streams.
	Partition string
	// Window is the window to read, for window streams; zero for others.
	Window Window
	// Cursor is the last committed cursor of this slice: of the stream for
	// cursor streams, of an earlier attempt at this window for window streams.
	// It is empty at the beginning.
	Cursor Cursor
	// Since is the earliest moment that the configuration asks for; zero when
	// it asks for everything. It matters to cursor streams while Cursor is empty.
	Since time.Time
	// AsOf is the moment the pull was planned for: what a connector uses where
	// it would otherwise ask the clock.
	AsOf time.Time
}

// An Emitter takes what a pull produces, in order. It is not safe for
// concurrent use. Both methods block while the agent is busy: that is how
// backpressure reaches the vendor request.
type Emitter interface {
	// Record takes one JSON object as the vendor gave it. The emitter does not
	// keep raw after it has returned.
	Record(raw []byte) error
	// Checkpoint declares that every record belonging before c has been emitted
	// (P1). The agent commits c together with those records, never before. A
	// snapshot stream has no checkpoints, since a snapshot becomes visible at
	// once or not at all; there Checkpoint returns an error.
	Checkpoint(c Cursor) error
}

// A Checker can tell more about its configuration than a token and a first
// record prove: it makes the cheapest calls that do, and changes nothing at the
// vendor. The host calls it once per check, before it probes the streams.
type Checker interface {
	// Check returns what it found in the order it looked, also beside an error,
	// which says at what point the look ended. ctx lives as long as the call.
	Check(ctx context.Context) ([]Finding, error)
}

// A Finding is one thing that a check established.
type Finding struct {
	// Name says what was looked at: "ping", "introspection".
	Name string
	// Detail says what was found, on one line, without secrets.
	Detail string
}

// A Tokener can hand out the bearer token that it would send. The host uses it
// to prove credentials in a check and to print a token for use with curl.
type Tokener interface {
	// Token returns a token that is valid now, fetching one if needed. partition
	// chooses among several credentials and is empty for the first or only one.
	Token(ctx context.Context, partition string) (Token, error)
}

// A Token is what a vendor's token endpoint granted.
type Token struct {
	// Value is the token itself.
	Value Secret
	// Type is the scheme of the Authorization header, usually "Bearer".
	Type string
	// ExpiresAt is the moment at which the token ends.
	ExpiresAt time.Time
	// BaseURL is where requests with this token go.
	BaseURL string
	// Scope is what was granted, as the vendor spells it; may be empty.
	Scope string
}

// A Partitioner splits streams by something that is not time: brand, project.
// Each partition is planned, pulled, committed and recorded on its own, so one
// that fails leaves the others alone.
type Partitioner interface {
	// Partitions returns the names of a stream's partitions, or nil for a stream
	// that has none. Names are stable: the ledger is kept by them. Called once
	// per stream and run.
	Partitions(ctx context.Context, stream string) ([]string, error)
}

// A Discoverer can ask its vendor what there is to read and write settings for it,
// for vendors that describe themselves. The host calls it when a person asks.
type Discoverer interface {
	// Discover returns YAML that a person can put under the source's config, with
	// comments where a choice is theirs. ctx lives as long as the call.
	Discover(ctx context.Context) ([]byte, error)
}
