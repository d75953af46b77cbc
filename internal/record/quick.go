package record

import (
	"encoding/binary"
	"math/bits"

	"github.com/winchdata/winch/pkg/connector"
)

// A Kind is a connector.Type as a number, for decisions that each value needs.
type Kind uint8

// The kinds.
const (
	KindJSON Kind = iota
	KindText
	KindBigint
	KindNumeric
	KindDouble
	KindBoolean
	KindDate
	KindTimestamp
)

// KindOf is the kind of a valid type.
func KindOf(t connector.Type) Kind { return kinds[t] }

var kinds = map[connector.Type]Kind{
	connector.TypeText: KindText, connector.TypeBigint: KindBigint, connector.TypeNumeric: KindNumeric, connector.TypeDouble: KindDouble,
	connector.TypeBoolean: KindBoolean, connector.TypeDate: KindDate, connector.TypeTimestamp: KindTimestamp, connector.TypeJSON: KindJSON,
}

// quick reads the value that begins at b[i] into v, which is null, if it stands
// there in the form that most have: then nothing needs to be validated first and
// looked at again. It returns its end, or 0 and leaves v alone where set has to
// decide.
func (p *plan) quick(v *Value, b []byte, i int) (end int) {
	if i+1 >= len(b) {
		return 0
	}
	quoted := b[i] == '"'
	switch p.kind {
	case KindText:
		if !quoted {
			return 0
		}
		if end = plainString(b, i); end == 0 || end == i+2 && p.nullable {
			return end
		}
		v.Null, v.Bytes = false, b[i+1:end-1:end-1]
		return end
	case KindBigint:
		from := i
		if quoted {
			from++
		}
		n, end := plainInteger(b, from)
		if end = closed(b, end, quoted); end > 0 {
			v.Null, v.Int = false, n
		}
		return end
	case KindNumeric:
		from := i
		if quoted {
			from++
		}
		last := plainDecimal(b, from)
		if end = closed(b, last, quoted); end > 0 {
			v.Null, v.Bytes = false, b[from:last:last]
		}
		return end
	case KindBoolean:
		switch {
		case len(b)-i >= 4 && string(b[i:i+4]) == "true":
			v.Null, v.Int = false, 1
			return i + 4
		case len(b)-i >= 5 && string(b[i:i+5]) == "false":
			v.Null, v.Int = false, 0
			return i + 5
		}
		return 0
	case KindDate:
		if !quoted || p.formats[0].kind != dateOnly {
			return 0
		}
		days, ok := parseDay(b[i+1:])
		if end = closed(b, i+1+len("2006-01-02"), true); !ok || end == 0 {
			return 0
		}
		v.Null, v.Int = false, days
		return end
	case KindTimestamp:
		separator, zoned, ok := p.formats[0].kind.clock()
		if !quoted || !ok {
			return 0
		}
		micros, n := clock(b[i+1:], separator, zoned)
		if end = closed(b, i+1+n, true); n == 0 || end == 0 || micros < firstMicro || micros > lastMicro {
			return 0
		}
		v.Null, v.Int = false, micros
		return end
	case KindDouble, KindJSON:
	}
	return 0
}

// closed returns the end of a scalar whose text ends at b[i], with its quote if
// it is quoted, or 0 if it does not end there or i is 0.
func closed(b []byte, i int, quoted bool) int {
	switch {
	case i == 0 || i >= len(b):
		return 0
	case quoted:
		if b[i] != '"' {
			return 0
		}
		return i + 1
	case b[i] == ',' || b[i] == '}' || b[i] <= ' ':
		return i
	}
	return 0
}

const (
	lowBits  = 0x0101010101010101
	highBits = 0x8080808080808080
)

// plainString returns the end of the string whose opening quote is b[i], or 0 if
// anything but ASCII without escapes is in it. It looks at eight bytes at a time:
// the high bit of a byte in stop is set if it is not ASCII, a control character,
// a quote or a backslash. Borrows disturb only bytes above one that was found.
func plainString(b []byte, i int) (end int) {
	for i++; i+8 <= len(b); i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		stop := (x | (x - lowBits*' ') | ((x ^ lowBits*'"') - lowBits) | ((x ^ lowBits*'\\') - lowBits)) & highBits
		if stop == 0 {
			continue
		}
		if i += bits.TrailingZeros64(stop) / 8; b[i] == '"' {
			return i + 1
		}
		return 0
	}
	for ; i < len(b) && b[i] >= ' ' && b[i] != '\\' && b[i] < 0x80; i++ {
		if b[i] == '"' {
			return i + 1
		}
	}
	return 0
}

// plainInteger reads the integer of at most 18 digits, without leading zeros,
// that begins at b[i]. Its end is 0 if none is there.
func plainInteger(b []byte, i int) (n int64, end int) {
	negative := i < len(b) && b[i] == '-'
	if negative {
		i++
	}
	first := i
	for i < len(b) && b[i]-'0' <= 9 {
		n = n*10 + int64(b[i]-'0')
		i++
	}
	if i == first || i > first+18 || b[first] == '0' && i > first+1 {
		return 0, 0
	}
	if negative {
		n = -n
	}
	return n, i
}

// plainDecimal returns the end of the decimal that begins at b[i] if it is what
// appendNumeric would write, and short; else 0.
func plainDecimal(b []byte, i int) (end int) {
	from, zero := i, true
	if i < len(b) && b[i] == '-' {
		i++
	}
	first := i
	for i < len(b) && b[i]-'0' <= 9 {
		zero = zero && b[i] == '0'
		i++
	}
	if i == first || b[first] == '0' && i > first+1 {
		return 0
	}
	if i < len(b) && b[i] == '.' {
		i++
		point := i
		for i < len(b) && b[i]-'0' <= 9 {
			zero = zero && b[i] == '0'
			i++
		}
		if i == point {
			return 0
		}
	}
	if zero && first > from || i-from > longest {
		return 0
	}
	return i
}

// longest is the length of a decimal up to which its limits need no look.
const longest = 100
