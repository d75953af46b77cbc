package jsonscan

import (
	"encoding/binary"
	"math/bits"
)

// A fault is a reason to refuse a text. The scanners return it beside the offset
// where it stands instead of an error, which would cost them their speed.
type fault uint8

const (
	noFault fault = iota
	wantValue
	wantString
	wantKey
	wantColon
	wantObject
	wantObjectEnd
	wantArray
	wantArrayEnd
	wantEnd
	wantDigit
	badLiteral
	badEscape
	badControl
	openString
	tooDeep
)

var problems = [...]string{
	wantValue:     "want a value",
	wantString:    "want a string",
	wantKey:       "want a quoted object key",
	wantColon:     "want a colon after the object key",
	wantObject:    "want an object",
	wantObjectEnd: "want a comma or the end of the object",
	wantArray:     "want an array",
	wantArrayEnd:  "want a comma or the end of the array",
	wantEnd:       "want the end of the text",
	wantDigit:     "want a digit",
	badLiteral:    "want true, false or null",
	badEscape:     "unknown escape in a string",
	badControl:    "unescaped control character in a string",
	openString:    "a string is not closed",
	tooDeep:       "nested deeper than 1000 levels",
}

func (f fault) at(offset int) error {
	return &SyntaxError{Offset: offset, Problem: problems[f]}
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// scanValue returns the end of the value that begins at b[i], or where its fault
// is. depth counts the containers around it.
func scanValue(b []byte, i, depth int) (int, Traits, fault) {
	if i >= len(b) {
		return i, 0, wantValue
	}
	switch c := b[i]; {
	case c == '"':
		return scanString(b, i)
	case c-'0' <= 9 || c == '-':
		return scanNumber(b, i)
	case c == '{':
		return scanObject(b, i, depth)
	case c == '[':
		return scanArray(b, i, depth)
	case c == 't':
		return scanLiteral(b, i, "true")
	case c == 'f':
		return scanLiteral(b, i, "false")
	case c == 'n':
		return scanLiteral(b, i, "null")
	}
	return i, 0, wantValue
}

func scanLiteral(b []byte, i int, literal string) (int, Traits, fault) {
	if len(b)-i >= len(literal) && string(b[i:i+len(literal)]) == literal {
		return i + len(literal), 0, noFault
	}
	return i, 0, badLiteral
}

func scanObject(b []byte, i, depth int) (int, Traits, fault) {
	if depth++; depth > MaxDepth {
		return i, 0, tooDeep
	}
	i = SkipSpace(b, i+1)
	if i < len(b) && b[i] == '}' {
		return i + 1, 0, noFault
	}
	var all Traits
	for {
		end, start, ofKey, f := scanKey(b, i)
		if f != noFault {
			return end, 0, f
		}
		var ofValue Traits
		if i, ofValue, f = scanValue(b, start, depth); f != noFault {
			return i, 0, f
		}
		all |= ofKey | ofValue
		if i = SkipSpace(b, i); i >= len(b) || b[i] != ',' {
			break
		}
		i = SkipSpace(b, i+1)
	}
	if i >= len(b) || b[i] != '}' {
		return i, 0, wantObjectEnd
	}
	return i + 1, all, noFault
}

func scanArray(b []byte, i, depth int) (int, Traits, fault) {
	if depth++; depth > MaxDepth {
		return i, 0, tooDeep
	}
	i = SkipSpace(b, i+1)
	if i < len(b) && b[i] == ']' {
		return i + 1, 0, noFault
	}
	var all Traits
	for {
		var t Traits
		var f fault
		if i, t, f = scanValue(b, i, depth); f != noFault {
			return i, 0, f
		}
		all |= t
		if i = SkipSpace(b, i); i >= len(b) || b[i] != ',' {
			break
		}
		i = SkipSpace(b, i+1)
	}
	if i >= len(b) || b[i] != ']' {
		return i, 0, wantArrayEnd
	}
	return i + 1, all, noFault
}

// scanKey reads a quoted key at b[i] and the colon after it. It returns the end
// of the key and the start of the value; with a fault, end is where that stands.
func scanKey(b []byte, i int) (end, value int, t Traits, f fault) {
	if i >= len(b) || b[i] != '"' {
		return i, 0, 0, wantKey
	}
	if end, t, f = scanString(b, i); f != noFault {
		return end, 0, 0, f
	}
	colon := SkipSpace(b, end)
	if colon >= len(b) || b[colon] != ':' {
		return colon, 0, 0, wantColon
	}
	return end, SkipSpace(b, colon+1), t, noFault
}

func scanNumber(b []byte, i int) (int, Traits, fault) {
	start := i
	if b[i] == '-' {
		i++
	}
	switch {
	case i >= len(b) || b[i]-'0' > 9:
		return i, 0, wantDigit
	case b[i] == '0':
		i++
	default:
		i = skipDigits(b, i)
	}
	if i < len(b) && b[i] == '.' {
		i++
		if i >= len(b) || b[i]-'0' > 9 {
			return i, 0, wantDigit
		}
		i = skipDigits(b, i)
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		if i >= len(b) || b[i]-'0' > 9 {
			return i, 0, wantDigit
		}
		return skipDigits(b, i), LargeNumber, noFault
	}
	if i-start > longNumber {
		return i, LargeNumber, noFault
	}
	return i, 0, noFault
}

func skipDigits(b []byte, i int) int {
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	return i
}

const (
	// longNumber is the length from which a number counts as large.
	longNumber = 100

	lowBits  = 0x0101010101010101
	highBits = 0x8080808080808080
)

// scanString returns the end of the string whose opening quote is b[i]. It looks
// at eight bytes at a time.
func scanString(b []byte, i int) (int, Traits, fault) {
	var above uint64 // the bytes seen, whose high bits say that they are not ASCII
	for i++; i <= len(b)-8; i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		stop := stops(x)
		if stop == 0 {
			above |= x
			continue
		}
		above |= x & (stop&-stop - 1)
		i += bits.TrailingZeros64(stop) / 8
		if b[i] == '"' && above&highBits == 0 {
			return i + 1, 0, noFault
		}
		break
	}
	return scanRest(b, i, above&highBits != 0)
}

// scanRest returns the end of a string that is not plain ASCII, or near the end
// of b, and goes on at b[i].
func scanRest(b []byte, i int, nonASCII bool) (int, Traits, fault) {
	var t Traits
	if nonASCII {
		t = NonASCII
	}
	for {
		end, above := i, uint64(0)
		for ; end <= len(b)-8; end += 8 {
			x := binary.LittleEndian.Uint64(b[end:])
			stop := stops(x)
			if stop != 0 {
				above |= x & (stop&-stop - 1)
				end += bits.TrailingZeros64(stop) / 8
				break
			}
			above |= x
		}
		for end < len(b) && b[end] >= ' ' && b[end] != '"' && b[end] != '\\' {
			above |= uint64(b[end])
			end++
		}
		if i = end; above&highBits != 0 {
			t |= NonASCII
		}
		switch {
		case i >= len(b):
			return i, 0, openString
		case b[i] == '"':
			return i + 1, t, noFault
		case b[i] == '\\':
			t |= Escaped
			n := escapeLen(b[i:])
			if n == 0 {
				return i, 0, badEscape
			}
			i += n
		default:
			return i, 0, badControl
		}
	}
}

// stops marks the high bit of each byte that ends a run of a string: a quote, a
// backslash or a control character. A byte below n leaves its high bit set in
// (byte - n) &^ byte. Borrows disturb only bytes above one that was found: the
// lowest mark alone is right.
func stops(x uint64) uint64 {
	return ((x - lowBits*' ') | ((x ^ lowBits*'"') - lowBits) | ((x ^ lowBits*'\\') - lowBits)) & ^x & highBits
}

// escapeLen returns the length of the escape that s begins with, or 0 if it is
// not one.
func escapeLen(s []byte) int {
	if len(s) < 2 {
		return 0
	}
	switch s[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if unit(s) >= 0 {
			return 6
		}
	}
	return 0
}

// unit returns the UTF-16 code unit of the escape \uXXXX that s begins with, or
// -1.
func unit(s []byte) rune {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return -1
	}
	var r rune
	for _, c := range s[2:6] {
		switch {
		case c-'0' <= 9:
			c -= '0'
		case c|0x20-'a' <= 5:
			c = c | 0x20 - 'a' + 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}
