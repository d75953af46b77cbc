package connectortest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/winchdata/winch/pkg/connector"
)

var contractChecks = []Check{
	{
		ID: "P1", Rule: "everything that belongs before a checkpoint has been emitted before it",
		Source: fromContract, Means: "after a crash the records between are never read: they are lost", run: checkP1,
	},
	{
		ID: "P2", Rule: "a pull of a cursor stream that emitted a record ends with a checkpoint; a snapshot stream has none",
		Source: fromContract, Means: "the stream starts over each time and its last records are never kept", run: checkP2,
	},
	{
		ID: "P3", Rule: "after the emitter returns an error nothing more is emitted, and that error is returned",
		Source: fromContract, Means: "a full disk or a lost database is not noticed, and the vendor is asked for nothing", run: checkP3,
	},
	{
		ID: "P4", Rule: "after cancellation Pull returns within five seconds, with an error that wraps that of the context",
		Source: fromContract, Means: "the agent cannot be stopped, or takes a stop for a failure", run: checkP4,
	},
	{
		ID: "P5", Rule: "stopping anywhere and resuming from the last checkpoint yields the same primary keys as not stopping",
		Source: fromContract, Means: "an interruption loses records", run: checkP5,
	},
	{
		ID: "P6", Rule: "the same request gives the same requests to the vendor: no clock, no randomness that matters",
		Source: fromContract, Means: "a window that is read again is another window, and what was held is deleted", run: checkP6,
	},
	{
		ID: "P7", Rule: "a cursor that cannot be read is KindConfig with a hint, never a silent fresh start",
		Source: fromContract, Means: "after an upgrade years of data are read again, or skipped, and nobody is told", run: checkP7,
	},
	{
		ID: "P8", Rule: "a record is one JSON object, with a primary key that is present and not null",
		Source: fromContract, Means: "the record cannot be stored", run: checkP8,
	},
	{
		ID: "P9", Rule: "a window is read whole, and only the window: two windows give what the window of both gives",
		Source: fromContract, Means: "records at the edges of windows are lost, or land twice and are deleted again", run: checkP9,
	},
	{
		ID: "P10", Rule: "no secret appears in a record, a cursor, an error or a log line, whatever the vendor answers",
		Source: fromContract, Means: "credentials end in log collectors and tickets", run: checkP10, last: true,
	},
}

// sample returns at most n of the numbers below total, spread evenly, with the
// first and the last.
func sample(total, n int) []int {
	var chosen []int
	for i := range min(total, n) {
		at := i
		if total > n {
			at = i * (total - 1) / (n - 1)
		}
		chosen = append(chosen, at)
	}
	return chosen
}

func checkP2(_ context.Context, e *exam) (string, error) {
	var p problems
	n := 0
	for _, s := range e.good() {
		last := s.events[len(s.events)-1]
		_, cursor := committed(s.events)
		switch {
		case s.stream.Mode == connector.ModeCursor && last.record != nil:
			p.addf("%s: the pull ended with a record", where(s.req))
		case s.stream.Mode == connector.ModeSnapshot && cursor != nil:
			p.addf("%s: a snapshot with a checkpoint", where(s.req))
		case s.stream.Mode != connector.ModeWindow:
			n++
		}
	}
	if err := p.err(); err != nil {
		return "", err
	}
	if n == 0 {
		return "", lacks("no cursor or snapshot stream had a record")
	}
	return fmt.Sprintf("%d streams", n), nil
}

func checkP6(ctx context.Context, e *exam) (string, error) {
	if len(e.good()) == 0 {
		return "", lacks("no stream had a record")
	}
	s, err := e.open(ctx)
	if err != nil {
		return "", err
	}
	defer s.close()
	// Another second than that of the first reading, for clocks that tell seconds.
	select {
	case <-time.After(1100 * time.Millisecond):
	case <-ctx.Done():
		return "", ctx.Err()
	}
	var p problems
	told := 24*time.Hour*2 < time.Since(e.candidate.AsOf).Abs()
	for _, one := range e.slices {
		if one.err != nil {
			continue
		}
		before := len(s.gate.exchanges(false))
		if err := s.pull(ctx, one.req, &recording{}); err != nil {
			p.addf("%s, read a second time: %v", where(one.req), err)
			continue
		}
		again := s.gate.exchanges(false)[before:]
		want, got := targets(one.requests), targets(again)
		if i := slices.IndexFunc(got, func(t string) bool { return !slices.Contains(want, t) }); i >= 0 {
			p.addf("%s, read a second time, asks for %.200s, which it did not the first time", where(one.req), got[i])
		} else if len(want) != len(got) {
			p.addf("%s takes %d requests, and %d the second time", where(one.req), len(want), len(got))
		}
		for _, x := range again {
			if told && mentionsNow(x) {
				p.addf("%s: %s %.200s names the present, though the pull is as of %s", where(one.req), x.method, x.target, e.candidate.AsOf.Format(time.DateOnly))
			}
		}
	}
	if !told {
		return "each slice twice, seconds apart; AsOf is near now, so that a day taken from the clock would not show", p.err()
	}
	return "each slice twice, seconds apart", p.err()
}

var momentPattern = regexp.MustCompile(`\d{4}-\d\d-\d\d|\b\d{10}(?:\d{3})?\b|\b\d{8}\b`)

// mentionsNow reports whether a request names a moment about now.
func mentionsNow(x *exchange) bool {
	target, err := url.QueryUnescape(x.target)
	if err != nil {
		target = x.target
	}
	for _, text := range momentPattern.FindAllString(target+" "+string(x.body), -1) {
		var at time.Time
		var err error
		switch len(text) {
		case len("20060102"):
			at, err = time.Parse("20060102", text)
		case len("2006-01-02"): // or a Unix time
			if at, err = time.Parse(time.DateOnly, text); err != nil {
				at, err = unixMoment(text, time.Second)
			}
		default:
			at, err = unixMoment(text, time.Millisecond)
		}
		if err == nil && time.Since(at).Abs() < 26*time.Hour {
			return true
		}
	}
	return false
}

func unixMoment(text string, unit time.Duration) (time.Time, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, err
	}
	if unit == time.Millisecond {
		return time.UnixMilli(n), nil
	}
	return time.Unix(n, 0), nil
}

func checkP7(ctx context.Context, e *exam) (string, error) {
	s, err := e.open(ctx)
	if err != nil {
		return "", err
	}
	defer s.close()
	var p problems
	streams := 0
	for _, one := range e.good() {
		if _, cursor := committed(one.events); cursor == nil {
			continue
		}
		streams++
		for _, garbage := range []string{"no JSON", `{"no_such_position_of_the_exam":1}`, `[4711]`} {
			req := one.req
			req.Cursor = connector.Cursor(garbage)
			var r recording
			err := s.pull(ctx, req, &r)
			switch {
			case err == nil:
				p.addf("%s with the cursor %s: no error, %d records", where(req), garbage, len(r.records()))
			case connector.KindOf(err) != connector.KindConfig:
				p.addf("%s with the cursor %s: %s, want KindConfig", where(req), garbage, describe(err))
			case connector.HintOf(err) == "":
				p.addf("%s with the cursor %s: the error has no hint", where(req), garbage)
			case len(r.events) > 0:
				p.addf("%s with the cursor %s: %d events before the error", where(req), garbage, len(r.events))
			}
		}
	}
	if streams == 0 {
		return "", lacks("no stream has cursors")
	}
	return fmt.Sprintf("%d streams", streams), p.err()
}

func checkP8(_ context.Context, e *exam) (string, error) {
	var p problems
	n := 0
	for _, s := range e.slices {
		for _, ev := range s.events {
			if ev.record == nil {
				continue
			}
			n++
			var fields map[string]json.RawMessage
			if json.Unmarshal(ev.record, &fields) != nil || fields == nil {
				p.addf("%s: a record is no JSON object", where(s.req))
			} else if _, err := keyOf(s.stream, ev.record); err != nil {
				p.addf("%s: %v", where(s.req), err)
			}
		}
	}
	if n == 0 {
		return "", lacks("no stream had a record")
	}
	return fmt.Sprintf("%d records", n), p.err()
}

func checkP9(ctx context.Context, e *exam) (string, error) {
	s, err := e.open(ctx)
	if err != nil {
		return "", err
	}
	defer s.close()
	var p problems
	streams := 0
	for _, one := range e.good() {
		if one.stream.Mode != connector.ModeWindow || one.stream.TimeColumn == "" {
			continue
		}
		streams++
		column, _ := one.stream.Column(one.stream.TimeColumn)
		for _, event := range one.events {
			if at, ok := momentOf(column, event.record); ok && !one.req.Window.Contains(at) {
				p.addf("%s: a record of %s lies outside", where(one.req), at.Format(time.RFC3339))
			}
		}
		earlier, both := one.req, one.req
		earlier.Window = connector.Window{Since: one.stream.Slice.Before(one.req.Window.Since), Until: one.req.Window.Since}
		both.Window.Since = earlier.Window.Since
		var first, whole recording
		if err := errors.Join(s.pull(ctx, earlier, &first), s.pull(ctx, both, &whole)); err != nil {
			p.addf("%s: %v", where(both), err)
			continue
		}
		if text := difference(keysOf(one.stream, first.events, one.events), keysOf(one.stream, whole.events)); text != "" {
			p.addf("%s against the two windows in it: %s", where(both), text)
		}
	}
	if streams == 0 {
		return "", lacks("no window stream with a time column had a record")
	}
	return fmt.Sprintf("%d streams", streams), p.err()
}

// momentOf reads a time column of a record; ok is false where it holds none.
func momentOf(column connector.Column, raw []byte) (at time.Time, ok bool) {
	if raw == nil {
		return time.Time{}, false
	}
	value, err := valueOf(column, raw)
	if err != nil {
		return time.Time{}, false
	}
	text := strings.Trim(value, `"`)
	formats := column.Formats
	if len(formats) == 0 {
		formats = []string{time.RFC3339Nano}
		if column.Type == connector.TypeDate {
			formats = []string{time.DateOnly}
		}
	}
	for _, format := range formats {
		switch format {
		case "unix":
			at, err = unixMoment(text, time.Second)
		case "unix_ms":
			at, err = unixMoment(text, time.Millisecond)
		default:
			at, err = time.Parse(format, text)
		}
		if err == nil {
			return at, true
		}
	}
	return time.Time{}, false
}

// checkP10 has the vendor repeat all it was told in its refusals, and then looks
// at what came out of the connector in this check and all others.
func checkP10(ctx context.Context, e *exam) (string, error) {
	lead, err := e.lead()
	if err != nil {
		return "", err
	}
	for _, token := range []bool{true, false} {
		for _, status := range []int{400, 401, 403, 500} {
			if err := e.echo(ctx, lead, token, status); err != nil {
				return "", err
			}
		}
	}
	var p problems
	for _, leak := range e.secrets.found() {
		p.addf("%s", leak)
	}
	for _, s := range e.good() {
		for _, column := range s.stream.Columns {
			if column.Secret && slices.ContainsFunc(s.events, func(ev event) bool {
				value, err := valueOf(column, ev.record)
				return ev.record != nil && err == nil && value != "null"
			}) {
				p.addf("%s: records hold %s, which is declared secret", s.stream.Name, column.Name)
			}
		}
	}
	return "looked for in all that came out in the whole exam", p.err()
}

// echo answers one request with a refusal that repeats the request's secrets.
func (e *exam) echo(ctx context.Context, lead *slice, token bool, status int) error {
	s, err := e.open(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	s.gate.set(func(x *exchange) *answer {
		if x.token != token {
			return nil
		}
		said, err := json.Marshal(map[string]string{
			"error": "refused", "error_description": "not good: " + x.credential + " " + string(x.body), "message": "no: " + x.credential,
		})
		if err != nil {
			return nil
		}
		return reply(status, string(said)).with("Retry-After", "3600") // no reason to wait here
	})
	_ = s.pull(ctx, lead.req, &recording{}) // what it says has been scanned
	return nil
}
