package sqlite_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/disktest"
	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/internal/sink/sqlite"
	"github.com/winchdata/winch/pkg/connector"
)

var visits = connector.Stream{
	Name: "visits", Mode: connector.ModeWindow, PrimaryKey: []string{"id"}, TimeColumn: "at", Slice: connector.Days(1),
	Columns: []connector.Column{{Name: "id", Type: connector.TypeBigint}, {Name: "at", Type: connector.TypeTimestamp}, {Name: "note", Type: connector.TypeText}},
}

const (
	visitRows   = 800 // of 4 kB, so that not all of them wait in memory
	restingRows = 100
	plenty      = 20 << 20 // free bytes with which nothing fails
)

// visit reads the slice, and returns how many of its rows its checkpoints kept.
func visit(t *testing.T, s *sqlite.Sink, run int64, rows, checkpoints int, note string) (kept int, err error) {
	t.Helper()
	day := time.Date(2026, time.March, 1, 0, 0, 0, 0, time.UTC)
	w, err := s.Begin(t.Context(), sink.Attempt{
		Run: run, Stream: visits, StartedAt: time.Now(),
		Slice: ledger.Slice{Source: "shop_se", Stream: "visits", Window: connector.Window{Since: day, Until: day.AddDate(0, 0, 1)}},
	})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	for id := range rows {
		if err := w.Record(fmt.Appendf(nil, `{"id":%d,"at":"2026-03-01T12:00:00Z","note":"%s%04000d"}`, id, note, id)); err != nil {
			return kept, err
		}
		if n := id + 1; n%(rows/(checkpoints+1)) == 0 && n < rows {
			if err := w.Checkpoint(t.Context(), connector.Cursor(`"a part"`), connector.Usage{}); err != nil {
				return kept, err
			}
			kept = n
		}
	}
	counts, err := w.Commit(t.Context(), connector.Usage{})
	if err == nil && (counts.Rows != int64(rows) || counts.Inserted+counts.Updated+counts.Unchanged != int64(rows)) {
		t.Errorf("counts %+v", counts)
	}
	return kept, err
}

// visited is what is at rest: rows, distinct keys, rows that are not the slice's, and
// the ledger.
func visited(t *testing.T, path string) (state string) {
	t.Helper()
	err := other(t, path).QueryRow(`SELECT count(*) || ' rows, ' || count(DISTINCT id) || ' keys, ' || count(*) FILTER (WHERE note LIKE 'before%') || ' before; ' ||
		(SELECT COALESCE(group_concat(state || ' ' || rows, ', '), '') FROM "winch.slices") FROM "shop_se.visits"`).Scan(&state)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// I1, I7
func TestADiskThatIsFullAtAnyMomentOfASliceLosesNothing(t *testing.T) {
	t.Parallel()
	disktest.Run(t, 32<<20, func(disk *disktest.Disk) {
		failed := map[string]int{}
		for _, f := range []filling{{resting: restingRows}, {checkpoints: 3}} {
			for free := int64(64 << 10); ; free *= 4 {
				done := true
				t.Run(fmt.Sprintf("%d checkpoints, %d KiB free", f.checkpoints, free>>10), func(t *testing.T) {
					f.T, f.disk, f.failed = t, disk, failed
					done = f.fill(free)
				})
				if done {
					break
				}
			}
		}
		if failed["stage"] == 0 || failed["commit"] == 0 || failed["after a checkpoint"] == 0 {
			t.Errorf("want failures while rows come, while they are merged, and after a checkpoint, got %v", failed)
		}
	})
}

// A filling is a slice that does not fit on the disk.
type filling struct {
	*testing.T
	disk                 *disktest.Disk
	resting, checkpoints int
	failed               map[string]int // attempts, by what they were at
}

// fill lands the slice while so much is free, and reports whether it fits. If not,
// what is at rest then is what it was, or as much as a checkpoint said, and the next
// attempt lands the slice.
func (f filling) fill(free int64) (done bool) {
	f.Helper()
	f.disk.Leave(f, plenty)
	path := filepath.Join(f.TempDir(), "winch.db")
	s := ready(f.T, path, sqlite.Options{})
	if _, err := s.Prepare(f.Context(), "shop_se", visits, ledger.SchemaEvolve); err != nil {
		f.Fatal(err)
	}
	if f.resting > 0 {
		if _, err := visit(f.T, s, 1, f.resting, 0, "before"); err != nil {
			f.Fatal(err)
		}
	}
	want := visited(f.T, path)
	f.disk.Leave(f, free)
	kept, err := visit(f.T, s, 2, visitRows, f.checkpoints, "")
	if err == nil {
		return true
	}
	wantFault(f.T, err, sink.FaultFull, "free space")
	what, _, _ := strings.Cut(err.Error(), " ")
	f.failed[what]++
	if kept > 0 {
		f.failed["after a checkpoint"]++
		want = fmt.Sprintf("%[1]d rows, %[1]d keys, 0 before; partial %[1]d", kept)
	}
	if diff := cmp.Diff(want, visited(f.T, path)); diff != "" {
		f.Fatalf("%v; what is there (-want +got):\n%s", err, diff)
	}
	f.disk.Leave(f, plenty)
	if _, again := visit(f.T, s, 3, visitRows, f.checkpoints, ""); again != nil {
		f.Fatalf("with space again: %v", again)
	}
	if diff := cmp.Diff(fmt.Sprintf("%[1]d rows, %[1]d keys, 0 before; held %[1]d", visitRows), visited(f.T, path)); diff != "" {
		f.Fatalf("with space again (-want +got):\n%s", diff)
	}
	return false
}

// I1, I7
func TestADiskThatIsFullFromTheStartIsToldAndWhatWasBegunGoesOn(t *testing.T) {
	t.Parallel()
	disktest.Run(t, 32<<20, func(disk *disktest.Disk) {
		failures := 0
		step := int64(16 << 10) // while the file -shm, of 32 KiB, does not fit
		for free := int64(0); ; free += step {
			if free >= 32<<10 {
				step = 128 << 10
			}
			done := true
			t.Run(fmt.Sprintf("%d KiB free", free>>10), func(t *testing.T) {
				disk.Leave(t, plenty)
				path := filepath.Join(t.TempDir(), "winch.db")
				disk.Leave(t, free)
				err := visitFromTheStart(t, path)
				if err == nil {
					return
				}
				done = false
				failures++
				wantFault(t, err, sink.FaultFull, "free space")
				disk.Leave(t, plenty)
				if err := visitFromTheStart(t, path); err != nil {
					t.Fatalf("with space again: %v", err)
				}
				if diff := cmp.Diff(fmt.Sprintf("%[1]d rows, %[1]d keys, 0 before; held %[1]d", restingRows), visited(t, path)); diff != "" {
					t.Fatalf("with space again (-want +got):\n%s", diff)
				}
			})
			if done {
				break
			}
		}
		if failures < 5 {
			t.Errorf("the disk was full %d times only", failures)
		}
	})
}

// visitFromTheStart does what a run does, in a file that need not be there.
func visitFromTheStart(t *testing.T, path string) error {
	t.Helper()
	s, err := sqlite.Open(t.Context(), path, sqlite.Options{})
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := s.Migrate(t.Context()); err != nil {
		return err
	}
	held, release, err := s.Lock(t.Context(), sink.Claim{Source: "shop_se"})
	if err != nil {
		return err
	}
	defer release()
	if _, err := s.StartRun(held, sink.Run{Source: "shop_se", StartedAt: time.Now()}); err != nil {
		return err
	}
	if _, err := s.Prepare(held, "shop_se", visits, ledger.SchemaEvolve); err != nil {
		return err
	}
	_, err = visit(t, s, 1, restingRows, 0, "")
	return err
}
