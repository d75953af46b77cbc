// Package sandboxtest serves a sandbox to a test, with the settings of a source at
// it.
package sandboxtest

import (
	"cmp"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/winchdata/winch/internal/sandbox"
)

// A Served is a sandbox that answers.
type Served struct {
	Box *sandbox.Sandbox
	// Config are the settings of the connector's source.
	Config map[string]any
	// Before, if set before the first request, sees each one.
	Before func(*http.Request)
	// Stop ends it before the test does.
	Stop func()
}

// Start serves a sandbox until the test ends: of five customers and twenty days
// before 2024-03-20 15:00 UTC, unless o says otherwise. Config has no rate limit of
// its own, and the given settings in their place; nil takes one away.
func Start(t testing.TB, connector string, o sandbox.Options, settings map[string]any) *Served {
	t.Helper()
	o.Size, o.Days = cmp.Or(o.Size, 5), cmp.Or(o.Days, 20)
	if o.AsOf.IsZero() {
		o.AsOf = time.Date(2024, 3, 20, 15, 0, 0, 0, time.UTC)
	}
	s := &Served{Box: sandbox.New(o)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.Before != nil {
			s.Before(r)
		}
		s.Box.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	s.Stop = server.Close
	all := s.Box.Sources(server.URL)
	i := slices.IndexFunc(all, func(s sandbox.Source) bool { return s.Connector == connector })
	if i < 0 {
		t.Fatalf("the sandbox has no source of connector %s", connector)
	}
	s.Config = maps.Clone(all[i].Config)
	for name, unlimited := range map[string]any{"requests_per_second": 0, "rate_limit": []any{}} {
		if _, there := s.Config[name]; there {
			s.Config[name] = unlimited
		}
	}
	maps.Copy(s.Config, settings)
	maps.DeleteFunc(s.Config, func(_ string, value any) bool { return value == nil })
	return s
}
