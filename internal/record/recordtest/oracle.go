// Package recordtest says what a value of a record means, by encoding/json,
// math/big, strconv and time alone: the judge of decoders and of stores.
package recordtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/winchdata/winch/pkg/connector"
)

// Decode reads JSON text with its numbers as they are spelled.
func Decode(text []byte) (v any, err error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	if dec.InputOffset() != int64(len(text)) {
		return nil, fmt.Errorf("something follows the value at %d", dec.InputOffset())
	}
	return v, nil
}

// Meaning is what the column's type makes of a decoded value, by the rules of
// [connector.Type]: nil for null; a bool; a float64 for a double; the value itself
// for json; text otherwise, a date as 2006-01-02 and a timestamptz as
// time.RFC3339Nano in UTC. takes is false where the value must be refused.
func Meaning(v any, c connector.Column) (meaning any, takes bool) {
	if v == nil {
		return nil, true
	}
	s, isString := v.(string)
	n, isNumber := v.(json.Number)
	if isNumber {
		s = n.String()
	}
	if isString && c.Type != connector.TypeText && c.Type != connector.TypeJSON {
		s = strings.Trim(s, " \t\r\n")
	}
	if isString && s == "" && (c.Type != connector.TypeText || c.EmptyIsNull) {
		return nil, true
	}
	switch c.Type {
	case connector.TypeJSON:
		return v, true
	case connector.TypeText:
		if b, ok := v.(bool); ok {
			return strconv.FormatBool(b), true
		}
		return s, isString || isNumber
	case connector.TypeBoolean:
		return truth(v, s)
	case connector.TypeDate:
		return day(s, c.Formats, isString)
	case connector.TypeTimestamp:
		return moment(s, c.Formats, isString, isNumber)
	default:
		r, exponent, scale, ok := rational(s)
		switch {
		case !ok || !isString && !isNumber:
			return nil, false
		case c.Type == connector.TypeBigint:
			return r.RatString(), r.IsInt() && r.Num().IsInt64()
		case c.Type == connector.TypeDouble:
			f, err := strconv.ParseFloat(s, 64)
			return f, err == nil
		}
		return r.FloatString(scale), -1000 <= exponent && exponent <= 1000
	}
}

func truth(v any, s string) (meaning any, takes bool) {
	switch v.(type) {
	case bool:
		return v, true
	case string:
		b, ok := map[string]bool{
			"1": true, "t": true, "true": true, "y": true, "yes": true,
			"0": false, "f": false, "false": false, "n": false, "no": false,
		}[strings.ToLower(s)]
		return b, ok && len(s) < 6 // no letter that only becomes one of these
	case json.Number:
		if r, _, _, ok := rational(s); ok && r.IsInt() && r.Num().IsInt64() && uint64(r.Num().Int64()) < 2 {
			return r.Num().Int64() == 1, true
		}
	}
	return nil, false
}

// day is the one that s names in the first format that takes it, whatever its
// zone.
func day(s string, formats []string, isString bool) (meaning any, takes bool) {
	if formats == nil {
		formats = []string{time.DateOnly}
	}
	for _, layout := range formats {
		if t, ok := parse(layout, s); ok && isString {
			return t.Format(time.DateOnly), inYears(t)
		}
	}
	return nil, false
}

// moment is what s names in the first format that takes it, cut to microseconds.
func moment(s string, formats []string, isString, isNumber bool) (meaning any, takes bool) {
	if formats == nil {
		formats = []string{time.RFC3339}
	}
	for _, layout := range formats {
		perSecond := map[string]int64{"unix": 1, "unix_ms": 1e3}[layout]
		if perSecond == 0 {
			if t, ok := parse(layout, s); ok && isString {
				t = t.UTC()
				return t.Truncate(time.Microsecond).Format(time.RFC3339Nano), inYears(t)
			}
			continue
		}
		r, _, _, ok := rational(s)
		if !ok || !isString && !isNumber {
			continue
		}
		r.Mul(r, big.NewRat(1e6/perSecond, 1))
		if micros := new(big.Int).Quo(r.Num(), r.Denom()); micros.IsInt64() { // towards zero
			t := time.UnixMicro(micros.Int64()).UTC()
			return t.Format(time.RFC3339Nano), inYears(t)
		}
	}
	return nil, false
}

// parse is time.Parse without the zones whose offset it would make up.
func parse(layout, s string) (time.Time, bool) {
	t, err := time.ParseInLocation(layout, s, time.UTC)
	if err != nil {
		return t, false
	}
	zone, offset := t.Zone()
	return t, offset != 0 || zone == "" || zone == "UTC" || zone == "GMT"
}

func inYears(t time.Time) bool { return 1 <= t.Year() && t.Year() <= 9999 }

var number = regexp.MustCompile(`^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$`)

// rational reads a decimal literal exactly; scale is how many digits behind the
// point it asks for. Exponents beyond what any type but double can tell apart are
// cut to +-5000.
func rational(s string) (r *big.Rat, exponent, scale int, ok bool) {
	if !number.MatchString(s) {
		return nil, 0, 0, false
	}
	mantissa, power, _ := strings.Cut(strings.ToLower(s), "e")
	if power != "" {
		var err error
		if exponent, err = strconv.Atoi(power); err != nil && power[0] == '-' {
			exponent = -5000
		} else if err != nil {
			exponent = 5000
		}
		exponent = max(-5000, min(5000, exponent))
	}
	_, fraction, _ := strings.Cut(mantissa, ".")
	r, ok = new(big.Rat).SetString(mantissa + "e" + strconv.Itoa(exponent))
	return r, exponent, max(0, len(fraction)-exponent), ok
}

// Storable is a decoded value without what PostgreSQL cannot hold.
func Storable(v any) any {
	switch v := v.(type) {
	case string:
		return strings.ReplaceAll(v, "\x00", "\ufffd")
	case json.Number:
		mantissa, exponent, _ := strings.Cut(strings.ToLower(v.String()), "e")
		e, err := strconv.Atoi("0" + strings.TrimLeft(exponent, "+-"))
		whole, fraction, _ := strings.Cut(strings.TrimLeft(mantissa, "-0"), ".")
		if strings.HasPrefix(exponent, "-") {
			e = -e
		}
		if err != nil || len(whole)+e > 131072 || len(fraction)-e > 16383 {
			return v.String()
		}
	case []any:
		for i := range v {
			v[i] = Storable(v[i])
		}
	case map[string]any:
		m := map[string]any{}
		for key, value := range v {
			m[Storable(key).(string)] = Storable(value)
		}
		return m
	}
	return v
}

// Collides reports whether two keys in v become one in Storable. Which value is
// the last, a map cannot say.
func Collides(v any) bool {
	switch v := v.(type) {
	case []any:
		return slices.ContainsFunc(v, Collides)
	case map[string]any:
		keys := map[any]bool{}
		for key, value := range v {
			keys[Storable(key)] = true
			if Collides(value) {
				return true
			}
		}
		return len(keys) < len(v)
	}
	return false
}
