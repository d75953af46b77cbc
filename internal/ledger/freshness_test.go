package ledger_test

import (
	"testing"
	"time"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/pkg/connector"
)

func TestNewestIsTheEndOfWhatWasReadWhole(t *testing.T) {
	t.Parallel()
	window := func(day int, state ledger.State, read time.Time) ledger.Entry {
		return ledger.Entry{Slice: ledger.Slice{Window: connector.Window{Since: march(day, 0), Until: march(day+1, 0)}}, State: state, LastReadAt: read}
	}
	for _, test := range []struct {
		name    string
		entries []ledger.Entry
		want    time.Time
	}{
		{"nothing", nil, time.Time{}},
		{"in any order", []ledger.Entry{window(3, ledger.Held, march(9, 0)), window(2, ledger.Held, march(9, 0))}, march(4, 0)},
		{"what was never read does not count", []ledger.Entry{window(1, ledger.Held, march(9, 0)), window(2, ledger.Failed, time.Time{})}, march(2, 0)},
		{"what was read in part does not count", []ledger.Entry{window(1, ledger.Held, march(9, 0)), window(2, ledger.Partial, march(9, 0))}, march(2, 0)},
		{"what failed later is still held", []ledger.Entry{window(2, ledger.Failed, march(9, 0))}, march(3, 0)},
		{"a stream without windows", []ledger.Entry{{State: ledger.Held, LastReadAt: march(9, 5)}}, march(9, 5)},
	} {
		if got := ledger.Newest(test.entries); !got.Equal(test.want) {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

func TestGapsAreWantedWindowsThatAreNotHeld(t *testing.T) {
	t.Parallel()
	now := march(8, 3) // the seven days before are wanted
	if got := ledger.Gaps(marchWant(), nil, now); got != 7 {
		t.Errorf("%d gaps of an empty ledger, want 7", got)
	}
	long := read(march(1, 0), march(5, 0), march(5, 1))
	failed := read(march(6, 0), march(7, 0), time.Time{})
	failed.State = ledger.Failed
	if got := ledger.Gaps(marchWant(), []ledger.Entry{long, failed}, now); got != 3 {
		t.Errorf("%d gaps, want the 5th, the 6th and the 7th", got)
	}
	// What is within the lookback is due again, and held all the same.
	if got := ledger.Gaps(marchWant(), []ledger.Entry{read(march(1, 0), march(8, 0), march(8, 0))}, march(20, 0).AddDate(0, 0, -12)); got != 0 {
		t.Errorf("%d gaps of what is held", got)
	}
	// Each partition has its own.
	north, south := long, read(march(1, 0), march(8, 0), march(8, 1))
	north.Slice.Partition, south.Slice.Partition = "north", "south"
	if got := ledger.Gaps(marchWant(), []ledger.Entry{north, south}, now); got != 3 {
		t.Errorf("%d gaps of two partitions, want the three of one", got)
	}
}
