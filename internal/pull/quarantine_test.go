package pull_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/winchdata/winch/internal/ledger"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

// limit puts limits on all streams of the fixture.
func (f *fixture) limit(limits ledger.Limits) {
	inner := f.job.Select
	f.job.Select = func(offered []connector.Stream) ([]ledger.Want, error) {
		wants, err := inner(offered)
		for i := range wants {
			wants[i].Quarantine = &limits
		}
		return wants, err
	}
}

// emitBoth emits good and bad customers, the bad ones at the end.
func emitBoth(attempts *int, good, bad int) func(context.Context, connector.Request, connector.Emitter) error {
	return func(_ context.Context, _ connector.Request, out connector.Emitter) error {
		*attempts++
		for i := range good + bad {
			raw := fmt.Sprintf(`{"id":%d,"name":"n"}`, i)
			if i >= good {
				raw = fmt.Sprintf(`{"id":%d,"name":["n"]}`, i)
			}
			if err := out.Record([]byte(raw)); err != nil {
				return errors.New("the connector tells something else")
			}
		}
		return nil
	}
}

func (f *fixture) quarantined() int {
	f.Helper()
	all, err := f.store.Quarantined(f.Context(), sink.QuarantineFilter{})
	if err != nil {
		f.Fatal(err)
	}
	return len(all)
}

func TestRecordsThatCannotLandAreSetAsideWithinTheLimits(t *testing.T) {
	t.Parallel()
	many := ledger.Limits{Records: 1000, Share: 0.01}
	for name, c := range map[string]struct {
		limits    ledger.Limits
		good, bad int
		fails     string // empty: it lands
	}{
		"one of many":                      {many, 500, 1, ""},
		"a few of few, whatever the share": {many, 0, ledger.ShareFloor, ""},
		"a large share":                    {many, 989, ledger.ShareFloor + 1, "11 of 1000 records cannot become rows, more than 1% of them: column name: want a string"},
		"just the share":                   {many, 1089, ledger.ShareFloor + 1, ""},
		"too many":                         {ledger.Limits{Records: 2, Share: 1}, 5, 3, "more than 2 records of the stream cannot become rows in this run: column name: want a string"},
		"just enough":                      {ledger.Limits{Records: 2, Share: 1}, 5, 2, ""},
		"none allowed":                     {ledger.Limits{}, 5, 1, "s/customers: column name: want a string"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			attempts := 0
			f := newFixture(t, &vendor{streams: []connector.Stream{customers()}, pull: emitBoth(&attempts, c.good, c.bad)})
			f.limit(c.limits)
			res, err := f.run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if attempts != 1 {
				t.Errorf("tried %d times, want once", attempts)
			}
			got := res.Streams[0]
			if c.fails != "" {
				if text := fmt.Sprint(got.Err); !strings.Contains(text, c.fails) || connector.KindOf(got.Err) != connector.KindBadResponse {
					t.Errorf("error %q of kind %s, want %q", text, connector.KindOf(got.Err), c.fails)
				}
				if n := f.quarantined(); n != 0 || res.Counts != (ledger.Counts{}) {
					t.Errorf("%d are set aside, %+v are counted: want nothing of a slice that failed", n, res.Counts)
				}
				return
			}
			want := ledger.Counts{Rows: int64(c.good), Inserted: int64(c.good), Quarantined: int64(c.bad)}
			if res.Status != sink.Succeeded || got.Counts != want || res.Counts != want || f.quarantined() != c.bad {
				t.Errorf("%s %+v, %v, %d set aside: want %+v", res.Status, got.Counts, got.Err, f.quarantined(), want)
			}
		})
	}
}

func TestLimitCountsTheSlicesOfARunTogether(t *testing.T) {
	t.Parallel()
	v := &vendor{streams: []connector.Stream{calls()}}
	v.pull = func(_ context.Context, req connector.Request, out connector.Emitter) error {
		for i := range 2 {
			if err := out.Record(fmt.Appendf(nil, `{"id":"%s-%d","day":"some day"}`, req.Window.Since.Format(time.DateOnly), i)); err != nil {
				return err
			}
		}
		return nil
	}
	f := newFixture(t, v)
	f.limit(ledger.Limits{Records: 5, Share: 1})
	res, err := f.run(t.Context())
	if err != nil || res.Streams[0].Slices != 2 || res.Streams[0].Failed != 1 || f.quarantined() != 4 {
		t.Errorf("%+v, %v, %d set aside: want two slices landed and the third to go beyond the limit", res.Streams[0], err, f.quarantined())
	}
	// The next run has a limit of its own.
	res, err = f.run(t.Context())
	if err != nil || res.Status != sink.Succeeded || f.quarantined() != 6 {
		t.Errorf("%+v, %v, %d set aside: want the third slice landed", res.Streams[0], err, f.quarantined())
	}
}

func TestShareIsJudgedAtCheckpoints(t *testing.T) {
	t.Parallel()
	stream := connector.Stream{Name: "events", Mode: connector.ModeCursor, PrimaryKey: []string{"id"}, Columns: customers().Columns}
	v := &vendor{streams: []connector.Stream{stream}}
	v.pull = func(ctx context.Context, req connector.Request, out connector.Emitter) error {
		attempts := 0
		if err := emitBoth(&attempts, 2000, 11)(ctx, req, out); err != nil {
			return err
		}
		if err := out.Checkpoint(connector.Cursor(`{"part":1}`)); err != nil {
			return err
		}
		if err := emitBoth(&attempts, 0, 30)(ctx, req, out); err != nil {
			return err
		}
		return out.Checkpoint(connector.Cursor(`{"part":2}`))
	}
	f := newFixture(t, v)
	res, err := f.run(t.Context())
	if err != nil || !strings.Contains(fmt.Sprint(res.Streams[0].Err), "41 of 2041 records cannot become rows") || f.quarantined() != 11 {
		t.Errorf("%v, %v, %d set aside: want the second part refused", res.Streams[0].Err, err, f.quarantined())
	}
	entries, err := f.store.Entries(t.Context(), "s")
	if err != nil || string(entries[0].Cursor) != `{"part":1}` {
		t.Errorf("%+v, %v: want the cursor of the first part", entries, err)
	}
}

func TestRetryLandsWhatWasSetAside(t *testing.T) {
	t.Parallel()
	attempts := 0
	v := &vendor{streams: []connector.Stream{customers()}, pull: emitBoth(&attempts, 2, 3)}
	f := newFixture(t, v)
	if res, err := f.run(t.Context()); err != nil || res.Counts.Quarantined != 3 {
		t.Fatalf("%+v, %v", res, err)
	}
	f.job.Trigger = "retry"
	res, done, err := f.puller.Retry(t.Context(), f.job, "")
	if err != nil || res.Status != sink.Succeeded || len(done.Refused) != 3 || len(done.Landed) != 0 {
		t.Errorf("before the fix: %+v, %+v, %v", res, done, err)
	}
	v.streams[0].Columns[1].Type = connector.TypeJSON
	v.streams[0].Columns[1].Name = "names"
	v.streams[0].Columns[1].Path = []string{"name"}
	res, done, err = f.puller.Retry(t.Context(), f.job, "customers")
	if err != nil || res.Status != sink.Succeeded || len(done.Landed) != 3 || len(done.Refused) != 0 || res.Counts.Inserted != 3 {
		t.Errorf("after the fix: %+v, %+v, %v", res, done, err)
	}
	if attempts != 1 {
		t.Errorf("the vendor was read %d times, want once", attempts)
	}
	run, reads, err := f.store.RunByID(t.Context(), res.Run)
	if err != nil || run.Trigger != "retry" || run.Counts.Inserted != 3 || len(reads) != 0 {
		t.Errorf("%+v, %+v, %v: want the retry recorded as a run without reads", run, reads, err)
	}
	if res, done, err := f.puller.Retry(t.Context(), f.job, ""); err != nil || res.Status != sink.Succeeded || len(done.Landed) != 0 {
		t.Errorf("nothing left: %+v, %+v, %v", res, done, err)
	}
}

func TestRetryOfAStreamThatIsGoneSaysSo(t *testing.T) {
	t.Parallel()
	attempts := 0
	v := &vendor{streams: []connector.Stream{customers()}, pull: emitBoth(&attempts, 0, 1)}
	f := newFixture(t, v)
	if _, err := f.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	v.streams = []connector.Stream{calls()}
	res, _, err := f.puller.Retry(t.Context(), f.job, "")
	if text := fmt.Sprint(res.FirstError(), err); !strings.Contains(text, "no longer has the stream") {
		t.Errorf("%s", text)
	}
	if f.quarantined() != 1 {
		t.Error("the record is gone")
	}
}

func TestRetryOfASourceThatIsBeingPulledIsBusy(t *testing.T) {
	t.Parallel()
	f := newFixture(t, &vendor{})
	_, release, err := f.store.Lock(t.Context(), sink.Claim{Source: "s"})
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	var busy *sink.Busy
	if _, _, err := f.puller.Retry(t.Context(), f.job, ""); !errors.As(err, &busy) {
		t.Errorf("%v, want *sink.Busy", err)
	}
}
