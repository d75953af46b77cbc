package jsonscan

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// Unquote appends to dst the string that the quoted JSON string spells. Lone
// surrogates and each byte of invalid UTF-8 become U+FFFD, as in encoding/json;
// the result is valid UTF-8. It may contain NUL.
func Unquote(dst, quoted []byte) ([]byte, error) {
	dst, _, err := UnquoteExact(dst, quoted)
	return dst, err
}

// UnquoteExact is Unquote and reports whether nothing had to be replaced by
// U+FFFD.
func UnquoteExact(dst, quoted []byte) (_ []byte, exact bool, err error) {
	if len(quoted) == 0 || quoted[0] != '"' {
		return dst, false, wantString.at(0)
	}
	end, t, err := Scan(quoted, 0, 0)
	if err != nil {
		return dst, false, err
	}
	if end != len(quoted) {
		return dst, false, wantEnd.at(end)
	}
	s := quoted[1 : end-1]
	if t == 0 {
		return append(dst, s...), true, nil
	}
	exact = true
	for {
		n := bytes.IndexByte(s, '\\')
		run := s
		if n >= 0 {
			run = s[:n]
		}
		if utf8.Valid(run) {
			dst = append(dst, run...)
		} else {
			dst, exact = appendRepaired(dst, run), false
		}
		if n < 0 {
			return dst, exact, nil
		}
		s = s[n:]
		var r rune
		r, s = escape(s)
		if r < 0 {
			r, exact = utf8.RuneError, false
		}
		dst = utf8.AppendRune(dst, r)
	}
}

// escape returns the rune of the valid escape that s begins with, -1 for a lone
// surrogate, and the rest of s.
func escape(s []byte) (r rune, rest []byte) {
	switch s[1] {
	case 'b':
		return '\b', s[2:]
	case 'f':
		return '\f', s[2:]
	case 'n':
		return '\n', s[2:]
	case 'r':
		return '\r', s[2:]
	case 't':
		return '\t', s[2:]
	case 'u':
	default:
		return rune(s[1]), s[2:]
	}
	r, rest = unit(s), s[6:]
	if !utf16.IsSurrogate(r) {
		return r, rest
	}
	if pair := utf16.DecodeRune(r, unit(rest)); pair != utf8.RuneError {
		return pair, rest[6:]
	}
	return -1, rest
}

func appendRepaired(dst, s []byte) []byte {
	for len(s) > 0 {
		r, size := utf8.DecodeRune(s)
		dst = utf8.AppendRune(dst, r)
		s = s[size:]
	}
	return dst
}
