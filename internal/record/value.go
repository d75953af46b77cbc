package record

import (
	"bytes"
	"math"
	"strconv"
	"unicode/utf8"
	"unsafe"

	"github.com/winchdata/winch/internal/jsonscan"
	"github.com/winchdata/winch/pkg/connector"
)

// wants says what each type takes, for errors; the formats of a date or
// timestamptz follow it.
var wants = map[connector.Type]string{
	connector.TypeText:      "a string, a number or a boolean",
	connector.TypeBigint:    "a number without fractional part in the range of 64 bits",
	connector.TypeNumeric:   "a number with an exponent of at most 1000, 131072 digits before and 16383 after the point",
	connector.TypeDouble:    "a number in the range of a 64-bit float",
	connector.TypeBoolean:   "true or false, as a boolean, 1, 0, t, f, y, n, yes or no",
	connector.TypeDate:      "a date of the years 1 to 9999 like ",
	connector.TypeTimestamp: "a time of the years 1 to 9999 like ",
	connector.TypeJSON:      "any value",
}

const wantIdentity = "text without NUL, lone surrogates and invalid UTF-8, because it identifies the row"

// set stores the JSON value text in v by the rules of connector.Type. It fails
// if the column does not take it. It is exact unless something in it had to be
// replaced so that it can be stored.
func (p *plan) set(v *Value, row *Row, text []byte, t jsonscan.Traits) (exact, ok bool) {
	if text[0] == 'n' {
		return true, true
	}
	if p.kind == KindJSON {
		return setJSON(v, row, text, t)
	}
	if text[0] == '"' {
		return p.setString(v, row, text, t)
	}
	if text[0] == '{' || text[0] == '[' {
		return true, false
	}
	v.Null = false
	switch isNumber := text[0] != 't' && text[0] != 'f'; p.kind {
	case KindText:
		v.Bytes = text
		return true, true
	case KindBoolean:
		if !isNumber {
			v.Int = 0
			if text[0] == 't' {
				v.Int = 1
			}
			return true, true
		}
		v.Int, ok = parseBigint(text)
		return true, ok && (v.Int == 0 || v.Int == 1)
	case KindTimestamp:
		if !isNumber {
			return true, false
		}
		v.Int, ok = parseMoment(text, p.formats, true)
		return true, ok
	case KindNumeric:
		if isNumber && t&jsonscan.LargeNumber == 0 && plainNumeric(text) {
			v.Bytes = text
			return true, true
		}
		return true, p.setNumber(v, row, text)
	default:
		return true, p.setNumber(v, row, text)
	}
}

// setString stores a string. In all types but text the white space around what
// it holds does not count.
func (p *plan) setString(v *Value, row *Row, text []byte, t jsonscan.Traits) (exact, ok bool) {
	s := text[1 : len(text)-1 : len(text)-1]
	exact = true
	if t != 0 {
		from := len(row.buf)
		var err error
		if row.buf, exact, err = appendText(row.buf, text); err != nil {
			return false, false
		}
		s = row.buf[from:len(row.buf):len(row.buf)]
	}
	if p.kind != KindText {
		s = trimmed(s)
	}
	if len(s) == 0 && p.nullable {
		return exact, true
	}
	v.Null = false
	switch p.kind {
	case KindText:
		v.Bytes = s
		return exact, true
	case KindBoolean:
		v.Int, ok = parseBoolean(s)
	case KindDate:
		v.Int, ok = parseDate(s, p.formats)
	case KindTimestamp:
		v.Int, ok = parseMoment(s, p.formats, false)
	default:
		ok = p.setNumber(v, row, s)
	}
	return exact, ok
}

// setNumber stores what s spells in a bigint, numeric or double.
func (p *plan) setNumber(v *Value, row *Row, s []byte) (ok bool) {
	switch p.kind {
	case KindBigint:
		v.Int, ok = parseBigint(s)
		return ok
	case KindNumeric:
		d, ok := parseDecimal(s)
		if !ok {
			return false
		}
		if !d.fits() {
			return false
		}
		if d.spells(s) {
			v.Bytes = s
			return true
		}
		from := len(row.buf)
		row.buf = d.appendNumeric(row.buf)
		v.Bytes = row.buf[from:len(row.buf):len(row.buf)]
		return true
	case KindDouble:
		// ParseFloat takes more than a decimal literal: hexadecimal, NaN, 1_000.
		if _, ok := parseDecimal(s); !ok {
			return false
		}
		f, err := strconv.ParseFloat(unsafe.String(unsafe.SliceData(s), len(s)), 64)
		v.Float = f
		return err == nil && !math.IsInf(f, 0)
	default:
		return false
	}
}

func setJSON(v *Value, row *Row, text []byte, t jsonscan.Traits) (exact, ok bool) {
	if string(text) == `""` {
		return true, true
	}
	v.Null = false
	if t == 0 || t&jsonscan.LargeNumber == 0 &&
		(t&jsonscan.NonASCII == 0 || utf8.Valid(text)) &&
		(t&jsonscan.Escaped == 0 || !bytes.Contains(text, []byte(`\u`))) {
		v.Bytes = text
		return true, true
	}
	from := len(row.buf)
	var err error
	if row.buf, exact, err = appendStorable(row.buf, text); err != nil {
		return false, false
	}
	v.Bytes = row.buf[from:len(row.buf):len(row.buf)]
	return exact, true
}

func parseBigint(s []byte) (n int64, ok bool) {
	digits := s
	if len(s) > 0 && s[0] == '-' {
		digits = s[1:]
	}
	if len(digits) == 0 || len(digits) > 18 {
		return parseLongBigint(s)
	}
	for _, c := range digits {
		if c -= '0'; c > 9 {
			return parseLongBigint(s)
		}
		n = n*10 + int64(c)
	}
	if s[0] == '-' {
		n = -n
	}
	return n, true
}

func parseLongBigint(s []byte) (int64, bool) {
	d, ok := parseDecimal(s)
	if !ok {
		return 0, false
	}
	return d.int64()
}

func parseBoolean(s []byte) (n int64, ok bool) {
	var lower [5]byte
	if len(s) > len(lower) {
		return 0, false
	}
	for i, c := range s {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		lower[i] = c
	}
	switch string(lower[:len(s)]) {
	case "1", "t", "true", "y", "yes":
		return 1, true
	case "0", "f", "false", "n", "no":
		return 0, true
	}
	return 0, false
}

func trimmed(s []byte) []byte {
	space := func(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }
	for len(s) > 0 && space(s[0]) {
		s = s[1:]
	}
	for len(s) > 0 && space(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

// refuse is the error for a value that the column does not take.
func (p *plan) refuse(want string, text []byte) *Error {
	got := jsonType(text)
	if !p.personal && text[0] != '{' && text[0] != '[' {
		got = cut(text)
	}
	return &Error{Column: p.name, Want: want, Got: got}
}

// cut returns the first 40 characters of a scalar, as valid UTF-8.
func cut(text []byte) string {
	const limit = 40
	var b []byte
	for n := 0; len(text) > 0; n++ {
		if n == limit {
			return string(append(b, "…"...))
		}
		r, size := utf8.DecodeRune(text)
		b = utf8.AppendRune(b, r)
		text = text[size:]
	}
	return string(b)
}

func jsonType(text []byte) string {
	switch text[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}
