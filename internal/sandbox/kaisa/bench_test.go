package kaisa

import (
	"net/url"
	"testing"
	"time"

	"github.com/winchdata/winch/internal/sandbox/sim"
)

func bigWorld() *sim.World {
	origin := time.Date(2026, 3, 11, 12, 0, 0, 0, time.UTC)
	w := &sim.World{Seed: 1, Size: 100, Volume: 1000, Origin: origin, Begin: origin.Truncate(24*time.Hour).AddDate(0, 0, -30), Now: time.Now}
	w.SetAsOf(origin)
	return w
}

// A page of 1000 calls out of more than a million on that day, from its middle.
func BenchmarkPageOfCalls(b *testing.B) {
	a := New(bigWorld(), Options{})
	values := url.Values{
		"from_date": {"2026-03-05 00:00:00"}, "to_date": {"2026-03-05 23:59:59"},
		"page": {"600"}, "extended": {"1"},
	}
	b.ReportAllocs()
	for b.Loop() {
		out := newAnswer()
		a.serveInbound(&request{query: newQuery(values, nil), asOf: a.world.AsOf().Unix()}, out)
		b.SetBytes(int64(len(out.JSON)))
		out.release()
	}
}
