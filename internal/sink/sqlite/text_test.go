package sqlite

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The years in which timestamps have the fixed width.
var (
	firstMicro = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()
	lastMicro  = time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC).UnixMicro()
)

func TestTimestampsAndDatesAreThoseOfPackageTime(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		micros := rapid.Int64Range(firstMicro, lastMicro).Draw(t, "micros")
		at := time.UnixMicro(micros).UTC()
		if got, want := string(appendTimestamp(nil, micros)), timestamp(at); got != want {
			t.Errorf("timestamp %d: want %s, got %s", micros, want, got)
		}
		days := rapid.Int64Range(firstMicro/microsPerDay, lastMicro/microsPerDay).Draw(t, "days")
		want := time.Unix(0, 0).UTC().AddDate(0, 0, int(days)).Format(time.DateOnly)
		if got := string(appendDate(nil, days)); got != want {
			t.Errorf("date %d: want %s, got %s", days, want, got)
		}
		text := timestamp(at)
		if back, err := parseTimestamp(&text); err != nil || !back.Equal(at) {
			t.Errorf("%s: got %v, error %v", text, back, err)
		}
	})
}

func TestADayBeginsAtItsFirstInstant(t *testing.T) {
	t.Parallel()
	east := time.FixedZone("", 2*3600)
	for _, c := range []struct {
		at   time.Time
		want string
	}{
		{time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), "2026-03-01"},
		{time.Date(2026, 3, 1, 0, 0, 0, 1, time.UTC), "2026-03-02"},
		{time.Date(2026, 2, 28, 23, 59, 59, 999_999_999, time.UTC), "2026-03-01"},
		{time.Date(2026, 3, 1, 0, 0, 0, 0, east), "2026-03-01"},
		{time.Date(2025, 12, 31, 12, 0, 0, 0, east), "2026-01-01"},
	} {
		if got := firstDay(c.at); got != c.want {
			t.Errorf("%v: want %s, got %s", c.at, c.want, got)
		}
	}
}

func TestEqualNumericKeysAreEqualText(t *testing.T) {
	t.Parallel()
	for literal, want := range map[string]string{
		"0": "0", "0.00": "0", "1.50": "1.5", "-1.00": "-1", "100": "100", "100.0": "100", "0.010": "0.01",
	} {
		if got := string(appendKeyNumeric([]byte("x"), []byte(literal))); got != "x"+want {
			t.Errorf("%s: want %s, got %s", literal, want, got[1:])
		}
	}
}
