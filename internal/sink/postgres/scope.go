package postgres

import (
	"slices"
	"strconv"
	"time"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/record"
	"github.com/winchdata/winch/pkg/connector"
)

// scope counts the rows that a slice reports and that, once landed, are among
// those that the slice should hold. If as many are at rest there, none of them has
// vanished. It is exact as long as each key was counted once and nobody else
// changed the table meanwhile.
type scope struct {
	all       bool  // every row: a snapshot
	column    int   // the time column, or -1
	since     int64 // bounds, as values of that column
	until     int64
	partition int // the column that tells the slice's partition, or -1
	value     string
	exact     bool // false if the partition's column cannot be compared here
	rows      int64
}

func newScope(t table, slice ledger.Slice) scope {
	index := func(name string) int {
		return slices.IndexFunc(t.columns, func(c connector.Column) bool { return name != "" && c.Name == name })
	}
	s := scope{all: t.mode == connector.ModeSnapshot, column: index(t.timeColumn.Name), partition: -1, exact: true}
	since, until := bounds(t, slice.Window)
	if s.since, s.until = since.UnixMicro(), until.UnixMicro(); t.timeColumn.Type == connector.TypeDate {
		s.since, s.until = since.Unix()/86400, until.Unix()/86400
	}
	if slice.Partition != "" && t.partition != "" {
		s.partition, s.value = index(t.partition), slice.Partition
		kind := connector.TypeText
		if s.partition >= 0 {
			kind = t.columns[s.partition].Type
		}
		s.exact = s.partition >= 0 && (kind == connector.TypeText || kind == connector.TypeBigint)
	}
	return s
}

func (s *scope) count(row *record.Row) {
	if !s.all {
		if s.column < 0 {
			return
		}
		if v := &row.Values[s.column]; v.Null || v.Int < s.since || v.Int >= s.until {
			return
		}
	}
	if s.partition >= 0 && s.exact {
		v := &row.Values[s.partition]
		if v.Null || v.Bytes != nil && string(v.Bytes) != s.value || v.Bytes == nil && strconv.FormatInt(v.Int, 10) != s.value {
			return
		}
	}
	s.rows++
}

// bounds returns a window as values of the time column. A date lies where its
// first instant lies, in the location of the window, and is returned as midnight
// in UTC:
//
//	dates    ...|  1st  |  2nd  |  3rd  |...
//	window        [--------------)          from noon of the 1st to noon of the 2nd
//	bounds              [2nd    )3rd        holds the 2nd alone
func bounds(t table, window connector.Window) (since, until time.Time) {
	if t.timeColumn.Type != connector.TypeDate {
		return window.Since, window.Until
	}
	return firstDate(window.Since), firstDate(window.Until)
}

// firstDate returns the first date that begins at t or later.
func firstDate(t time.Time) time.Time {
	y, m, d := t.Date()
	if time.Date(y, m, d, 0, 0, 0, 0, t.Location()).Before(t) {
		d++
	}
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
}
