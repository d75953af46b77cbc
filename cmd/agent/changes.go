package main

import (
	"strings"

	"github.com/winchdata/winch/internal/ledger"
)

// changeReport is something that changed in a stream since it was read last, as
// JSON. Scripts rely on it.
type changeReport struct {
	Source string `json:"source"`
	Stream string `json:"stream"`
	ledger.Change
}

func reportChanges(source, stream string, changes []ledger.Change) []changeReport {
	var all []changeReport
	for _, c := range changes {
		all = append(all, changeReport{source, stream, c})
	}
	return all
}

// changesOf compares what is wanted with what the stream was read as last; nothing
// if it was never read.
func changesOf(declared map[string]ledger.Declaration, want ledger.Want, entries []ledger.Entry) []ledger.Change {
	was, ok := declared[want.Stream.Name]
	if !ok {
		return nil
	}
	return ledger.Changes(was, want, entries)
}

// printChanges tells a person what changed, what it means and what to run.
func (a *app) printChanges(changes []changeReport) {
	for _, c := range changes {
		how := "changed"
		if c.Refused {
			how = "REFUSED"
		}
		a.printf("  %s: %s/%s: %s\n", how, c.Source, c.Stream, c.Change)
		if c.Command == "" {
			continue
		}
		verb := "read it again"
		if strings.HasPrefix(c.Command, "winch reset ") {
			verb = "start over"
		}
		a.printf("     %s: %s\n", verb, c.Command)
	}
}
