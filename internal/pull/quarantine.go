package pull

import (
	"errors"
	"fmt"
	"strings"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/quarantine"
	"github.com/winchdata/winch/internal/record"
	"github.com/winchdata/winch/pkg/connector"
)

// toldReasons is how many reasons a slice that fails for its records tells.
const toldReasons = 3

const hintRecords = "the vendor sends something else than the stream declares, and the slice was not landed: see whether a newer connector knows it, or raise "

// setAside counts what one attempt sets aside, against the limits of its stream.
type setAside struct {
	stream  *streamState
	limits  ledger.Limits
	records int64 // by this attempt
	open    int64 // of them, not yet committed
	reasons []string
}

func (s *streamState) setAside() setAside {
	limits := ledger.DefaultLimits
	if s.want.Quarantine != nil {
		limits = *s.want.Quarantine
	}
	return setAside{stream: s, limits: limits}
}

// add counts one record and reports whether it is within the limit.
func (a *setAside) add(cause *record.Error) bool {
	a.records++
	a.open++
	if len(a.reasons) < toldReasons {
		a.reasons = append(a.reasons, cause.Error())
	}
	a.stream.mu.Lock()
	defer a.stream.mu.Unlock()
	a.stream.aside++
	return a.stream.aside <= a.limits.Records
}

func (a *setAside) commit() { a.open = 0 }

// end gives back to the stream's limit what was not committed.
func (a *setAside) end(committed bool) {
	if committed {
		return
	}
	a.stream.mu.Lock()
	defer a.stream.mu.Unlock()
	a.stream.aside -= a.open
}

// quarantine sets a record aside that the sink refused, while the limit allows
// it. Any other error is returned as it is.
func (e *emitter) quarantine(raw []byte, err error) error {
	var bad *record.Error
	if !errors.As(err, &bad) {
		return err
	}
	if e.aside.limits.Records == 0 {
		return &connector.Error{Kind: connector.KindBadResponse, Err: err, Hint: hintRecords + "quarantine.limit"}
	}
	if !e.aside.add(bad) {
		return e.aside.tooMany(bad, fmt.Sprintf("more than %d records of the stream cannot become rows in this run", e.aside.limits.Records), "quarantine.limit")
	}
	err = e.writer.Quarantine(raw, bad)
	if errors.Is(err, quarantine.ErrFull) {
		return e.aside.tooMany(bad, err.Error(), "quarantine.limit or smaller slices")
	}
	return err
}

// judge refuses to commit a slice of which too large a share was set aside.
func (e *emitter) judge() error {
	a := &e.aside
	total := e.records
	if a.open == 0 || a.records <= ledger.ShareFloor || float64(a.records) <= a.limits.Share*float64(total) {
		return nil
	}
	return a.tooMany(nil, fmt.Sprintf("%d of %d records cannot become rows, more than %s of them", a.records, total, percent(a.limits.Share)), "quarantine.share")
}

// tooMany is the error of a slice that goes beyond a limit. It wraps the record's
// own, by which the slice is not tried again: the same records would come again.
func (a *setAside) tooMany(bad *record.Error, what, setting string) error {
	if bad == nil {
		bad = &record.Error{Want: "what the stream declares", Got: "something else"}
	}
	return &connector.Error{
		Kind: connector.KindBadResponse,
		Err:  &limitError{text: what + ": " + strings.Join(a.reasons, "; "), cause: bad},
		Hint: hintRecords + setting,
	}
}

// A limitError says which limit a slice went beyond, and why.
type limitError struct {
	text  string
	cause *record.Error
}

func (e *limitError) Error() string { return e.text }
func (e *limitError) Unwrap() error { return e.cause }

func percent(share float64) string {
	return strings.TrimSuffix(fmt.Sprintf("%.4g", 100*share), ".") + "%"
}
