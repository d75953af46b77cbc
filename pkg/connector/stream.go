package connector

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
)

// A Mode says how a stream can be read.
type Mode string

// The modes.
const (
	// ModeSnapshot: read whole each time; vanished rows are marked as such.
	ModeSnapshot Mode = "snapshot"
	// ModeWindow: read by time windows, any of which can be read again.
	ModeWindow Mode = "window"
	// ModeCursor: read from an opaque position onwards.
	ModeCursor Mode = "cursor"
)

// A Stream is one kind of record that a source offers.
type Stream struct {
	// Name is lower_snake_case and never changes; the table has this name.
	Name string `json:"name"`
	// Description is one sentence, for people and for the table's comment.
	Description string `json:"description,omitempty"`
	// DocsURL is the vendor's page about this kind of record.
	DocsURL string `json:"docs_url,omitempty"`
	// Mode says how the stream can be read.
	Mode Mode `json:"mode"`
	// PrimaryKey names the columns that identify a record. It is never empty.
	PrimaryKey []string `json:"primary_key"`
	// Columns are the declared columns. What a record holds besides them lands
	// in the column _extra.
	Columns []Column `json:"columns"`
	// TimeColumn names the column whose value lies in the window, for window
	// streams. When a window is read again, rows at rest whose time lies in it
	// and which the vendor no longer reports are deleted. Empty: rows of a
	// window are never deleted.
	TimeColumn string `json:"time_column,omitempty"`
	// PartitionColumn names the column that holds the name of the partition a row
	// belongs to, for streams with partitions; it is part of the primary key.
	// Rows of other partitions are left alone when vanished rows are deleted or
	// marked.
	PartitionColumn string `json:"partition_column,omitempty"`
	// Optional streams are pulled only when the configuration names them.
	Optional bool `json:"optional,omitempty"`
	// Slice is the default length of a window.
	Slice Span `json:"slice,omitzero"`
	// Lookback is the default for how far behind now a window stays restatable
	// and is read again. Zero: what was read is never read again by itself.
	Lookback Span `json:"lookback,omitzero"`
	// DeepLookback and DeepEvery are for vendors that restate far behind the
	// lookback now and then: a window younger than DeepLookback is read again
	// when its last reading is DeepEvery ago. Zero: it is not.
	DeepLookback Span `json:"deep_lookback,omitzero"`
	DeepEvery    Span `json:"deep_every,omitzero"`
	// Lag is the default for how long after its end a window is not yet worth
	// reading. A negative lag reads windows that lie ahead, such as calls that
	// are already scheduled.
	Lag Span `json:"lag,omitzero"`
}

// A Type is the type of a column, named as in PostgreSQL.
type Type string

// The types, each with what it accepts. Anything else in a record is an error
// that names the column; JSON null and an absent key are null in every type, and
// so is "" in every type but text.
const (
	// TypeText accepts a string as it is, a number or boolean as its literal.
	TypeText Type = "text"
	// TypeBigint accepts a number without fractional part in the range of 64
	// bits, or a string that holds one.
	TypeBigint Type = "bigint"
	// TypeNumeric accepts a number, or a string that holds one. It is exact.
	TypeNumeric Type = "numeric"
	// TypeDouble accepts a number, or a string that holds one, and rounds it to
	// the nearest 64-bit float.
	TypeDouble Type = "double"
	// TypeBoolean accepts true and false, the numbers 1 and 0, and the strings
	// 1, 0, t, f, true, false, y, n, yes, no in any case.
	TypeBoolean Type = "boolean"
	// TypeDate accepts a string in one of the column's formats, by default
	// "2006-01-02".
	TypeDate Type = "date"
	// TypeTimestamp accepts a string in one of the column's formats, by default
	// RFC 3339; a time without zone is UTC. The format "unix" accepts seconds,
	// "unix_ms" milliseconds since 1970 as number or string. Stored to the
	// microsecond; finer digits are cut off.
	TypeTimestamp Type = "timestamptz"
	// TypeJSON accepts any value and keeps it.
	TypeJSON Type = "json"
)

var types = []Type{TypeText, TypeBigint, TypeNumeric, TypeDouble, TypeBoolean, TypeDate, TypeTimestamp, TypeJSON}

// A Column is a declared column of a stream.
type Column struct {
	// Name is the column's name in the table, lower_snake_case.
	Name string `json:"name"`
	// Type is the column's type.
	Type Type `json:"type"`
	// Path is where the value stands in the record, one object key after
	// another; empty means the key named as the column.
	Path []string `json:"path,omitempty"`
	// Formats are the layouts of a date or timestamptz column in the notation of
	// [time.Layout], tried in order.
	Formats []string `json:"formats,omitempty"`
	// EmptyIsNull stores "" as null in a text column.
	EmptyIsNull bool `json:"empty_is_null,omitempty"`
	// Description is one sentence, for people and for the column's comment.
	Description string `json:"description,omitempty"`
	// Personal marks personal data, which a setting can drop or hash.
	Personal bool `json:"personal,omitempty"`
	// Secret marks a value that is never stored; the connector must not emit
	// it (P10), and if it comes all the same the agent drops it.
	Secret bool `json:"secret,omitempty"`
}

// Source is where the value stands in the record: Path, or the column's name.
func (c Column) Source() []string {
	if len(c.Path) > 0 {
		return c.Path
	}
	return []string{c.Name}
}

// Column returns the column with the given name.
func (s Stream) Column(name string) (Column, bool) {
	i := slices.IndexFunc(s.Columns, func(c Column) bool { return c.Name == name })
	if i < 0 {
		return Column{}, false
	}
	return s.Columns[i], true
}

var namePattern = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

// ValidName reports whether name can be the name of a connector, source, stream
// or column: lower case letters, digits and underscores, starting with a letter,
// at most 63 characters.
func ValidName(name string) bool { return namePattern.MatchString(name) }

// Validate reports everything that is wrong with the declaration, joined.
func (s Stream) Validate() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("stream %s: %s", s.Name, fmt.Sprintf(format, args...)))
	}
	if !ValidName(s.Name) {
		bad("name must match %s", namePattern)
	}
	switch s.Mode {
	case ModeSnapshot, ModeCursor:
		if s.TimeColumn != "" {
			bad("time column %q: only window streams have one", s.TimeColumn)
		}
	case ModeWindow:
		if !s.Slice.Positive() {
			bad("slice %q: want a positive span such as 1d", s.Slice)
		}
	default:
		bad("mode %q: want snapshot, window or cursor", s.Mode)
	}
	if len(s.PrimaryKey) == 0 {
		bad("primary key is empty")
	}
	seen := map[string]bool{}
	for _, c := range s.Columns {
		if !ValidName(c.Name) {
			bad("column %q: name must match %s", c.Name, namePattern)
		}
		if seen[c.Name] {
			bad("column %q is declared twice", c.Name)
		}
		seen[c.Name] = true
		if !slices.Contains(types, c.Type) {
			bad("column %q: unknown type %q", c.Name, c.Type)
		}
		if len(c.Formats) > 0 && c.Type != TypeDate && c.Type != TypeTimestamp {
			bad("column %q: formats need the type date or timestamptz", c.Name)
		}
	}
	for _, name := range s.PrimaryKey {
		if c, ok := s.Column(name); !ok || c.Secret {
			bad("primary key column %q is not declared", name)
		} else if c.Type == TypeJSON {
			bad("primary key column %q: json cannot identify a row", name)
		}
	}
	if c, ok := s.Column(s.TimeColumn); s.TimeColumn != "" {
		if !ok || (c.Type != TypeDate && c.Type != TypeTimestamp) {
			bad("time column %q: want a declared date or timestamptz column", s.TimeColumn)
		}
	}
	if s.PartitionColumn != "" && !slices.Contains(s.PrimaryKey, s.PartitionColumn) {
		bad("partition column %q: want a column of the primary key", s.PartitionColumn)
	}
	return errors.Join(errs...)
}
