package ledger

import (
	"time"

	"github.com/winchdata/winch/pkg/connector"
)

// A Split says how long the pieces are into which the table of a window stream is
// cut by time.
type Split string

// The splits. There is no finer one: a statement on the whole table locks each
// piece, and a server has room for some thousand locks.
const (
	Whole      Split = "" // one table
	SplitMonth Split = "month"
	SplitYear  Split = "year"
)

// Splits are the splits by name.
var Splits = []string{string(SplitMonth), string(SplitYear)}

// Cuts reports whether a stream's table is cut: only that of a window stream with
// a time column is.
func (s Split) Cuts(stream connector.Stream) bool {
	return s != Whole && stream.Mode == connector.ModeWindow && stream.TimeColumn != ""
}

// Pieces returns the months or years, in UTC, that hold the window.
func (s Split) Pieces(w connector.Window) []connector.Window {
	if s == Whole || w.Since.IsZero() || w.Until.IsZero() {
		return nil
	}
	first, months := w.Since.UTC(), 1
	month := first.Month()
	if s == SplitYear {
		month, months = time.January, 12
	}
	var all []connector.Window
	for since := time.Date(first.Year(), month, 1, 0, 0, 0, 0, time.UTC); since.Before(w.Until); since = since.AddDate(0, months, 0) {
		all = append(all, connector.Window{Since: since, Until: since.AddDate(0, months, 0)})
	}
	return all
}
