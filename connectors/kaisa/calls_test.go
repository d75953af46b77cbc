package kaisa

import (
	"testing"
	"time"

	"github.com/winchdata/winch/pkg/connector"
)

// Whatever the vendor does at its bounds, no second of a window is left out.
func TestDatesCoverTheWindow(t *testing.T) {
	t.Parallel()
	second := time.Date(2024, 3, 5, 12, 0, 0, 0, time.UTC)
	for _, w := range []connector.Window{
		march5,
		{Since: second, Until: second.Add(time.Second)},
		{Since: second.Add(-time.Nanosecond), Until: second.Add(time.Nanosecond)},
		{Since: second.Add(time.Millisecond), Until: second.Add(time.Second + time.Millisecond)},
	} {
		asked := dates(w)
		from, to := parseLayout(t, asked.Get("from_date")), parseLayout(t, asked.Get("to_date"))
		for at := w.Since.Truncate(time.Second); at.Before(w.Until); at = at.Add(time.Second) {
			if w.Contains(at) && (!at.After(from) || !at.Before(to)) {
				t.Fatalf("window %s: %s is not between %s and %s", w, at, from, to)
			}
		}
		if from.Before(w.Since.Add(-2*time.Second)) || to.After(w.Until.Add(time.Second)) {
			t.Errorf("window %s: more is asked for than needed: %s to %s", w, from, to)
		}
	}
}

func parseLayout(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(timeLayout, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}
