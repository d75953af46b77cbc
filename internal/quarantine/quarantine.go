// Package quarantine gathers the records of one attempt that cannot become rows:
// what of each may be kept, by what it is known again, and which of them a later
// record of the same key makes pointless.
package quarantine

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/zeebo/xxh3"

	"github.com/winchdata/winch/internal/record"
	"github.com/winchdata/winch/pkg/connector"
)

const (
	// MaxRaw is how many bytes are kept of one record. Of a longer one there is
	// only the beginning, and it cannot be landed by a retry.
	MaxRaw = 256 << 10
	// maxHeld bounds what is kept of the records since the last commit.
	maxHeld = 16 << 20
)

// NotWhole begins the reason why a record of which a part was kept is refused.
const NotWhole = "only a part of the record was kept, read the slice again: "

// ErrFull says that the records set aside since the last commit take more memory
// than one attempt may use for them.
var ErrFull = fmt.Errorf("the records set aside take more than %d MiB", maxHeld>>20)

// A Key identifies a row of the stream: a hash of its primary key.
type Key [16]byte

// A Record is one that was set aside.
type Record struct {
	Hash   [16]byte // of the record as far as it may be kept
	Key    *Key     // nil if it cannot be read
	Column string   // empty when the record as a whole is at fault
	Reason string
	Raw    string         // valid UTF-8 without NUL
	Whole  bool           // Raw is the record, not its beginning or a repaired text
	Values []record.Value // of KeyColumns, if Key is not nil
}

// A Set is the records of one attempt that were set aside. It is not safe for
// concurrent use.
type Set struct {
	decoder *record.Decoder
	keys    *record.Decoder // reads nothing but the key
	row     record.Row
	key     []byte

	records []Record
	size    int
	byKey   map[Key]int       // of records
	keyless map[[16]byte]bool // hashes of records without a key
	held    map[Key][]int64
	gone    []int64 // of held: the same key was read again
	blind   bool    // the key of some record cannot be read
}

// New returns an empty set for an attempt at the stream that decodes with d.
func New(stream connector.Stream, d *record.Decoder) (*Set, error) {
	keys, err := record.NewDecoder(record.KeyStream(stream))
	if err != nil {
		return nil, err
	}
	return &Set{decoder: d, keys: keys, byKey: map[Key]int{}, keyless: map[[16]byte]bool{}, held: map[Key][]int64{}}, nil
}

// KeyColumns are the columns of Record.Values, in their order.
func (s *Set) KeyColumns() []connector.Column { return s.keys.Columns() }

// Held makes a record of an earlier commit known, which a record of the same key
// that is read now supersedes.
func (s *Set) Held(key Key, id int64) { s.held[key] = append(s.held[key], id) }

// Add sets a record aside for the cause, which Decode told. Of records with the
// same key the last counts (I2).
func (s *Set) Add(raw []byte, cause *record.Error) error {
	r := Record{Column: cause.Column, Reason: cause.Error()}
	open, err := s.decoder.AppendOpen(nil, raw)
	if err != nil {
		// Not JSON, of a stream with secrets: nothing of it may be kept.
		open = nil
	}
	r.Hash = xxh3.Hash128(open).Bytes()
	if err != nil {
		r.Hash = xxh3.Hash128(raw).Bytes()
	}
	r.Whole = err == nil && len(open) <= MaxRaw && utf8.Valid(open) && bytes.IndexByte(open, 0) < 0
	r.Raw = text(open)
	if err := s.keys.Decode(raw, &s.row); err != nil {
		var bad *record.Error
		if !errors.As(err, &bad) {
			return err
		}
		s.blind = true
		if s.keyless[r.Hash] {
			return nil // the same record again
		}
		s.keyless[r.Hash] = true
	} else {
		key := s.keyOf(s.keys.AppendKey(s.key[:0], &s.row))
		s.read(key)
		r.Key = &key
		r.Values = copied(s.row.Values)
		s.byKey[key] = len(s.records)
	}
	s.records = append(s.records, r)
	if s.size += len(r.Raw); s.size > maxHeld {
		return ErrFull
	}
	return nil
}

// text makes what a text column can hold of the record's beginning.
func text(raw []byte) string {
	if len(raw) > MaxRaw {
		raw = raw[:MaxRaw]
		for !utf8.RuneStart(raw[len(raw)-1]) && len(raw) > MaxRaw-utf8.UTFMax {
			raw = raw[:len(raw)-1]
		}
		if r, _ := utf8.DecodeLastRune(raw); r == utf8.RuneError {
			raw = raw[:len(raw)-1]
		}
	}
	raw = bytes.ToValidUTF8(raw, []byte("\uFFFD"))
	return string(bytes.ReplaceAll(raw, []byte{0}, []byte("\uFFFD")))
}

func copied(values []record.Value) []record.Value {
	all := make([]record.Value, len(values))
	for i, v := range values {
		v.Bytes = bytes.Clone(v.Bytes)
		all[i] = v
	}
	return all
}

func (s *Set) keyOf(key []byte) Key {
	s.key = key
	return xxh3.Hash128(key).Bytes()
}

// Watching reports whether Landed has anything to look for.
func (s *Set) Watching() bool { return len(s.byKey) > 0 || len(s.held) > 0 }

// Landed says that a record with the key, as Decoder.AppendKey gives it, became
// a row: what was set aside of that key is superseded.
func (s *Set) Landed(key []byte) { s.read(xxh3.Hash128(key).Bytes()) }

func (s *Set) read(key Key) {
	if i, ok := s.byKey[key]; ok {
		s.size -= len(s.records[i].Raw)
		s.records[i] = Record{}
		delete(s.byKey, key)
	}
	if ids, ok := s.held[key]; ok {
		s.gone = append(s.gone, ids...)
		delete(s.held, key)
	}
}

// Pending returns the records since the last Committed, in the order they were
// read, and the ids of those of earlier commits that are superseded.
func (s *Set) Pending() (records []Record, superseded []int64) {
	for _, r := range s.records {
		if r.Reason != "" {
			records = append(records, r)
		}
	}
	return records, s.gone
}

// Blind reports whether the key of a record that was set aside could not be read,
// at any time of the attempt. Nobody can then tell which rows the vendor no
// longer reports.
func (s *Set) Blind() bool { return s.blind }

// Committed says that what was pending is committed, the records under these ids.
func (s *Set) Committed(ids map[Key]int64) {
	s.records, s.gone, s.size = nil, nil, 0
	clear(s.byKey)
	clear(s.keyless)
	for key, id := range ids {
		s.Held(key, id)
	}
}

// Keys reads the keys of n records by the stream as it is declared now, each as
// a Record with nothing but Key and Values. One whose key cannot be read has none.
func Keys(stream connector.Stream, n int, raw func(int) string) ([]Record, error) {
	keys, err := record.NewDecoder(record.KeyStream(stream))
	if err != nil {
		return nil, err
	}
	var row record.Row
	all := make([]Record, n)
	for i := range all {
		if err := keys.Decode([]byte(raw(i)), &row); err != nil {
			continue // the attempt to land it says why
		}
		key := Key(xxh3.Hash128(keys.AppendKey(nil, &row)).Bytes())
		all[i] = Record{Key: &key, Values: copied(row.Values)}
	}
	return all, nil
}
