package record

import (
	"bytes"
	"unicode/utf8"

	"github.com/winchdata/winch/internal/jsonscan"
)

// What a jsonb column takes of a number: PostgreSQL stores it as numeric, with
// up to 131072 digits before the decimal point and up to 16383 after it
// (postgresql.org/docs/current/datatype-numeric.html).
const (
	maxIntegerDigits  = 131072
	maxFractionDigits = 16383
)

const replacement = "\ufffd"

// appendQuoted appends s as a JSON string with no more escapes than RFC 8259
// asks for. Two strings are equal if and only if their quoted forms are.
func appendQuoted(dst, s []byte) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// appendRepaired appends JSON text with U+FFFD in place of each byte of invalid
// UTF-8.
func appendRepaired(dst, text []byte) []byte {
	if utf8.Valid(text) {
		return append(dst, text...)
	}
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		dst = utf8.AppendRune(dst, r)
		text = text[size:]
	}
	return dst
}

// appendText appends the string that the valid quoted string spells, with U+FFFD
// in place of NUL, lone surrogates and invalid UTF-8. It is exact if there were
// none.
func appendText(dst, quoted []byte) (_ []byte, exact bool, err error) {
	from := len(dst)
	dst, exact, err = jsonscan.UnquoteExact(dst, quoted)
	if err != nil {
		return dst, false, err
	}
	nuls := bytes.Count(dst[from:], []byte{0})
	if nuls == 0 {
		return dst, exact, nil
	}
	// The longer string is written behind the other, which would otherwise have
	// to be moved byte by byte.
	to := len(dst)
	for _, c := range dst[from:to] {
		if c == 0 {
			dst = append(dst, replacement...)
		} else {
			dst = append(dst, c)
		}
	}
	return append(dst[:from], dst[to:]...), false, nil
}

// appendStorable appends valid JSON text as a jsonb column takes it: strings and
// keys as appendText has them, numbers beyond the limits of numeric as strings.
// Everything else is kept byte by byte. It is exact if nothing was changed.
func appendStorable(dst, text []byte) (_ []byte, exact bool, err error) {
	exact = true
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == '"':
			end, traits, err := jsonscan.Scan(text, i, 0)
			if err != nil {
				return dst, false, err
			}
			quoted := text[i:end]
			i = end
			if traits == 0 {
				dst = append(dst, quoted...)
				continue
			}
			from := len(dst)
			var same bool
			if dst, same, err = appendText(dst, quoted); err != nil {
				return dst, false, err
			}
			if same {
				dst = append(dst[:from], quoted...)
				continue
			}
			exact = false
			to := len(dst)
			dst = appendQuoted(dst, dst[from:to])
			dst = append(dst[:from], dst[to:]...)
		case c == '-' || c-'0' <= 9:
			end, traits, err := jsonscan.Scan(text, i, 0)
			if err != nil {
				return dst, false, err
			}
			number := text[i:end]
			i = end
			if traits&jsonscan.LargeNumber == 0 || fitsNumeric(number) {
				dst = append(dst, number...)
				continue
			}
			exact = false
			dst = append(append(append(dst, '"'), number...), '"')
		default:
			dst = append(dst, c)
			i++
		}
	}
	return dst, exact, nil
}

func fitsNumeric(number []byte) bool {
	n, ok := parseDecimal(number)
	return ok && len(n.integer)+n.exponent <= maxIntegerDigits && len(n.fraction)-n.exponent <= maxFractionDigits
}
