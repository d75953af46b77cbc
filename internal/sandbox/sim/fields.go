package sim

import (
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"
)

// Fields takes the fields of records from one list, in either of two forms: as
// the vendor's JSON, or, after [Fields.Land], as the values that must land. So
// the two cannot drift apart.
//
// Landed values are int64, float64, string, time.Time (UTC), nil, and for JSON
// what [json.Unmarshal] makes of it.
type Fields struct {
	// JSON is the text so far.
	JSON []byte
	// ASCII spells everything else as \u escapes, as some vendors' encoders do.
	ASCII bool

	landed map[string]any
}

// Land switches to landed values.
func (f *Fields) Land() { f.landed = map[string]any{} }

// Landing reports whether landed values are asked for.
func (f *Fields) Landing() bool { return f.landed != nil }

// Take returns the landed values of one record and starts the next.
func (f *Fields) Take() map[string]any {
	m := f.landed
	f.landed = make(map[string]any, len(m))
	return m
}

// Begin opens a record; in JSON a comma parts it from what went before in an array.
func (f *Fields) Begin() {
	if f.landed != nil {
		return
	}
	f.Comma()
	f.JSON = append(f.JSON, '{')
}

// End closes a record.
func (f *Fields) End() {
	if f.landed == nil {
		f.JSON = append(f.JSON, '}')
	}
}

// Comma appends a comma unless a value opens an object or array.
func (f *Fields) Comma() {
	if n := len(f.JSON); n > 0 && f.JSON[n-1] != '{' && f.JSON[n-1] != '[' && f.JSON[n-1] != ':' {
		f.JSON = append(f.JSON, ',')
	}
}

// Key opens a field of the JSON text. name needs no escapes.
func (f *Fields) Key(name string) {
	f.Comma()
	f.JSON = append(f.JSON, '"')
	f.JSON = append(f.JSON, name...)
	f.JSON = append(f.JSON, '"', ':')
}

// Int writes a number.
func (f *Fields) Int(name string, v int64) {
	if f.landed != nil {
		f.landed[name] = v
		return
	}
	f.Key(name)
	f.JSON = strconv.AppendInt(f.JSON, v, 10)
}

// QuotedInt writes a number that the vendor sends as a string.
func (f *Fields) QuotedInt(name string, v int64) {
	if f.landed != nil {
		f.landed[name] = v
		return
	}
	f.Key(name)
	f.JSON = append(f.JSON, '"')
	f.JSON = strconv.AppendInt(f.JSON, v, 10)
	f.JSON = append(f.JSON, '"')
}

// QuotedIntOrNull writes null for zero.
func (f *Fields) QuotedIntOrNull(name string, v int64) {
	if v == 0 {
		f.Null(name)
		return
	}
	f.QuotedInt(name, v)
}

// Flag writes "0" or "1", which lands as a number.
func (f *Fields) Flag(name string, v bool) {
	n := int64(0)
	if v {
		n = 1
	}
	f.QuotedInt(name, n)
}

// Text writes a string.
func (f *Fields) Text(name, v string) {
	if f.landed != nil {
		f.landed[name] = v
		return
	}
	f.Key(name)
	f.JSON = AppendText(f.JSON, v, f.ASCII)
}

// TextOrNull writes null for the empty string.
func (f *Fields) TextOrNull(name, v string) {
	if v == "" {
		f.Null(name)
		return
	}
	f.Text(name, v)
}

// Plain writes text that needs no escapes.
func (f *Fields) Plain(name string, v []byte) {
	if f.landed != nil {
		f.landed[name] = string(v)
		return
	}
	f.Key(name)
	f.JSON = append(f.JSON, '"')
	f.JSON = append(f.JSON, v...)
	f.JSON = append(f.JSON, '"')
}

// Null writes null.
func (f *Fields) Null(name string) {
	if f.landed != nil {
		f.landed[name] = nil
		return
	}
	f.Key(name)
	f.JSON = append(f.JSON, "null"...)
}

// Time writes Unix seconds as "2006-01-02 15:04:05" UTC, without a zone, and
// null for zero.
func (f *Fields) Time(name string, unix int64) {
	if unix == 0 {
		f.Null(name)
		return
	}
	if f.landed != nil {
		f.landed[name] = time.Unix(unix, 0).UTC()
		return
	}
	f.Key(name)
	f.JSON = append(f.JSON, '"')
	f.JSON = AppendTime(f.JSON, unix)
	f.JSON = append(f.JSON, '"')
}

// Date writes the day of Unix seconds as "2006-01-02" UTC; it lands as its midnight.
func (f *Fields) Date(name string, unix int64) {
	if f.landed != nil {
		f.landed[name] = time.Unix(unix, 0).UTC().Truncate(24 * time.Hour)
		return
	}
	f.Text(name, time.Unix(unix, 0).UTC().Format(time.DateOnly))
}

// Value writes any JSON text.
func (f *Fields) Value(name string, raw []byte) {
	if f.landed == nil {
		f.Key(name)
		f.JSON = append(f.JSON, raw...)
		return
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		panic("sandbox: made text that is not JSON: " + err.Error())
	}
	f.landed[name] = v
}

// AppendTime appends Unix seconds as "2006-01-02 15:04:05" in UTC.
func AppendTime(dst []byte, unix int64) []byte {
	year, m12, day := time.Unix(unix, 0).UTC().Date()
	month := int(m12)
	second := int(((unix % 86400) + 86400) % 86400)
	dst = append(dst, byte('0'+year/1000), byte('0'+year/100%10), byte('0'+year/10%10), byte('0'+year%10), '-')
	dst = append(dst, byte('0'+month/10), byte('0'+month%10), '-', byte('0'+day/10), byte('0'+day%10), ' ')
	h, m, s := second/3600, second/60%60, second%60
	return append(dst, byte('0'+h/10), byte('0'+h%10), ':', byte('0'+m/10), byte('0'+m%10), ':', byte('0'+s/10), byte('0'+s%10))
}

// AppendText appends s as a JSON string. With ascii, all else is escaped and a
// slash too, the way PHP's encoder writes by default.
func AppendText(dst []byte, s string, ascii bool) []byte {
	dst = append(dst, '"')
	plain := 0 // s[plain:i] is to be copied as it is
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && (!ascii || c != '/' && c < utf8.RuneSelf) {
			i++
			continue
		}
		dst = append(dst, s[plain:i]...)
		size := 1
		switch {
		case c < 0x20:
			dst = appendEscape(dst, rune(c))
		case c < utf8.RuneSelf:
			dst = append(dst, '\\', c)
		default:
			var r rune
			if r, size = utf8.DecodeRuneInString(s[i:]); r >= 0x10000 {
				r -= 0x10000
				dst = appendEscape(dst, 0xd800+r>>10)
				r = 0xdc00 + r&0x3ff
			}
			dst = appendEscape(dst, r)
		}
		i += size
		plain = i
	}
	return append(append(dst, s[plain:]...), '"')
}

func appendEscape(dst []byte, r rune) []byte {
	const hex = "0123456789abcdef"
	return append(dst, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}
