package postgres

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/pgtest"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// A fullDisk is a server whose disk is filled, and a slice that does not fit.
type fullDisk struct {
	*testing.T
	server  *pgtest.Server
	address string
	failed  map[string]int // attempts, by what they were at
}

const (
	sliceRows   = 6000
	restingRows = 1000
	plenty      = 24 << 20 // free bytes with which nothing fails
)

func newFullDisk(t *testing.T) *fullDisk {
	t.Helper()
	// The log lies on the disk too. It is kept short, so that its next file is needed
	// when the test says so.
	server := pgtest.Start(t, pgtest.Options{Disk: 160 << 20, Settings: map[string]string{
		"min_wal_size": "32MB", "max_wal_size": "32MB", "autovacuum": "off",
	}})
	return &fullDisk{T: t, server: server, address: server.Database(t), failed: map[string]int{}}
}

func (f *fullDisk) leave(free int64) {
	f.Helper()
	f.server.Disk().Leave(f.T, free)
}

// A way is how the rows of the slice reach the table.
type way struct {
	resting     int           // rows that are there before, a part of which is in the slice too
	checkpoints int           // in the slice
	brisk       time.Duration // see briskChunk
}

// I1, I7
func TestADiskThatIsFullAtAnyMomentOfASliceLosesNothing(t *testing.T) {
	t.Parallel()
	f := newFullDisk(t)
	open(t, f.address)
	for name, w := range map[string]way{
		"copied into the table":         {brisk: time.Hour},
		"copied, with checkpoints":      {brisk: time.Hour, checkpoints: 3},
		"staged, with checkpoints":      {checkpoints: 3},
		"compared, with one checkpoint": {resting: restingRows, checkpoints: 1},
	} {
		failures := 0
		for free := int64(192 << 10); ; free *= 3 {
			err := f.fill(name, w, free)
			if err == nil {
				break
			}
			failures++
		}
		if failures < 2 {
			t.Errorf("%s: the disk was full %d times only", name, failures)
		}
	}
	if f.failed["send"] == 0 || f.failed["commit"] == 0 || f.failed["after a checkpoint"] == 0 {
		t.Errorf("want failures while rows come, while they are merged, and after a checkpoint, got %v", f.failed)
	}
}

// fill lands the slice while so much is free, and returns why it failed, if it did:
// what is at rest then is what it was, or as much more as a checkpoint said, and the
// next attempt lands the slice.
func (f *fullDisk) fill(name string, w way, free int64) error {
	f.Helper()
	f.leave(plenty)
	query(f, f.address, "DROP SCHEMA IF EXISTS shop CASCADE")
	query(f, f.address, "DELETE FROM winch.slices")
	s := prepared(f, f.address)
	defer s.Close()
	s.chunk, s.brisk = 64<<10, w.brisk
	want := "0 rows, 0 keys, 0 before; "
	if w.resting > 0 {
		land(f, s, 1, 0, w.resting, "before")
		want = f.state()
	}
	query(f, f.address, "CHECKPOINT")
	query(f, f.address, "SELECT pg_switch_wal()::text")
	query(f, f.address, "CREATE TABLE public.touch ()") // the log has its next file, which lasts for the slice
	query(f, f.address, "DROP TABLE public.touch")
	f.leave(free)

	done, err := f.attempt(s, 2, w.checkpoints)
	if err == nil {
		return nil
	}
	wantFault(f.T, err, sink.FaultFull, "No space left on device", "free disk space")
	what, _, _ := strings.Cut(err.Error(), " ")
	f.failed[what]++
	if done > 0 {
		f.failed["after a checkpoint"]++
		want = fmt.Sprintf("%[1]d rows, %[1]d keys, 0 before; partial %[1]d", done)
	}
	if diff := cmp.Diff(want, f.state()); diff != "" {
		f.Fatalf("%s, with %d bytes free: %v; what is there (-want +got):\n%s", name, free, err, diff)
	}
	f.leave(plenty)
	if _, again := f.attempt(s, 3, w.checkpoints); again != nil {
		f.Fatalf("%s, with %d bytes free, then plenty: %v", name, free, again)
	}
	if diff := cmp.Diff(whole, f.state()); diff != "" {
		f.Fatalf("%s, with %d bytes free, then plenty (-want +got):\n%s", name, free, diff)
	}
	return err
}

// attempt reads the slice, and returns how many of its rows its checkpoints kept.
func (f *fullDisk) attempt(s *Sink, run int64, checkpoints int) (kept int, err error) {
	f.Helper()
	w, err := s.Begin(f.Context(), attempt(run))
	if err != nil {
		return 0, err
	}
	defer func() { _ = w.Close() }()
	note := strings.Repeat("n", 100)
	for id := range sliceRows {
		if err := w.Record(call(id, note)); err != nil {
			return kept, err
		}
		if n := id + 1; n%(sliceRows/(checkpoints+1)) == 0 && n < sliceRows {
			if err := w.Checkpoint(f.Context(), connector.Cursor(`"a part"`), connector.Usage{}); err != nil {
				return kept, err
			}
			kept = n
		}
	}
	counts, err := w.Commit(f.Context(), connector.Usage{})
	if err == nil && (counts.Rows != sliceRows || counts.Inserted+counts.Updated+counts.Unchanged != sliceRows) {
		f.Errorf("counts %+v", counts)
	}
	return kept, err
}

// state is what is at rest: rows, distinct keys, rows that the slice has not reached,
// and the ledger.
func (f *fullDisk) state() string {
	f.Helper()
	return query(f, f.address, `SELECT format('%s rows, %s keys, %s before; %s', count(*), count(DISTINCT id), count(*) FILTER (WHERE note = 'before'),
		(SELECT string_agg(format('%s %s', state, rows), ', ') FROM winch.slices)) FROM shop."order"`)[0][0]
}

// whole is the state in which the slice is there.
var whole = fmt.Sprintf("%[1]d rows, %[1]d keys, 0 before; held %[1]d", sliceRows)

// I1, I7
func TestAServerThatEndsBecauseItsLogIsFullLosesNothing(t *testing.T) {
	t.Parallel()
	f := newFullDisk(t)
	s := prepared(t, f.address)
	land(t, s, 1, 0, restingRows, "before")
	before := f.state()
	f.server.UseLog(t)
	f.leave(8 << 20) // not enough for the log's next file
	_, err := f.attempt(s, 2, 0)
	wantFault(t, err, sink.FaultUnreachable, "No space left on device", "pg_wal")
	wantRetryable(t, err)
	// It starts again, wants space for that too, and gives up.
	for !strings.Contains(err.Error(), "connect: ") {
		if _, err = f.attempt(s, 2, 0); err == nil {
			t.Fatal("a server whose log cannot grow goes on")
		}
		wantRetryable(t, err)
	}
	f.server.Kill(t) // what is left of it
	f.leave(plenty)
	f.server.Restart(t)
	if diff := cmp.Diff(before, f.state()); diff != "" {
		t.Errorf("what is there (-want +got):\n%s", diff)
	}
	for range statementConns + defaultWriters + commitConns { // each session with the dead server fails once
		if _, err = f.attempt(s, 3, 0); err == nil {
			break
		}
		wantRetryable(t, err)
	}
	if diff := cmp.Diff(whole, f.state()); diff != "" {
		t.Errorf("after the next attempt, error %v (-want +got):\n%s", err, diff)
	}
}

func TestASessionThatCannotBeginOnAFullDiskSaysSo(t *testing.T) {
	t.Parallel()
	f := newFullDisk(t)
	conn := connect(t, f.address)
	defer conn.Close(context.WithoutCancel(t.Context()))
	queryOn(t, conn, "GRANT SELECT ON pg_class TO PUBLIC") // removes a file that the next session writes again
	f.leave(0)
	s, err := Open(t.Context(), f.address, Options{})
	if err == nil {
		_ = s.Close()
	}
	wantFault(t, err, sink.FaultFull, "could not write init file", "free disk space")
	f.leave(plenty)
	open(t, f.address)
}
