// Package record turns a raw JSON record into typed values by a stream's declared
// columns, once, for every sink.
package record

import (
	"hash/maphash"

	"github.com/winchdata/winch/pkg/connector"
)

// A Value is one column's value. Which field holds it depends on the column's
// type; all are zero when Null.
type Value struct {
	Null bool
	// Int holds a bigint; a boolean as 0 or 1; a date as days since 1970-01-01;
	// a timestamptz as microseconds since 1970-01-01T00:00:00Z.
	Int int64
	// Float holds a double.
	Float float64
	// Bytes holds text as valid UTF-8 without NUL; a numeric as a decimal
	// literal such as -12.50 (digits, at most one point, no exponent); json as
	// valid JSON text. It lies in the record where it stands there as it is, and
	// is good until that changes or the next Decode into the same Row.
	Bytes []byte
}

// A Row is a decoded record. It is reused, and refers to the record: it is good
// until the next Decode into it, or until the record's bytes change.
type Row struct {
	// Values are in the order of Decoder.Columns.
	Values []Value
	// Extra is a JSON object of what the record holds beyond the declared
	// columns, or nil. It may contain escapes such as \u0000 that only a json
	// (not jsonb) column can hold.
	Extra []byte
	// Hash is the xxh3-128 of Values and Extra: equal rows have equal hashes,
	// in every sink and in every process.
	Hash [16]byte

	buf   []byte // what had to be decoded: what other Bytes point into
	extra []byte // what Extra points into
	plain []byte // what Hash is taken of

	owner *Decoder // whose guesses these are
	start []*node  // by node: its member that came first the last time
	after []*node  // by node: its sibling that followed it the last time
	seen  []uint64 // bit set of the nodes met in this record
	keys  keySet   // the undeclared keys met in this record
}

// An Error says why a record cannot become a row: the record's fault.
type Error struct {
	Column string // empty when the record as a whole is at fault
	Want   string // what the column takes
	Got    string // what the record has, cut to 40 characters; only its JSON type for personal columns
}

func (e *Error) Error() string {
	if e.Column == "" {
		return "record: want " + e.Want + ", got " + e.Got
	}
	return "column " + e.Column + ": want " + e.Want + ", got " + e.Got
}

// Names of the columns that a sink adds to the declared ones.
const (
	ColumnRun     = "_winch_run"
	ColumnSeenAt  = "_winch_seen_at"
	ColumnHash    = "_winch_hash"
	ColumnExtra   = "_extra"
	ColumnDeleted = "_deleted_at"
)

// AddedColumns are all of these names.
var AddedColumns = []string{ColumnRun, ColumnSeenAt, ColumnHash, ColumnExtra, ColumnDeleted}

// A Decoder decodes the records of one stream. It is safe for concurrent use with
// different Rows.
type Decoder struct {
	columns []connector.Column
	key     []int
	plans   []plan   // of columns, in the same order
	tags    []uint64 // of columns: what stands for name and type in the hash
	root    *node
	nodes   int // in the tree; their ids are below it
	seed    maphash.Seed
}
