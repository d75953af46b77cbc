package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/pull"
)

// missingReport is time of a stream that was due and could not be read, as JSON.
// Its bounds are null for a stream without windows.
type missingReport struct {
	Partition string     `json:"partition,omitempty"`
	Since     *time.Time `json:"since"`
	Until     *time.Time `json:"until"`
	Slices    int        `json:"slices"`
}

func reportMissing(s pull.StreamResult) []missingReport {
	var all []missingReport
	for _, m := range missing(s) {
		one := missingReport{Partition: m.whole.Partition, Slices: m.slices}
		one.Since, one.Until = bounds(m.whole.Window)
		all = append(all, one)
	}
	return all
}

// A gap is adjacent slices as one.
type gap struct {
	whole  ledger.Slice
	slices int
}

// missing are the slices that a stream lacks, by partition and time.
func missing(s pull.StreamResult) []gap {
	all := slices.SortedFunc(slices.Values(s.Missing), func(a, b ledger.Slice) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), a.Window.Since.Compare(b.Window.Since))
	})
	var gaps []gap
	for i := 0; i < len(all); {
		whole, n := all[i], i+1
		for ; n < len(all) && all[n].Partition == whole.Partition && all[n].Window.Since.Equal(whole.Window.Until); n++ {
			whole.Window.Until = all[n].Window.Until
		}
		gaps = append(gaps, gap{whole, n - i})
		i = n
	}
	return gaps
}

// mostMissing is how many times of a stream are named as missing.
const mostMissing = 5

// missingText names the times that a stream lacks.
func missingText(s pull.StreamResult) string {
	var texts []string
	for _, m := range missing(s) {
		text := m.whole.Window.String()
		if m.whole.Window.IsZero() {
			continue
		}
		if m.whole.Partition != "" {
			text = "[" + m.whole.Partition + "] " + text
		}
		texts = append(texts, text)
	}
	if more := len(texts) - mostMissing; more > 0 {
		texts = append(texts[:mostMissing], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(texts, ", ")
}
