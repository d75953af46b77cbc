package contentsquare

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/winchdata/winch/internal/sandbox"
	"github.com/winchdata/winch/pkg/connector/connectortest"
)

func TestExam(t *testing.T) {
	t.Parallel()
	box := sandbox.New(sandbox.Options{Size: 4, Days: 20, AsOf: time.Date(2024, 3, 20, 15, 0, 0, 0, time.UTC)})
	all := box.Sources("")
	i := slices.IndexFunc(all, func(s sandbox.Source) bool { return s.Connector == "contentsquare" })

	// Where the credentials are good for other projects, a token that is refused
	// (T5, T9) is this project's failure alone and of KindForbidden: KindAuth would
	// stop the others. TestARefusedProjectIsForbiddenAlone and
	// TestBadCredentialsStopTheSource hold it to that.
	//
	// P9 looks at streams with a time column. The windows of metrics have none: a
	// row is the figures of a day, by its key.
	several := slices.DeleteFunc(checkIDs(), func(id string) bool { return id == "T5" || id == "T9" })

	for name, test := range map[string]struct {
		settings map[string]any
		checks   []string // nil is all
	}{
		"one project": {settings: map[string]any{
			"credentials": "project", "client_id": "sandbox-cs-project", "client_secret": "sandbox;cs-Project",
		}},
		"projects of an account": {checks: several},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			settings := maps.Clone(all[i].Config)
			settings["base_url"] = "/contentsquare/cloud-1" // in place of the one that comes with a token
			settings["page_size"] = 2
			maps.Copy(settings, test.settings)
			connectortest.Run(t, connectortest.Candidate{
				Definition: Definition(),
				Vendor:     box,
				Settings:   settings,
				AsOf:       box.AsOf(),
				Checks:     test.checks,
			})
		})
	}
}

func checkIDs() []string {
	var ids []string
	for _, check := range connectortest.Checks() {
		ids = append(ids, check.ID)
	}
	return ids
}
