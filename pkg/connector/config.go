package connector

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
)

// A Config is the configuration of one source, as JSON. It never prints its
// content, which sits behind a function because fmt follows pointers in
// unexported fields without asking for String.
type Config struct{ raw func() json.RawMessage }

// NewConfig is for hosts and tests.
func NewConfig(raw json.RawMessage) Config {
	return Config{func() json.RawMessage { return raw }}
}

// String hides the content.
func (Config) String() string { return "[config]" }

// GoString hides the content.
func (Config) GoString() string { return "[config]" }

// LogValue hides the content.
func (Config) LogValue() slog.Value { return slog.StringValue("[config]") }

// Decode stores the configuration in v and refuses unknown keys.
func (c Config) Decode(v any) error { return decodeStrict(c.Reveal(), v) }

// Reveal returns the configuration itself, for the wire.
func (c Config) Reveal() json.RawMessage {
	if c.raw == nil || len(c.raw()) == 0 {
		return json.RawMessage("{}")
	}
	return c.raw()
}

func decodeStrict(b []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value")
	}
	return nil
}

// A Cursor is a position in a stream. Its content belongs to the connector: a
// JSON object with a version field, at most 64 KiB. The empty Cursor is the
// beginning.
type Cursor []byte

// NewCursor encodes v, usually a small struct beside the stream's code.
func NewCursor(v any) (Cursor, error) { return json.Marshal(v) }

// Decode stores the position in v. A position that v cannot hold is an error of
// KindConfig, never a fresh start (P7).
func (c Cursor) Decode(v any) error {
	if err := decodeStrict(c, v); err != nil {
		return &Error{
			Kind: KindConfig, Op: "read cursor", Err: err,
			Hint: "the connector does not understand its stored position; read the stream again from its beginning if that is what you want",
		}
	}
	return nil
}

const redacted = "[redacted]"

// A Secret prints, logs and marshals as "[redacted]". The value sits behind a
// pointer because fmt ignores String on a value in an unexported field.
type Secret struct{ value *string }

// NewSecret returns a secret that holds value.
func NewSecret(value string) Secret { return Secret{&value} }

// String hides the value.
func (Secret) String() string { return redacted }

// GoString hides the value.
func (Secret) GoString() string { return redacted }

// LogValue hides the value.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText hides the value.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// UnmarshalJSON reads the value from a JSON string.
func (s *Secret) UnmarshalJSON(b []byte) error {
	var v string
	if json.Unmarshal(b, &v) != nil {
		return errors.New("want a string") // the cause would print the value
	}
	s.value = &v
	return nil
}

// Reveal returns the secret itself.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero reports whether no secret, or an empty one, was given.
func (s Secret) IsZero() bool { return s.value == nil || *s.value == "" }
