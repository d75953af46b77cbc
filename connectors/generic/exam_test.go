package generic

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/winchdata/winch/configs"
	"github.com/winchdata/winch/internal/sandbox"
	"github.com/winchdata/winch/pkg/connector/connectortest"
)

func TestExam(t *testing.T) {
	t.Parallel()
	box := sandbox.New(sandbox.Options{Size: 4, Days: 20, AsOf: time.Date(2024, 3, 20, 15, 0, 0, 0, time.UTC)})
	all := box.Sources("")
	i := slices.IndexFunc(all, func(s sandbox.Source) bool { return s.Name == "fuuffy_sandbox" })
	settings := maps.Clone(all[i].Config)
	settings["rate_limit"] = []any{}
	preset, _ := configs.Preset("fuuffy")
	delete(settings, "preset")
	settings["manifest"] = strings.Replace(string(preset), "size: 100", "size: 2", 1)
	connectortest.Run(t, connectortest.Candidate{
		Definition: Definition(),
		Vendor:     box,
		Settings:   settings,
		AsOf:       box.AsOf(),
		Since:      box.Begin(),
	})
}
