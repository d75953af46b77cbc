package pull_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/winchdata/winch/internal/pull"
	"github.com/winchdata/winch/pkg/connector"
)

func TestFieldsThatAreNotDeclaredAreTold(t *testing.T) {
	t.Parallel()
	stream := customers()
	stream.Columns = append(stream.Columns, connector.Column{Name: "city", Type: connector.TypeText, Path: []string{"address", "city"}})
	v := &vendor{streams: []connector.Stream{stream}}
	v.pull = func(_ context.Context, _ connector.Request, out connector.Emitter) error {
		for i := range 3 {
			raw := fmt.Sprintf(`{"id":%d,"name":"n","address":{"city":"Lund","zip":"1"},"plan":1}`, i)
			if i == 2 {
				raw = `{"id":2,"p\u006can":1,"naïve":null,"":1}`
			}
			if err := out.Record([]byte(raw)); err != nil {
				return err
			}
		}
		return nil
	}
	f := newFixture(t, v)
	var log bytes.Buffer
	f.puller.Log = slog.New(slog.NewTextHandler(&log, nil))
	res, err := f.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int64{"plan": 3, "naïve": 1, "": 1}, res.Streams[0].Undeclared); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	seen := 0
	for _, e := range f.events {
		if e.Kind == pull.Drifted && e.Field == "naïve" {
			seen++
		}
	}
	if seen != 1 {
		t.Errorf("told %d times, want once", seen)
	}
	if n := strings.Count(log.String(), "fields that the stream does not declare"); n != 1 || !strings.Contains(log.String(), "plan") {
		t.Errorf("logged %d times, want once with the names: %s", n, log.String())
	}
}

func TestKeysThatAreDataDoNotPileUp(t *testing.T) {
	t.Parallel()
	v := &vendor{streams: []connector.Stream{customers()}}
	v.pull = func(_ context.Context, _ connector.Request, out connector.Emitter) error {
		for i := range 1000 {
			if err := out.Record(fmt.Appendf(nil, `{"id":%d,"key %d":1}`, i, i)); err != nil {
				return err
			}
		}
		return nil
	}
	f := newFixture(t, v)
	res, err := f.run(t.Context())
	if err != nil || len(res.Streams[0].Undeclared) != 100 {
		t.Errorf("%d fields, %v: want 100", len(res.Streams[0].Undeclared), err)
	}
}
