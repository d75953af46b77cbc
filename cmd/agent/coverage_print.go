package main

import (
	"fmt"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/pkg/connector"
)

const (
	screenWidth  = 80
	calendarDays = 366 // drawn of one stream unless --from says more
	gapsShown    = 8
)

// marks are what the states of days are drawn with. They are told apart without
// colour, which only a terminal adds.
var marks = []struct {
	state       ledger.DayState
	mark, color string
}{
	{ledger.DayHeld, "■", "32"},
	{ledger.DayProvisional, "□", "36"},
	{ledger.DayStale, "?", "33"},
	{ledger.DayMissing, "·", "35"},
	{ledger.DayFailed, "✗", "31"},
}

// A canvas draws marks, with colour or without.
type canvas struct{ color bool }

func (a *app) canvas() canvas {
	_, refused := os.LookupEnv("NO_COLOR") // https://no-color.org
	return canvas{color: isTerminal(a.stdout) && !refused && os.Getenv("TERM") != "dumb"}
}

// strip draws states side by side; runs of one state share their colour codes.
func (c canvas) strip(states []ledger.DayState) string {
	var b strings.Builder
	color := ""
	for _, s := range states {
		mark, want := " ", ""
		for _, m := range marks {
			if m.state == s {
				mark, want = m.mark, m.color
			}
		}
		if c.color && want != color {
			if color = want; color == "" {
				want = "0"
			}
			b.WriteString("\x1b[" + want + "m")
		}
		b.WriteString(mark)
	}
	if color != "" {
		b.WriteString("\x1b[0m")
	}
	return b.String()
}

func (c canvas) legend() string {
	var parts []string
	for _, m := range marks {
		parts = append(parts, c.strip([]ledger.DayState{m.state})+" "+string(m.state))
	}
	return strings.Join(parts, "   ")
}

func (a *app) printCoverage(all []covered, c coverer) error {
	if a.json() {
		return a.printJSON(newCoverageReport(all, c.now))
	}
	switch {
	case len(all) == 0:
		a.printf("nothing is configured, and the ledger is empty\n")
	case c.stream != "":
		a.printCalendar(all[0], c.now, c.from.IsZero())
	default:
		a.printOverview(all, c.now)
	}
	return nil
}

// printCalendar draws one stream, a row a month.
func (a *app) printCalendar(one covered, now time.Time, cut bool) {
	draw := a.canvas()
	a.printf("%s\n\n", one.title())
	if one.whole != nil {
		a.printf("%s\n", one.wholeText(now))
		if one.whole.err != "" {
			a.printf("the last attempt failed: %s\n", one.whole.err)
		}
		return
	}
	days := one.days
	if len(days) == 0 {
		a.printf("no day is wanted yet\n")
		return
	}
	if earlier := len(days) - calendarDays; cut && earlier > 0 {
		for days[earlier].Start.Day() != 1 { // whole months
			earlier++
		}
		s := ledger.Summarize(days[:earlier])
		a.printf("before %s: %d of %d days held; --from %s shows them\n\n", days[earlier].Start.Format("2006-01"),
			s.Have(), s.Wanted, days[0].Start.Format(time.DateOnly))
		days = days[earlier:]
	}
	a.printf("         1   5    10   15   20   25   30\n")
	for len(days) > 0 {
		n := 1
		for n < len(days) && days[n].Start.Month() == days[0].Start.Month() {
			n++
		}
		month := make([]ledger.DayState, 31)
		for _, d := range days[:n] {
			month[d.Start.Day()-1] = d.State
		}
		s := ledger.Summarize(days[:n])
		a.printf("%s  %s", days[0].Start.Format("2006-01"), draw.strip(month))
		if s.Wanted > 0 {
			a.printf("  %2d of %2d", s.Have(), s.Wanted)
		}
		a.printf("\n")
		days = days[n:]
	}
	a.printf("\n%s\n\n", draw.legend())
	a.printf("%s\n", one.daysText(now))
	a.printGaps([]covered{one}, "")
}

// printOverview draws a line a stream, those of one source on a common scale.
func (a *app) printOverview(all []covered, now time.Time) {
	draw := a.canvas()
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].want.Source == all[0].want.Source {
			n++
		}
		a.printSource(all[:n], now, draw)
		all = all[n:]
	}
	a.printf("%s\n", draw.legend())
}

func (a *app) printSource(streams []covered, now time.Time, draw canvas) {
	name := 0
	var first, last time.Time
	for _, s := range streams {
		name = max(name, len(s.want.Stream.Name))
		if len(s.days) > 0 {
			if first.IsZero() || s.days[0].Start.Before(first) {
				first = s.days[0].Start
			}
			if end := s.days[len(s.days)-1].Start; end.After(last) {
				last = end
			}
		}
	}
	held := len("days")
	for _, s := range streams {
		held = max(held, len(s.heldText()))
	}
	width := max(14, screenWidth-len("  ")-name-len("  ")-len("  ")-held-len("  2006-01-02  99m"))
	total := int(last.Sub(first).Hours()/24+0.5) + 1
	per := max(1, (total+width-1)/width)
	a.printf("%s\n", streams[0].want.Source)
	if !first.IsZero() {
		scale := "each mark a day"
		if per > 1 {
			scale = fmt.Sprintf("each mark %d days", per)
		}
		a.printf("  %-*s  %-*s  %*s  %-10s  %s\n", name, "", width, scale, held, "days", "newest", "age")
	}
	for _, s := range streams {
		if s.whole != nil {
			a.printf("  %-*s  %s\n", name, s.want.Stream.Name, s.wholeText(now))
			continue
		}
		marks := make([]ledger.DayState, width)
		for _, d := range s.days {
			i := int(d.Start.Sub(first).Hours()/24+0.5) / per
			marks[i] = worst(marks[i], d.State)
		}
		newest, age := "-", "-"
		if day := s.summary.Newest; !day.Start.IsZero() {
			newest, age = day.Start.Format(time.DateOnly), ageText(now.Sub(day.ReadAt))
		}
		a.printf("  %-*s  %s  %*s  %-10s  %s\n", name, s.want.Stream.Name, draw.strip(marks), held, s.heldText(), newest, age)
	}
	a.printGaps(streams, "  ")
	a.printf("\n")
}

// worst returns the worse of two states.
func worst(a, b ledger.DayState) ledger.DayState {
	rank := func(s ledger.DayState) int {
		for i, m := range marks {
			if m.state == s {
				return i
			}
		}
		return -1
	}
	if rank(b) > rank(a) {
		return b
	}
	return a
}

// printGaps lists the gaps of streams of one source, and what fills them.
func (a *app) printGaps(streams []covered, indent string) {
	shown, left := 0, 0
	var incomplete []string
	for _, s := range streams {
		if len(s.summary.Gaps) > 0 && s.configured {
			incomplete = append(incomplete, s.want.Stream.Name)
		}
		for _, g := range s.summary.Gaps {
			if shown == gapsShown {
				left++
				continue
			}
			shown++
			line := indent
			if len(streams) > 1 {
				line += s.want.Stream.Name + " "
			}
			line += fmt.Sprintf("%s, %s %s", gapText(g), count(int64(g.Days), "day"), g.State)
			if g.Error != "" {
				line += ": " + g.Error
			}
			if utf8.RuneCountInString(line) > screenWidth {
				line = string([]rune(line)[:screenWidth-1]) + "…"
			}
			a.printf("%s\n", line)
		}
	}
	if left > 0 {
		a.printf("%sand %s more: --output json lists all\n", indent, count(int64(left), "gap"))
	}
	if len(incomplete) > 0 {
		command := "winch pull " + streams[0].want.Source
		if len(streams) == 1 {
			command += " --stream " + incomplete[0]
		}
		a.printf("%sto fill: %s\n", indent, command)
	}
}

// gapText is a gap as a range of days, both ends in it.
func gapText(g ledger.Gap) string {
	if g.Days == 1 {
		return g.First.Format(time.DateOnly)
	}
	return g.First.Format(time.DateOnly) + " to " + g.Last.Format(time.DateOnly)
}

// title names a stream and what its calendar depends on.
func (s covered) title() string {
	w := s.want
	title := fmt.Sprintf("%s/%s: %s", w.Source, w.Stream.Name, w.Stream.Mode)
	switch {
	case !s.configured:
		return fmt.Sprintf("%s/%s: not configured, as the ledger has it", w.Source, w.Stream.Name)
	case w.Stream.Mode != connector.ModeWindow:
		return title
	}
	title += fmt.Sprintf(", slices of %s", w.Slice)
	if !w.Lookback.IsZero() {
		title += fmt.Sprintf(", lookback %s", w.Lookback)
	}
	if w.Location != nil {
		title += ", days of " + w.Location.String()
	}
	return title
}

// heldText is how many of the days are held.
func (s covered) heldText() string {
	if s.whole != nil {
		return ""
	}
	return fmt.Sprintf("%d/%d", s.summary.Have(), s.summary.Wanted)
}

// daysText sums a window stream up in one line.
func (s covered) daysText(now time.Time) string {
	sum := s.summary
	text := fmt.Sprintf("%d of %s held", sum.Have(), count(int64(sum.Wanted), "day"))
	var of []string
	if sum.Provisional > 0 {
		of = append(of, fmt.Sprintf("%d provisional", sum.Provisional))
	}
	if sum.Stale > 0 {
		of = append(of, fmt.Sprintf("%d stale", sum.Stale))
	}
	if len(of) > 0 {
		text += " (" + strings.Join(of, ", ") + ")"
	}
	if day := sum.Newest; !day.Start.IsZero() {
		text += fmt.Sprintf("; newest %s, read %s ago", day.Start.Format(time.DateOnly), ageText(now.Sub(day.ReadAt)))
	}
	return text
}

// wholeText sums a snapshot or cursor stream up in one line.
func (s covered) wholeText(now time.Time) string {
	w := s.whole
	if w.readAt.IsZero() {
		return fmt.Sprintf("%s: never read, %s", s.want.Stream.Mode, w.state)
	}
	rows := count(w.rows, "row")
	if s.want.Stream.Mode == connector.ModeCursor {
		rows += " at the last read"
	}
	return fmt.Sprintf("%s: %s, read %s ago, %s", s.want.Stream.Mode, rows, ageText(now.Sub(w.readAt)), w.state)
}

// ageText is an age in its largest unit: 45s, 12m, 3h, 8d.
func ageText(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}
