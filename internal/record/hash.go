package record

import (
	"encoding/binary"
	"math"

	"github.com/zeebo/xxh3"

	"github.com/winchdata/winch/pkg/connector"
)

// sum takes the row's hash. It is taken of extra and of the columns that are not
// null, each as its tag and its value: a column that is added to the stream and
// null changes no hash, a column that changes its type changes all.
func (d *Decoder) sum(row *Row) {
	b := binary.LittleEndian.AppendUint64(row.plain[:0], uint64(len(row.Extra)))
	b = append(b, row.Extra...)
	for i := range d.plans {
		v, p := &row.Values[i], &d.plans[i]
		if v.Null {
			continue
		}
		b = binary.LittleEndian.AppendUint64(b, p.tag)
		switch p.typ {
		case connector.TypeText, connector.TypeNumeric, connector.TypeJSON:
			b = binary.LittleEndian.AppendUint64(b, uint64(len(v.Bytes)))
			b = append(b, v.Bytes...)
		case connector.TypeDouble:
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v.Float))
		default:
			b = binary.LittleEndian.AppendUint64(b, uint64(v.Int))
		}
	}
	row.plain = b
	row.Hash = xxh3.Hash128(b).Bytes()
}

// AppendKey appends the values of the row's primary key such that two rows of
// the stream have the same key if and only if they have the same bytes here, and
// no key is the beginning of another. 1.50 and 1.5, and 0 and -0, are the same
// key, as in PostgreSQL.
func (d *Decoder) AppendKey(dst []byte, row *Row) []byte {
	for _, i := range d.key {
		v := &row.Values[i]
		switch d.plans[i].typ {
		case connector.TypeText:
			dst = appendCounted(dst, v.Bytes)
		case connector.TypeNumeric:
			dst = appendCounted(dst, unscaled(v.Bytes))
		case connector.TypeDouble:
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
