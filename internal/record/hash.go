package record

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/zeebo/xxh3"
)

// sum takes the row's hash. It is taken of extra and of the columns that are not
// null, each as its tag and its value: a column that is added to the stream and
// null changes no hash, a column that changes its type changes all.
func (d *Decoder) sum(row *Row) {
	size := 8 + len(row.Extra) + 16*len(row.Values)
	for i := range row.Values {
		size += len(row.Values[i].Bytes)
	}
	b := slices.Grow(row.plain[:0], size)[:size]
	binary.LittleEndian.PutUint64(b, uint64(len(row.Extra)))
	n := 8 + copy(b[8:], row.Extra)
	for i, tag := range d.tags {
		v := &row.Values[i]
		if v.Null {
			*v = Value{Null: true} // which still holds what the row before had
			continue
		}
		// A value has one of these; the others are zero.
		word := uint64(v.Int) | math.Float64bits(v.Float) | uint64(len(v.Bytes))
		head := b[n : n+16 : n+16]
		binary.LittleEndian.PutUint64(head, tag)
		binary.LittleEndian.PutUint64(head[8:], word)
		if n += 16; len(v.Bytes) > 0 {
			n += copy(b[n:], v.Bytes)
		}
	}
	row.plain = b
	row.Hash = xxh3.Hash128(b[:n]).Bytes()
}

// AppendKey appends the values of the row's primary key such that two rows of
// the stream have the same key if and only if they have the same bytes here, and
// no key is the beginning of another. 1.50 and 1.5, and 0 and -0, are the same
// key, as in PostgreSQL.
func (d *Decoder) AppendKey(dst []byte, row *Row) []byte {
	for _, i := range d.key {
		v := &row.Values[i]
		switch d.plans[i].kind {
		case KindText:
			dst = appendCounted(dst, v.Bytes)
		case KindNumeric:
			dst = appendCounted(dst, unscaled(v.Bytes))
		case KindDouble:
			dst = binary.BigEndian.AppendUint64(dst, math.Float64bits(v.Float+0)) // -0 + 0 is 0
		default:
			dst = binary.BigEndian.AppendUint64(dst, uint64(v.Int))
		}
	}
	return dst
}

func appendCounted(dst, s []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// unscaled returns a numeric without the zeros that end its fraction.
func unscaled(s []byte) []byte {
	for i, c := range s {
		if c != '.' {
			continue
		}
		end := len(s)
		for s[end-1] == '0' {
			end--
		}
		if end == i+1 {
			end = i
		}
		return s[:end]
	}
	return s
}
