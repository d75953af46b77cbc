package connectortest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// A Check is one rule that connectors are examined against.
type Check struct {
	// ID is short and does not change: "P5". D is about the definition, R reading
	// from a vendor that behaves, P the contract of package connector, T the
	// token flow, H hostile vendors, L what is left behind.
	ID string `json:"id"`
	// Rule is what is demanded.
	Rule string `json:"rule"`
	// Source is where the rule stands.
	Source string `json:"source"`
	// Means is what a failure does to whoever relies on the connector.
	Means string `json:"means"`

	run func(ctx context.Context, e *exam) (detail string, err error)
	// last checks are made when all others have been.
	last bool
	// timed checks measure time, and are made once more when they fail: a machine
	// with too much to do can be to blame, though hardly twice.
	timed bool
}

// An Outcome is how a check ended.
type Outcome string

// The outcomes.
const (
	Pass          Outcome = "pass"
	Fail          Outcome = "fail"
	NotApplicable Outcome = "does_not_apply"
)

// A Result is a check that was made.
type Result struct {
	Check
	Outcome Outcome `json:"outcome"`
	// Detail is what was seen: the figures of a pass, what is wrong with a
	// failure, a problem a line, or the ability that is lacking.
	Detail string `json:"detail"`
	// Seconds is how long the check took.
	Seconds float64 `json:"seconds"`
}

// A Report is the result of an exam.
type Report struct {
	// Connector is the name by which the connector goes.
	Connector string `json:"connector"`
	// Path is the executable, empty for a Definition.
	Path string `json:"path,omitempty"`
	// Passed reports whether no check failed.
	Passed bool `json:"passed"`
	// Results are in the order of Checks.
	Results []Result `json:"results"`
	// Seconds is how long the exam took.
	Seconds float64 `json:"seconds"`
}

// Checks returns all checks, in the order in which they are reported.
func Checks() []Check {
	return slices.Concat(definitionChecks, contractChecks, tokenChecks, hostileChecks, leftoverChecks)
}

func checkIDs() []string {
	var ids []string
	for _, c := range Checks() {
		ids = append(ids, c.ID)
	}
	return ids
}

// Count returns how many checks ended so.
func (r Report) Count(o Outcome) int {
	n := 0
	for _, result := range r.Results {
		if result.Outcome == o {
			n++
		}
	}
	return n
}

// WriteTo writes the report for a person, check by check: what was seen, of a
// failure also what it means, and of what does not apply the reason.
func (r Report) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	marks := map[Outcome]string{Pass: "pass", Fail: "FAIL", NotApplicable: " -- "}
	for _, result := range r.Results {
		fmt.Fprintf(&b, "%s  %-4s %s\n", marks[result.Outcome], result.ID, result.Rule)
		switch result.Outcome {
		case Fail:
			for line := range strings.SplitSeq(result.Detail, "\n") {
				fmt.Fprintf(&b, "           %s\n", line)
			}
			fmt.Fprintf(&b, "           this means: %s\n           the rule stands in %s\n", result.Means, result.Source)
		case NotApplicable:
			fmt.Fprintf(&b, "           does not apply: %s\n", result.Detail)
		case Pass:
			if result.Detail != "" {
				fmt.Fprintf(&b, "           %s\n", result.Detail)
			}
		}
	}
	verdict := "passed"
	if !r.Passed {
		verdict = "FAILED"
	}
	fmt.Fprintf(&b, "\n%s %s: %d passed, %d failed, %d do not apply, in %.1f s\n",
		r.Connector, verdict, r.Count(Pass), r.Count(Fail), r.Count(NotApplicable), r.Seconds)
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

// inapplicable is the reason why a check cannot be made of this candidate.
type inapplicable struct{ reason string }

func (i *inapplicable) Error() string { return i.reason }

func lacks(format string, args ...any) error { return &inapplicable{fmt.Sprintf(format, args...)} }

// problems collects what is wrong, a line each.
type problems struct{ found []string }

func (p *problems) addf(format string, args ...any) {
	if line := fmt.Sprintf(format, args...); len(p.found) < 10 && !slices.Contains(p.found, line) {
		p.found = append(p.found, line)
	}
}

func (p *problems) err() error {
	if len(p.found) == 0 {
		return nil
	}
	return errors.New(strings.Join(p.found, "\n"))
}
