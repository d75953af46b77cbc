package postgres

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/winchdata/winch/internal/record"
	"github.com/winchdata/winch/pkg/connector"
)

// The binary format of COPY and of each type is described in the PostgreSQL
// manual (COPY, "Binary Format") and, for the types, in their *_recv functions.

var (
	copyHeader  = append([]byte("PGCOPY\n\xff\r\n\x00"), 0, 0, 0, 0, 0, 0, 0, 0)
	copyTrailer = []byte{0xff, 0xff}
)

const (
	null         = math.MaxUint32 // the length -1
	jsonbVersion = 1

	// PostgreSQL counts from 2000-01-01, records from 1970-01-01.
	epochDays   = 10957
	epochMicros = epochDays * 86_400_000_000

	// What date and timestamptz hold: from 4714-11-24 BC to 5874897-12-31, and
	// to 294276-12-31 (datetype.h, timestamp.h), as days and microseconds from
	// 2000-01-01.
	minDate, maxDate           = -2451545, 2145031948
	minTimestamp, maxTimestamp = -211813488000000000, 9223371331200000000 - 1

	// What a numeric holds: digits before and after its point.
	maxIntegerDigits  = 131072
	maxFractionDigits = 16383
)

// A layout is how the rows of a table are encoded.
type layout struct {
	columns []connector.Column // declared
	kinds   []record.Kind      // of them
}

func newLayout(columns []connector.Column) layout {
	l := layout{columns: columns}
	for _, c := range columns {
		l.kinds = append(l.kinds, record.KindOf(c.Type))
	}
	return l
}

// appendRow appends a row to a COPY: the declared columns, _extra, _winch_hash,
// what mark holds if anything (_winch_run and _winch_seen_at, the same in all rows
// of an attempt) and, unless it is 0, _winch_again.
func (l *layout) appendRow(dst []byte, row *record.Row, mark []byte, again int64) ([]byte, error) {
	fields := len(l.kinds) + 2
	if len(mark) > 0 {
		fields += 2
	}
	if again != 0 {
		fields++
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(fields))
	for i, kind := range l.kinds {
		v := &row.Values[i]
		if v.Null {
			dst = binary.BigEndian.AppendUint32(dst, null)
			continue
		}
		switch kind {
		case record.KindText:
			dst = appendBytes(dst, v.Bytes)
		case record.KindJSON:
			// jsonb_recv wants its version before the text.
			dst = append(binary.BigEndian.AppendUint32(dst, uint32(len(v.Bytes)+1)), jsonbVersion)
			dst = append(dst, v.Bytes...)
		case record.KindBigint:
			dst = appendInt64(dst, v.Int)
		case record.KindDouble:
			dst = appendInt64(dst, int64(math.Float64bits(v.Float)))
		case record.KindBoolean:
			dst = append(dst, 0, 0, 0, 1, byte(v.Int))
		case record.KindDate:
			day := v.Int - epochDays
			if v.Int < minDate+epochDays || day > maxDate {
				return dst, outOfRange(l.columns[i], "a date from 4714 BC to 5874897 AD", strconv.FormatInt(v.Int, 10)+" days from 1970")
			}
			dst = binary.BigEndian.AppendUint64(dst, 4<<32|uint64(uint32(int32(day))))
		case record.KindTimestamp:
			if v.Int < minTimestamp+epochMicros || v.Int-epochMicros > maxTimestamp {
				return dst, outOfRange(l.columns[i], "a time from 4714 BC to 294276 AD", strconv.FormatInt(v.Int, 10)+" microseconds from 1970")
			}
			dst = appendInt64(dst, v.Int-epochMicros)
		case record.KindNumeric:
			var ok bool
			if dst, ok = appendNumeric(dst, v.Bytes); !ok {
				return dst, outOfRange(l.columns[i],
					fmt.Sprintf("a numeric of at most %d digits before its point and %d after", maxIntegerDigits, maxFractionDigits), string(v.Bytes))
			}
		}
	}
	if row.Extra == nil {
		dst = binary.BigEndian.AppendUint32(dst, null)
	} else {
		dst = appendBytes(dst, row.Extra)
	}
	dst = appendBytes(dst, row.Hash[:])
	dst = append(dst, mark...)
	if again == 0 {
		return dst, nil
	}
	return appendInt64(dst, again), nil
}

// appendMark appends what appendRow takes as mark.
func appendMark(dst []byte, run int64, startedAt time.Time) []byte {
	return appendInt64(appendInt64(dst, run), startedAt.UnixMicro()-epochMicros)
}

// field returns a row's first field, its length word included, and the rest.
func field(fields []byte) (first, rest []byte) {
	n := 4
	if length := binary.BigEndian.Uint32(fields); length != null {
		n += int(length)
	}
	return fields[:n:n], fields[n:]
}

// rowLength is the length of the row that COPY data begins with.
func rowLength(data []byte) int {
	n := 2
	for range binary.BigEndian.Uint16(data) {
		length := binary.BigEndian.Uint32(data[n:])
		n += 4
		if length != null {
			n += int(length)
		}
	}
	return n
}

func outOfRange(c connector.Column, want, got string) error {
	if len(got) > 40 {
		got = got[:40]
	}
	if c.Personal {
		got = "a value out of range"
	}
	return &record.Error{Column: c.Name, Want: want, Got: got}
}

func appendBytes(dst, value []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(value)))
	return append(dst, value...)
}

func appendInt64(dst []byte, value int64) []byte {
	n := len(dst)
	dst = append(dst, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0)
	binary.BigEndian.PutUint64(dst[n+4:], uint64(value))
	return dst
}

// appendNumeric appends a decimal literal such as -12.50 exactly, its length
// before it: a header of four 16-bit words (count of digits, weight of the first,
// sign, digits after the point) and the digits to the base 10000, aligned at the
// point. It reports false for a literal that no numeric can hold.
func appendNumeric(dst, literal []byte) (_ []byte, ok bool) {
	sign := uint16(0)
	switch {
	case len(literal) > 0 && literal[0] == '-':
		sign, literal = 0x4000, literal[1:]
	case len(literal) > 0 && literal[0] == '+':
		literal = literal[1:]
	}
	if len(literal) <= shortNumeric {
		return appendShortNumeric(dst, literal, sign), true
	}
	integer, fraction, _ := bytes.Cut(literal, []byte{'.'})
	integer = bytes.TrimLeft(integer, "0")
	if len(integer) > maxIntegerDigits || len(fraction) > maxFractionDigits {
		return dst, false
	}
	start := len(dst)
	dst = append(dst, make([]byte, 12)...) // length and header, known below
	groups := (len(integer) + 3) / 4
	weight, count, last := groups-1, 0, 0 // last: count up to the last group that is not 0
	emit := func(group uint16) {
		if group == 0 && count == 0 {
			weight--
			return
		}
		dst = binary.BigEndian.AppendUint16(dst, group)
		if count++; group != 0 {
			last = count
		}
	}
	for head := len(integer) - 4*(groups-1); len(integer) > 0; head = 4 {
		emit(base10000(integer[:head], 0))
		integer = integer[head:]
	}
	scale := len(fraction)
	for len(fraction) > 0 {
		n := min(4, len(fraction))
		emit(base10000(fraction[:n], 4-n))
		fraction = fraction[n:]
	}
	dst = dst[:start+12+2*last]
	if last == 0 {
		weight, sign = 0, 0
	}
	header := dst[start:]
	binary.BigEndian.PutUint32(header[0:], uint32(8+2*last))
	binary.BigEndian.PutUint16(header[4:], uint16(last))
	binary.BigEndian.PutUint16(header[6:], uint16(int16(weight)))
	binary.BigEndian.PutUint16(header[8:], sign)
	binary.BigEndian.PutUint16(header[10:], uint16(scale))
	return dst, true
}

// shortNumeric is the length of a literal of which the digits, and three zeros
// after them, fit into 64 bits.
const shortNumeric = 16

// appendShortNumeric is appendNumeric for a literal without sign of at most
// shortNumeric bytes.
func appendShortNumeric(dst, literal []byte, sign uint16) []byte {
	n, point := uint64(0), len(literal)
	for i, c := range literal {
		if c == '.' {
			point = i + 1
			continue
		}
		n = 10*n + uint64(c-'0')
	}
	scale := len(literal) - point
	behind := (scale + 3) / 4 // groups after the point
	n *= powers[4*behind-scale]
	var groups [5]uint16 // the least first
	count, zeros := 0, 0
	for ; n > 0; n /= 10000 {
		if groups[count] = uint16(n % 10000); groups[count] == 0 && zeros == count {
			zeros++
		}
		count++
	}
	weight := count - 1 - behind
	if count == 0 {
		weight, sign = 0, 0
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(8+2*(count-zeros)))
	dst = binary.BigEndian.AppendUint64(dst, uint64(count-zeros)<<48|uint64(uint16(int16(weight)))<<32|uint64(sign)<<16|uint64(scale))
	for i := count - 1; i >= zeros; i-- {
		dst = binary.BigEndian.AppendUint16(dst, groups[i])
	}
	return dst
}

var powers = [...]uint64{1, 10, 100, 1000}

// base10000 is the number that the digits and as many zeros after them make.
func base10000(digits []byte, zeros int) uint16 {
	n := uint16(0)
	for _, d := range digits {
		n = 10*n + uint16(d-'0')
	}
	for range zeros {
		n *= 10
	}
	return n
}
