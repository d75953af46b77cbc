package record

import "math"

// maxExponent bounds the digits that an exponent can make of a short literal.
const maxExponent = 1000

// A decimal is a number as its literal spells it:
// integer.fraction x 10^exponent. Nothing is rounded.
type decimal struct {
	negative bool
	integer  []byte // digits without leading zeros, so none for 0
	fraction []byte
	exponent int // saturated at +-1e9
}

// parseDecimal reads a decimal literal as PostgreSQL reads one: JSON's grammar,
// and besides that a leading plus, leading zeros, and a point without digits on
// one side.
func parseDecimal(s []byte) (d decimal, ok bool) {
	i := 0
	if i < len(s) && (s[i] == '-' || s[i] == '+') {
		d.negative = s[i] == '-'
		i++
	}
	d.integer, i = digits(s, i)
	count := len(d.integer)
	if i < len(s) && s[i] == '.' {
		d.fraction, i = digits(s, i+1)
		count += len(d.fraction)
	}
	if count == 0 {
		return d, false
	}
	for len(d.integer) > 0 && d.integer[0] == '0' {
		d.integer = d.integer[1:]
	}
	if i == len(s) {
		return d, true
	}
	if s[i]|0x20 != 'e' {
		return d, false
	}
	i++
	down := false
	if i < len(s) && (s[i] == '-' || s[i] == '+') {
		down = s[i] == '-'
		i++
	}
	exponent, i := digits(s, i)
	if len(exponent) == 0 || i != len(s) {
		return d, false
	}
	for _, c := range exponent {
		if d.exponent = d.exponent*10 + int(c-'0'); d.exponent > 1e9 {
			d.exponent = 1e9
		}
	}
	if down {
		d.exponent = -d.exponent
	}
	return d, true
}

// digits returns the run of digits at s[i] and its end.
func digits(s []byte, i int) ([]byte, int) {
	end := i
	for end < len(s) && s[end]-'0' <= 9 {
		end++
	}
	return s[i:end], end
}

// zero reports whether the number is 0, whatever its sign, scale and exponent.
func (d decimal) zero() bool {
	return len(d.integer) == 0 && allZeros(d.fraction)
}

func allZeros(digits []byte) bool {
	for _, c := range digits {
		if c != '0' {
			return false
		}
	}
	return true
}

// int64 returns the number if it has no fractional part and fits.
func (d decimal) int64() (_ int64, ok bool) {
	n, whole, ok := d.truncated(0)
	return n, ok && whole
}

// truncated returns number x 10^shift without the digits behind the point, and
// whether all of those were zero. It fails if the result does not fit.
func (d decimal) truncated(shift int) (n int64, whole, ok bool) {
	if d.zero() {
		return 0, true, true
	}
	point := len(d.integer) + d.exponent + shift // so many digits stand before it
	var u uint64
	for i := 0; i < point; i++ {
		var c byte
		switch {
		case i < len(d.integer):
			c = d.integer[i] - '0'
		case i-len(d.integer) < len(d.fraction):
			c = d.fraction[i-len(d.integer)] - '0'
		}
		// u stays zero only as long as the fraction's own leading zeros last.
		if u > (math.MaxUint64-9)/10 {
			return 0, false, false
		}
		u = u*10 + uint64(c)
	}
	whole = true
	switch {
	case point <= 0:
		whole = false
	case point < len(d.integer):
		whole = allZeros(d.integer[point:]) && allZeros(d.fraction)
	case point-len(d.integer) < len(d.fraction):
		whole = allZeros(d.fraction[point-len(d.integer):])
	}
	if d.negative {
		if u > 1<<63 {
			return 0, false, false
		}
		return -int64(u), whole, true // -(1<<63) is its own negative
	}
	if u > math.MaxInt64 {
		return 0, false, false
	}
	return int64(u), whole, true
}

// fits reports whether the number is within the limits of numeric and of
// maxExponent.
func (d decimal) fits() bool {
	return -maxExponent <= d.exponent && d.exponent <= maxExponent &&
		len(d.integer)+d.exponent <= maxIntegerDigits && len(d.fraction)-d.exponent <= maxFractionDigits
}

// spells reports whether s, which d was read from, is what appendNumeric would
// write. Signs apart, all that it would change changes the length.
func (d decimal) spells(s []byte) bool {
	n := max(1, len(d.integer))
	if len(d.fraction) > 0 {
		n += 1 + len(d.fraction)
	}
	if d.negative {
		n++
	}
	return d.exponent == 0 && n == len(s) && s[0] != '+' && (!d.negative || !d.zero())
}

// appendNumeric appends the number in plain digits, in the scale in which it is
// written: 28.50 stays, 1.50e1 becomes 15.0, -0 becomes 0.
func (d decimal) appendNumeric(dst []byte) []byte {
	if d.negative && !d.zero() {
		dst = append(dst, '-')
	}
	point := len(d.integer) + d.exponent
	all := len(d.integer) + len(d.fraction)
	digit := func(i int) byte {
		switch {
		case i < 0 || i >= all:
			return '0'
		case i < len(d.integer):
			return d.integer[i]
		}
		return d.fraction[i-len(d.integer)]
	}
	first := 0
	for first < point-1 && digit(first) == '0' {
		first++ // 0.05e1 is 0.5, not 00.5
	}
	if point <= 0 {
		dst = append(dst, '0')
	}
	for i := first; i < point; i++ {
		dst = append(dst, digit(i))
	}
	if point < all {
		dst = append(dst, '.')
		for i := point; i < all; i++ {
			dst = append(dst, digit(i))
		}
	}
	return dst
}

// plainNumeric reports whether the JSON number s is already as appendNumeric
// would write it.
func plainNumeric(s []byte) bool {
	if s[0] != '-' {
		return true
	}
	for _, c := range s[1:] {
		if c != '0' && c != '.' {
			return true
		}
	}
	return false
}
