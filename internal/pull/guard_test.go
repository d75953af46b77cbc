package pull_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/pkg/connector"
)

func TestCursorThatIsNotUnderstoodFailsItsStreamAlone(t *testing.T) {
	t.Parallel()
	events, users := customers(), customers()
	events.Name, events.Mode, users.Name = "events", connector.ModeCursor, "users"
	v := &vendor{streams: []connector.Stream{events, users}}
	understood := true
	var cursors []string
	v.pull = func(_ context.Context, req connector.Request, out connector.Emitter) error {
		if req.Stream == "users" {
			return out.Record([]byte(`{"id":1}`))
		}
		cursors = append(cursors, string(req.Cursor))
		if len(req.Cursor) > 0 && !understood {
			return req.Cursor.Decode(&struct{ Page int }{})
		}
		if err := out.Record([]byte(`{"id":1}`)); err != nil {
			return err
		}
		return out.Checkpoint(connector.Cursor(`{"token":"x"}`))
	}
	f := newFixture(t, v)
	if res, err := f.run(t.Context()); err != nil || res.Status != sink.Succeeded {
		t.Fatalf("%s, %v", show(res), err)
	}

	understood = false // a new version of the connector
	res, err := f.run(t.Context())
	if err != nil || res.Status != sink.Incomplete || res.Streams[1].Status != sink.Succeeded {
		t.Fatalf("%s, %v: want users landed and events failed", show(res), err)
	}
	failure := res.Streams[0].Err
	if connector.KindOf(failure) != connector.KindConfig || !strings.Contains(connector.HintOf(failure), "winch pull s --stream events --from-beginning") {
		t.Errorf("%v, hint %q: want the command that starts over", failure, connector.HintOf(failure))
	}
	if entries, err := f.store.Entries(t.Context(), "s"); err != nil || string(entries[0].Cursor) != `{"token":"x"}` {
		t.Errorf("%+v, %v: want the cursor kept", entries, err)
	}

	f.job.FromBeginning = true
	if res, err := f.run(t.Context()); err != nil || res.Status != sink.Succeeded {
		t.Errorf("from the beginning: %s, %v", show(res), err)
	}
	if diff := cmp.Diff([]string{"", `{"token":"x"}`, ""}, cursors); diff != "" {
		t.Errorf("cursors (-want +got):\n%s", diff)
	}
}

func TestBrakeHoldsUntilAPersonAccepts(t *testing.T) {
	t.Parallel()
	v := &vendor{streams: []connector.Stream{customers()}}
	reported, pulls := 100, 0
	v.pull = func(_ context.Context, _ connector.Request, out connector.Emitter) error {
		pulls++
		for id := range reported {
			if err := out.Record(fmt.Appendf(nil, `{"id":%d}`, id)); err != nil {
				return err
			}
		}
		return nil
	}
	f := newFixture(t, v)
	if res, err := f.run(t.Context()); err != nil || res.Status != sink.Succeeded {
		t.Fatalf("%s, %v", show(res), err)
	}
	reported, pulls = 10, 0
	res, err := f.run(t.Context())
	if err != nil || res.Status != sink.FailedRun || pulls != 2 {
		t.Fatalf("%s, %v after %d pulls: want the commit refused twice", show(res), err, pulls)
	}
	failure := res.Streams[0].Err
	if want := "90 of 100 rows (90%) are no longer reported, more than the brake's 30%: nothing was changed"; !strings.HasSuffix(failure.Error(), want) {
		t.Errorf("%v: want %s", failure, want)
	}
	if connector.KindOf(failure) != connector.KindBadResponse || !strings.Contains(connector.HintOf(failure), "--accept-vanished") {
		t.Errorf("kind %v, hint %q", connector.KindOf(failure), connector.HintOf(failure))
	}
	f.job.AcceptVanished = true
	if res, err := f.run(t.Context()); err != nil || res.Counts.Deleted != 90 {
		t.Errorf("accepted: %s, %v", show(res), err)
	}
}
