package fospha

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
	box := sandbox.New(sandbox.Options{Size: 6, Days: 20, AsOf: time.Date(2024, 3, 20, 15, 0, 0, 0, time.UTC)})
	all := box.Sources("")
	i := slices.IndexFunc(all, func(s sandbox.Source) bool { return s.Connector == "fospha" })
	settings := maps.Clone(all[i].Config)
	settings["requests_per_second"] = 0
	settings["data_url"] = "https://data.example.com/graphql"
	settings["base_url"] = "/fospha/uk/graphql" // in place of data_url
	settings["streams"] = []any{map[string]any{
		"name": "performance_daily", "preset": "performance_daily", "slice": "1d",
		"paging": map[string]any{"by": "offset", "size": 2, "total_path": "data.performance.metadata.totalRows"},
	}}
	connectortest.Run(t, connectortest.Candidate{
		Definition: Definition(),
		Vendor:     box,
		Settings:   settings,
		AsOf:       box.AsOf(),
	})
}
