package sqlite

import (
	"bytes"
	"time"
)

// timeLayout is how a timestamptz stands in the file: UTC, to the microsecond, of
// fixed width, so that it sorts and the date functions of SQLite take it.
const timeLayout = "2006-01-02T15:04:05.000000Z"

// timestamp returns the moment as it stands in the file.
func timestamp(t time.Time) string { return t.UTC().Format(timeLayout) }

// parseTimestamp is the inverse of timestamp; null is the zero time.
func parseTimestamp(text *string) (time.Time, error) {
	if text == nil || *text == "" {
		return time.Time{}, nil
	}
	return time.Parse(timeLayout, *text)
}

const microsPerDay = 24 * 60 * 60 * 1_000_000

// appendTimestamp appends microseconds since 1970 as timeLayout has it.
func appendTimestamp(dst []byte, micros int64) []byte {
	days := micros / microsPerDay
	rest := micros % microsPerDay
	if rest < 0 {
		rest += microsPerDay
		days--
	}
	dst = appendDate(dst, days)
	dst = append(dst, 'T')
	dst = appendDigits(dst, rest/3_600_000_000, 2)
	dst = append(dst, ':')
	dst = appendDigits(dst, rest/60_000_000%60, 2)
	dst = append(dst, ':')
	dst = appendDigits(dst, rest/1_000_000%60, 2)
	dst = append(dst, '.')
	dst = appendDigits(dst, rest%1_000_000, 6)
	return append(dst, 'Z')
}

// appendDate appends days since 1970 as 2006-01-02.
func appendDate(dst []byte, days int64) []byte {
	year, month, day := civil(days)
	if year < 0 {
		dst = append(dst, '-')
		year = -year
	}
	dst = appendDigits(dst, year, 4)
	dst = append(dst, '-')
	dst = appendDigits(dst, month, 2)
	dst = append(dst, '-')
	return appendDigits(dst, day, 2)
}

// civil returns the proleptic Gregorian date of a day since 1970. It counts in
// eras of 400 years that begin on 1 March, so that a leap day is the last of its
// year.
func civil(days int64) (year, month, day int64) {
	const daysPerEra = 146_097
	days += 719_468 // from 0000-03-01
	era := days / daysPerEra
	if days%daysPerEra < 0 {
		era--
	}
	ofEra := days - era*daysPerEra
	yearOfEra := (ofEra - ofEra/1460 + ofEra/36_524 - ofEra/146_096) / 365
	ofYear := ofEra - (365*yearOfEra + yearOfEra/4 - yearOfEra/100)
	shifted := (5*ofYear + 2) / 153 // months from March
	day = ofYear - (153*shifted+2)/5 + 1
	month = shifted + 3
	year = yearOfEra + era*400
	if month > 12 {
		month -= 12
		year++
	}
	return year, month, day
}

// appendDigits appends n with leading zeros up to the width, all of it if wider.
func appendDigits(dst []byte, n int64, width int) []byte {
	var digits [20]byte
	i := len(digits)
	for n > 0 || len(digits)-i < width {
		i--
		digits[i] = byte('0' + n%10)
		n /= 10
	}
	return append(dst, digits[i:]...)
}

// appendKeyNumeric appends a decimal literal without the zeros that do not matter,
// so that equal numbers identify the same row, as in PostgreSQL.
func appendKeyNumeric(dst, literal []byte) []byte {
	if bytes.IndexByte(literal, '.') < 0 {
		return append(dst, literal...)
	}
	return append(dst, bytes.TrimSuffix(bytes.TrimRight(literal, "0"), []byte("."))...)
}

// timestampFrom returns the first moment to the microsecond at or after t. Rows
// hold no finer ones.
func timestampFrom(t time.Time) string { return timestamp(t.Add(time.Microsecond - 1)) }

// firstDay returns the first date whose day begins at or after t in t's location.
func firstDay(t time.Time) string {
	year, month, day := t.Add(-1).Date()
	return time.Date(year, month, day+1, 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
}
