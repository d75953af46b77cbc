package ledger_test

import (
	"errors"
	"testing"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/pkg/connector"
)

func TestBrake(t *testing.T) {
	t.Parallel()
	const snapshot, window = connector.ModeSnapshot, connector.ModeWindow
	strict := &ledger.Brake{}
	for name, c := range map[string]struct {
		brake  *ledger.Brake
		mode   connector.Mode
		counts ledger.Counts
		lost   int64 // 0: passes
	}{
		"nothing vanished":               {&ledger.DefaultBrake, snapshot, ledger.Counts{Rows: 100, Unchanged: 100}, 0},
		"as many as allowed":             {&ledger.DefaultBrake, snapshot, ledger.Counts{Rows: 70, Unchanged: 70, Deleted: 30}, 0},
		"one more":                       {&ledger.DefaultBrake, snapshot, ledger.Counts{Rows: 69, Unchanged: 69, Deleted: 31}, 31},
		"all of few":                     {&ledger.DefaultBrake, snapshot, ledger.Counts{Deleted: 19}, 0},
		"all of more":                    {&ledger.DefaultBrake, snapshot, ledger.Counts{Deleted: 20}, 20},
		"another account's":              {&ledger.DefaultBrake, snapshot, ledger.Counts{Rows: 100, Inserted: 100, Deleted: 100}, 100},
		"new rows do not hide vanished":  {&ledger.DefaultBrake, snapshot, ledger.Counts{Rows: 1060, Inserted: 1000, Unchanged: 60, Deleted: 40}, 40},
		"a window with other keys":       {&ledger.DefaultBrake, window, ledger.Counts{Rows: 100, Inserted: 95, Unchanged: 5, Deleted: 90}, 0},
		"a window that shrank a little":  {&ledger.DefaultBrake, window, ledger.Counts{Rows: 80, Inserted: 5, Unchanged: 75, Deleted: 25}, 0},
		"a window that shrank too much":  {&ledger.DefaultBrake, window, ledger.Counts{Rows: 60, Inserted: 5, Unchanged: 55, Deleted: 45}, 40},
		"a window that came back empty":  {&ledger.DefaultBrake, window, ledger.Counts{Deleted: 2000}, 2000},
		"all are allowed":                {&ledger.Brake{Share: 1}, snapshot, ledger.Counts{Deleted: 2000}, 0},
		"no brake":                       {nil, snapshot, ledger.Counts{Deleted: 2000}, 0},
		"not a single one is allowed":    {strict, snapshot, ledger.Counts{Rows: 99, Unchanged: 99, Deleted: 1}, 1},
		"none allowed and none vanished": {strict, snapshot, ledger.Counts{Rows: 99, Updated: 99}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := c.brake.Hold(c.mode, c.counts)
			var vanished *ledger.Vanished
			if errors.As(err, &vanished) {
				if vanished.Rows != c.lost {
					t.Errorf("%v: want %d lost", err, c.lost)
				}
			} else if err != nil || c.lost != 0 {
				t.Errorf("got %v, want %d lost", err, c.lost)
			}
		})
	}
}
