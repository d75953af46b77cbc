package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/pkg/connector"
)

// defaultRisk is the share of rows that may change unseen after the lookback that
// is recommended.
const defaultRisk = "0.1%"

func (a *app) restatementCommand() *cobra.Command {
	var risk string
	cmd := &cobra.Command{
		Use:   "restatement SOURCE/STREAM",
		Short: "show how much windows change by their age, the evidence for a lookback",
		Long: `Whenever a window is read again, the merge counts how many of its rows were new,
different or gone. This shows that share by the window's age at the read, and
recommends a lookback: the shortest after which at most --risk of the rows would
change unseen. Ages are in days, or in hours where slices are shorter than a day.

Nothing is known of ages at which no window was ever read again; if there is too
little evidence, it says so. It reads the store, not the vendor.`,
		Example: `  winch restatement kaisa_se/widget_daily
  winch restatement fospha/performance_daily --risk 1% --output json | jq .recommendation`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			threshold, err := parseShare(risk)
			if err != nil {
				return err
			}
			source, stream, ok := strings.Cut(args[0], "/")
			if !ok {
				return usagef("winch restatement "+source+"/STREAM; winch coverage "+source+" lists the streams", "%q names no stream", args[0])
			}
			cfg, store, closeStore, err := a.openStore(cmd.Context())
			if err != nil {
				return err
			}
			defer closeStore()
			c := coverer{app: a, cfg: cfg, store: store, launcher: a.launcher(cfg), now: time.Now(), source: source, stream: stream}
			found, err := c.streams(cmd.Context())
			if err != nil {
				return err
			}
			one := found[0]
			if one.whole != nil {
				return usagef("a window stream", "%s is a %s stream: it has no windows that could change", args[0], one.want.Stream.Mode)
			}
			unit := ageUnit(one.want.Slice)
			rereads, err := store.Rereads(cmd.Context(), source, stream, unit)
			if err != nil {
				return err
			}
			points := ledger.Restatement(rereads)
			r := restated{covered: one, unit: unit, points: points, advice: ledger.Advise(points, threshold), threshold: threshold}
			if a.json() {
				return a.printJSON(r.report())
			}
			a.printRestatement(r)
			return nil
		},
	}
	cmd.Flags().StringVar(&risk, "risk", defaultRisk, "`SHARE` of the rows that may change unseen, such as 0.1% or 0.001")
	return cmd
}

// parseShare reads a share of one, as per cent or as a fraction.
func parseShare(text string) (float64, error) {
	number, percent := strings.CutSuffix(text, "%")
	share, err := strconv.ParseFloat(number, 64)
	if percent {
		share /= 100
	}
	if err != nil || !(share >= 0 && share < 1) {
		return 0, usagef("a share such as 0.1% or 0.001", "--risk %q", text)
	}
	return share, nil
}

// ageUnit is what ages are counted in.
func ageUnit(slice connector.Span) time.Duration {
	if slice.Positive() && slice.Months == 0 && slice.Days == 0 {
		return time.Hour
	}
	return 24 * time.Hour
}

// restated is what is known about how a stream changes.
type restated struct {
	covered
	unit      time.Duration
	points    []ledger.RestatementPoint
	advice    ledger.Advice
	threshold float64
}

// age is so many units as people and settings write it: 3d, 12h.
func (r restated) age(n int) string {
	if n == 0 {
		return "0"
	}
	return r.span(n).String()
}

func (r restated) span(n int) connector.Span {
	if r.unit < 24*time.Hour {
		return connector.Span{Clock: time.Duration(n) * r.unit}
	}
	return connector.Days(n)
}

// lookback is that of the configuration, in units and rounded down; ok
// is false if it is not known.
func (r restated) lookback(now time.Time) (n int, ok bool) {
	if !r.covered.configured {
		return 0, false
	}
	return int(now.Sub(r.want.Lookback.Before(now)) / r.unit), true
}

func (r restated) reads() int64 {
	var n int64
	for _, p := range r.points {
		n += p.Reads
	}
	return n
}

// shareBar is how wide the bar of the largest share is.
const shareBar = 32

func (a *app) printRestatement(r restated) {
	w := r.want
	a.printf("%s/%s: windows that were read again\n\n", w.Source, w.Stream.Name)
	if r.reads() == 0 {
		a.printf("no window was read again yet, so nothing is known about how windows change\n")
		a.printf("a lookback reads windows again while they are young\n")
		return
	}
	spans := ledger.Ages(r.points)
	largest := 0.0
	for _, span := range spans {
		largest = max(largest, ledger.Merge(span).Share())
	}
	a.printf("%9s  %8s  %8s  %-*s  %s\n", "age", "re-reads", "changed", shareBar, "", "still to come")
	for _, span := range spans {
		p := ledger.Merge(span)
		age := r.age(span[0].Age)
		if len(span) > 1 {
			age = fmt.Sprintf("%d-%s", span[0].Age, r.age(p.Age))
		}
		a.printf("%9s  %8d  %8s  %-*s  %13s\n", age, p.Reads, shareText(p.Share()), shareBar, bar(p.Share(), largest), shareText(p.Residual))
	}
	a.printf("\n%s\n", r.recommendation())
	if text := r.comparison(time.Now()); text != "" {
		a.printf("%s\n", text)
	}
}

// bar draws a share in eighths of a mark; what is there at all is seen.
func bar(share, largest float64) string {
	if share <= 0 || largest <= 0 {
		return ""
	}
	eighths := max(1, int(share/largest*shareBar*8+0.5))
	text := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		text += string([]rune("▏▎▍▌▋▊▉")[rest-1])
	}
	return text
}

// shareText is a share in per cent, with as many digits as it takes.
func shareText(share float64) string {
	switch {
	case share == 0:
		return "0%"
	case share < 0.0001:
		return "<0.01%"
	case share < 0.1:
		return fmt.Sprintf("%.2f%%", 100*share)
	default:
		return fmt.Sprintf("%.1f%%", 100*share)
	}
}

// recommendation says which lookback the evidence speaks for, or what it lacks.
func (r restated) recommendation() string {
	ad := r.advice
	switch ad.Lacks {
	case ledger.LackReads:
		return fmt.Sprintf("too little evidence for a recommendation: %s so far", count(r.reads(), "re-read"))
	case ledger.LackSettling:
		return fmt.Sprintf("no lookback can be recommended: windows still changed at %s, the greatest age at\nwhich one was read again; a longer lookback would show when they settle", r.age(ad.Oldest))
	case ledger.LackOld:
		return fmt.Sprintf("too little evidence for a recommendation: windows seem settled at %s, but only\n%s came later; a longer lookback would show more", r.age(ad.Lookback), count(ad.Reads, "re-read"))
	}
	return fmt.Sprintf("recommended: lookback %s; after it %s of the rows would change unseen\n(at most %s are allowed; %s were later, the last at %s; of older windows nothing is known)",
		r.age(ad.Lookback), shareText(ad.Residual), shareText(r.threshold), count(ad.Reads, "re-read"), r.age(ad.Oldest))
}

// comparison says what the configured lookback means.
func (r restated) comparison(now time.Time) string {
	n, known := r.lookback(now)
	switch {
	case !known:
		return ""
	case n > r.advice.Oldest:
		return fmt.Sprintf("yours is %s", r.want.Lookback)
	default:
		return fmt.Sprintf("yours is %s: after it %s of the rows change unseen", r.want.Lookback, shareText(ledger.Unseen(r.points, n)))
	}
}

// restatementReport is how a stream changes, as JSON. Scripts rely on it: fields
// may be added, never changed.
type restatementReport struct {
	Source         string          `json:"source"`
	Stream         string          `json:"stream"`
	Unit           string          `json:"unit"` // of ages: day or hour
	Rereads        int64           `json:"rereads"`
	Lookback       *connector.Span `json:"lookback"` // of the configuration
	Points         []pointReport   `json:"points"`
	Recommendation adviceReport    `json:"recommendation"`
}

// A pointReport is what the re-reads at one age found.
type pointReport struct {
	Age      int     `json:"age"`
	Rereads  int64   `json:"rereads"`
	Rows     int64   `json:"rows"`
	Changed  int64   `json:"changed"`
	Share    float64 `json:"share"`
	Residual float64 `json:"residual"` // share of rows that changes later
}

type adviceReport struct {
	// Lookback is null where there is not enough evidence; Lacks says what is
	// lacking: reads, old (re-reads after the lookback) or settling.
	Lookback  *connector.Span `json:"lookback"`
	Residual  float64         `json:"residual"`
	Threshold float64         `json:"threshold"`
	Rereads   int64           `json:"rereads_after"`
	Lacks     *string         `json:"lacks"`
}

func (r restated) report() restatementReport {
	report := restatementReport{
		Source: r.want.Source, Stream: r.want.Stream.Name, Unit: "day", Rereads: r.reads(), Points: []pointReport{},
		Recommendation: adviceReport{Residual: r.advice.Residual, Threshold: r.threshold, Rereads: r.advice.Reads, Lacks: orNil(string(r.advice.Lacks))},
	}
	if r.unit == time.Hour {
		report.Unit = "hour"
	}
	if r.covered.configured {
		report.Lookback = &r.want.Lookback
	}
	if r.advice.Enough {
		span := r.span(r.advice.Lookback)
		report.Recommendation.Lookback = &span
	}
	for _, p := range r.points {
		if p.Reads > 0 {
			report.Points = append(report.Points, pointReport{p.Age, p.Reads, p.Rows, p.Changed, p.Share(), p.Residual})
		}
	}
	return report
}
