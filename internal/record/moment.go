package record

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	"github.com/winchdata/winch/pkg/connector"
)

// A format is one way in which a date or timestamptz may be written.
type format struct {
	layout string
	kind   formatKind
}

// A formatKind chooses the parser. Those written by hand take what time.Parse
// takes in the usual form, and leave the unusual to it.
type formatKind uint8

const (
	anyLayout formatKind = iota
	dateOnly             // 2006-01-02
	dateTime             // 2006-01-02 15:04:05, also with fraction
	dateTimeT            // the same with T
	rfc3339              // the same with T and zone
	unixSeconds
	unixMillis
)

var formatKinds = map[string]formatKind{
	time.DateOnly:         dateOnly,
	time.DateTime:         dateTime,
	"2006-01-02T15:04:05": dateTimeT,
	time.RFC3339:          rfc3339,
	time.RFC3339Nano:      rfc3339,
	"unix":                unixSeconds,
	"unix_ms":             unixMillis,
}

// clock returns what clock takes for the kind, if it does.
func (k formatKind) clock() (separator byte, zoned, ok bool) {
	switch k {
	case dateTime:
		return ' ', false, true
	case dateTimeT:
		return 'T', false, true
	case rfc3339:
		return 'T', true, true
	default:
		return 0, false, false
	}
}

// newFormats returns the formats of a date or timestamptz column, by default
// what connector.Type says, and none for other types.
func newFormats(c connector.Column) ([]format, error) {
	layouts := c.Formats
	switch {
	case c.Type != connector.TypeDate && c.Type != connector.TypeTimestamp:
		if len(layouts) > 0 {
			return nil, errors.New("formats need the type date or timestamptz")
		}
		return nil, nil
	case len(layouts) == 0 && c.Type == connector.TypeDate:
		layouts = []string{time.DateOnly}
	case len(layouts) == 0:
		layouts = []string{time.RFC3339}
	}
	var formats []format
	for _, layout := range layouts {
		kind := formatKinds[layout]
		if kind >= unixSeconds && c.Type == connector.TypeDate {
			return nil, fmt.Errorf("format %q is for timestamptz", layout)
		}
		if kind == anyLayout && !holdsDate(layout) {
			return nil, fmt.Errorf("format %q does not hold year, month and day in the notation of Go's time.Layout, such as 02/01/2006", layout)
		}
		formats = append(formats, format{layout, kind})
	}
	return formats, nil
}

// holdsDate reports whether a date written in layout can be read again.
func holdsDate(layout string) bool {
	for _, day := range []time.Time{
		time.Date(2021, time.November, 23, 10, 0, 0, 0, time.UTC),
		time.Date(2009, time.March, 4, 10, 0, 0, 0, time.UTC),
	} {
		t, err := time.ParseInLocation(layout, day.Format(layout), time.UTC)
		if err != nil || t.Year() != day.Year() || t.YearDay() != day.YearDay() {
			return false
		}
	}
	return true
}

// microseconds since 1970 of the first and last moment of the years 1 to 9999
const (
	firstMicro = -62135596800 * 1e6
	lastMicro  = 253402300800*1e6 - 1
)

// parseMoment returns microseconds since 1970 for the first format that takes s,
// in UTC where s has no zone. Numbers in JSON fit unix formats only.
func parseMoment(s []byte, formats []format, number bool) (micros int64, ok bool) {
	for _, f := range formats {
		if number && f.kind < unixSeconds {
			continue
		}
		ok = false
		switch f.kind {
		case anyLayout:
		case dateOnly:
			var day int64
			day, ok = parseDay(s)
			micros = day * 86400e6
			ok = ok && len(s) == len(time.DateOnly)
		case dateTime, dateTimeT, rfc3339:
			separator, zoned, _ := f.kind.clock()
			micros, ok = parseClock(s, separator, zoned)
		case unixSeconds, unixMillis:
			shift := 6
			if f.kind == unixMillis {
				shift = 3
			}
			if d, isNumber := parseDecimal(s); isNumber {
				micros, _, ok = d.truncated(shift)
			}
		}
		if !ok && f.kind < unixSeconds {
			var t time.Time
			if t, ok = parseLayout(f.layout, s); ok {
				if year := t.UTC().Year(); year < 1 || year > 9999 {
					return 0, false
				}
				micros = t.UnixMicro()
			}
		}
		if ok {
			return micros, firstMicro <= micros && micros <= lastMicro
		}
	}
	return 0, false
}

// parseDate returns days since 1970 for the first format that takes s. The day
// is the one that s names, whatever its zone.
func parseDate(s []byte, formats []format) (days int64, ok bool) {
	for _, f := range formats {
		if f.kind == dateOnly && len(s) == len(time.DateOnly) {
			if days, ok = parseDay(s); ok {
				return days, true
			}
		}
		if t, ok := parseLayout(f.layout, s); ok {
			year, month, day := t.Date()
			return daysSince1970(year, int(month), day), year >= 1 && year <= 9999
		}
	}
	return 0, false
}

// parseLayout is time.Parse, but refuses zone abbreviations other than UTC and
// GMT, for which time.Parse would make up an offset of zero.
func parseLayout(layout string, s []byte) (time.Time, bool) {
	t, err := time.ParseInLocation(layout, unsafe.String(unsafe.SliceData(s), len(s)), time.UTC)
	if err != nil {
		return time.Time{}, false
	}
	zone, offset := t.Zone()
	made := zone != "" && zone != "UTC" && zone != "GMT" && offset == 0
	return t, !made
}

// parseDay reads the days since 1970 of the date that s begins with, written
// YYYY-MM-DD, in the years 1 to 9999.
func parseDay(s []byte) (days int64, ok bool) {
	if len(s) < 10 || s[4] != '-' || s[7] != '-' {
		return 0, false
	}
	century, ok1 := twoDigits(s, 0)
	year, ok2 := twoDigits(s, 2)
	month, ok3 := twoDigits(s, 5)
	day, ok4 := twoDigits(s, 8)
	year += 100 * century
	if !ok1 || !ok2 || !ok3 || !ok4 || year < 1 || month < 1 || month > 12 || day < 1 || day > daysIn(year, month) {
		return 0, false
	}
	return daysSince1970(year, month, day), true
}

// parseClock reads YYYY-MM-DD, a separator, HH:MM:SS, perhaps a fraction of any
// length, and, if zoned, Z or +HH:MM.
func parseClock(s []byte, separator byte, zoned bool) (micros int64, ok bool) {
	micros, n := clock(s, separator, zoned)
	return micros, n > 0 && n == len(s)
}

// clock is parseClock of what s begins with. It returns the length of that, or 0.
func clock(s []byte, separator byte, zoned bool) (micros int64, n int) {
	days, ok := parseDay(s)
	if !ok || len(s) < 19 || s[10] != separator || s[13] != ':' || s[16] != ':' {
		return 0, 0
	}
	hour, ok1 := twoDigits(s, 11)
	minute, ok2 := twoDigits(s, 14)
	second, ok3 := twoDigits(s, 17)
	if !ok1 || !ok2 || !ok3 || hour > 23 || minute > 59 || second > 59 {
		return 0, 0
	}
	i := 19
	fraction := 0
	if i < len(s) && s[i] == '.' {
		unit := 100000
		i++
		for ; i < len(s) && s[i]-'0' <= 9; i++ {
			fraction += int(s[i]-'0') * unit
			unit /= 10
		}
		if i == 20 {
			return 0, 0
		}
	}
	offset := 0
	if zoned {
		switch rest := s[i:]; {
		case len(rest) >= 1 && rest[0] == 'Z':
			i++
		case len(rest) >= 6 && (rest[0] == '+' || rest[0] == '-') && rest[3] == ':':
			hours, ok1 := twoDigits(rest, 1)
			minutes, ok2 := twoDigits(rest, 4)
			if !ok1 || !ok2 || hours > 23 || minutes > 59 {
				return 0, 0
			}
			if offset = hours*3600 + minutes*60; rest[0] == '-' {
				offset = -offset
			}
			i += 6
		default:
			return 0, 0
		}
	}
	seconds := days*86400 + int64(hour*3600+minute*60+second-offset)
	return seconds*1e6 + int64(fraction), i
}

func twoDigits(s []byte, i int) (n int, ok bool) {
	high, low := s[i]-'0', s[i+1]-'0'
	return int(high)*10 + int(low), high <= 9 && low <= 9
}

var monthDays = [...]int{1: 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}

func daysIn(year, month int) int {
	if month == 2 && year%4 == 0 && (year%100 != 0 || year%400 == 0) {
		return 29
	}
	return monthDays[month]
}

// daysSince1970 counts in the proleptic Gregorian calendar, with years that
// begin in March so that the leap day is the last one.
func daysSince1970(year, month, day int) int64 {
	if month <= 2 {
		year--
		month += 12
	}
	return int64(365*year + year/4 - year/100 + year/400 + (153*(month-3)+2)/5 + day - 1 - 719468)
}
